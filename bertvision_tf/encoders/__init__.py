"""A name or a folder → an `Encoder`: a tokenizer and one model that returns every hidden state."""

from .encoder import Encoder
from .load import load_encoder
from .tokenizer import Tokens

__all__ = ["Encoder", "Tokens", "load_encoder"]
