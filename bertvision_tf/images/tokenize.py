"""Examples as the tokens that an encoder runs over."""

from __future__ import annotations

import numpy as np

from ..encoders import Encoder, Tokens
from ..spans.locate import locate_answers
from ..tasks import Examples


def tokenize_examples(
    encoder: Encoder,
    examples: Examples,
    max_length: int,
    stride: int | None = None,
    question_length: int | None = None,
) -> tuple[Tokens, np.ndarray]:
    """The tokens that the encoder runs over, and a label for each of their texts.

    Args:
        encoder: whose tokenizer.
        examples: rows; questions with answers become windows, and their labels spans: int32, (windows, 2), of each
            question's first answer.
        max_length: tokens, special ones included.
        stride, question_length: of windows.
    """
    if examples.answers is None:
        return encoder.tokenize_rows(examples.texts, examples.text_pairs, max_length), examples.labels
    assert examples.text_pairs is not None
    windows = encoder.tokenize_windows(examples.texts, examples.text_pairs, max_length, stride, question_length)
    found = [[answer for answer in answers if answer.start >= 0] for answers in examples.answers]
    characters = [(own[0].start, own[0].start + len(own[0].text)) if own else None for own in found]
    return windows, locate_answers(windows.offsets, windows.questions, windows.char_offsets, characters)
