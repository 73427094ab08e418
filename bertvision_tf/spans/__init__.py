"""Answers as spans of tokens, and back: pure functions on arrays."""

from .decode import Candidate, SpanAnswer, decode_answers, read_texts
from .locate import locate_answers

__all__ = ["Candidate", "SpanAnswer", "decode_answers", "locate_answers", "read_texts"]
