"""A name or a folder → an `Encoder`."""

from .checkpoint import find_checkpoint, read_architecture
from .encoder import Encoder
from .tokenizer import Tokenizer
from .weights import read_weights


def load_encoder(name: str, dtype: str = "float32") -> Encoder:
    """Loads an encoder.

    Args:
        name: "minilm" (the packaged all-MiniLM-L6-v2), "hf://owner/name", or the path of a checkpoint folder of a
            BERT, RoBERTa, XLM-R, DistilBERT, ALBERT or ELECTRA.
        dtype: "float32" or "bfloat16".

    Raises:
        EncoderError: not found, not readable, or of an architecture that is not known.

    Example:
        >>> load_encoder("minilm").num_hidden_states
        7
    """
    folder = find_checkpoint(name)
    architecture = read_architecture(folder)
    return Encoder(name, architecture, Tokenizer(folder), read_weights(folder, architecture), dtype)
