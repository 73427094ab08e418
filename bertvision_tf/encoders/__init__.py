"""A name or a folder → an `Encoder`: a tokenizer and one model that returns every hidden state."""

from .classifier import Classifier, SpanClassifier
from .dtype import AUTO, choose_dtype, measure_dtype
from .encoder import Encoder
from .engine import OPENVINO, TENSORFLOW, XLA
from .load import load_encoder
from .packaged import fetch
from .save import save_encoder
from .tokenizer import Tokens, Windows, choose_windows

__all__ = [
    "AUTO",
    "OPENVINO",
    "TENSORFLOW",
    "XLA",
    "Classifier",
    "Encoder",
    "SpanClassifier",
    "Tokens",
    "Windows",
    "choose_dtype",
    "choose_windows",
    "fetch",
    "load_encoder",
    "measure_dtype",
    "save_encoder",
]
