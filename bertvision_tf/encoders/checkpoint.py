"""Reads what the config.json of a checkpoint says of the architecture, and which files hold the weights.

A checkpoint is a folder as Hugging Face lays it out: `config.json`, `model.safetensors` (one file, or several and
an index), and the tokenizer's files. Only safetensors are read: loading a pickle runs whatever code it holds.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EncoderError
from ..paths import read_object
from .architecture import Architecture
from .families import FAMILIES, Family

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ADAPTER = "adapter_config.json"
POINTER = b"version https://git-lfs"  # how a file of Git LFS begins that was not downloaded

# `hidden_act` in config.json → the name of the Keras activation, and whether GELU is its tanh approximation.
ACTIVATIONS = {
    "gelu": "gelu_exact",
    "gelu_python": "gelu_exact",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


def find_weight_files(folder: Path) -> dict[Path, set[str] | None]:
    """The files of a checkpoint's weights: `model.safetensors`, or the shards that its index names.

    Returns:
        each file with the names of its tensors as the index gives them, or None without an index; {} where there are
        no weights.

    Raises:
        EncoderError: the index cannot be read, or stands beside a model.safetensors that it does not name; a file of
            weights is none; an adapter belongs to them.
    """
    whole, index = folder / WEIGHTS, folder / f"{WEIGHTS}.index.json"
    if (folder / ADAPTER).is_file():
        without = ", or remove the file to read the weights without it" if whole.is_file() or index.is_file() else ""
        raise EncoderError(
            f"{folder} has an adapter of PEFT ({ADAPTER}), which is not read: merge it into the weights with PEFT's "
            f"merge_and_unload and save the whole model{without}."
        )
    for file in (whole, index):
        _check_file(file)
    if not index.is_file():
        return {whole: None} if whole.is_file() else {}
    content = _read_json(index)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(file, str) for file in shards.values()):
        raise EncoderError(f"{index} has no weight_map of tensors and their files.")
    found: dict[Path, set[str] | None] = {}
    for file in sorted(set(shards.values())):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise EncoderError(f"{index} names {file!r}: expected a .safetensors file beside it.")
        _check_file(folder / file)
        found[folder / file] = {tensor for tensor, place in shards.items() if place == file}
    if whole.is_file() and whole not in found:
        raise EncoderError(f"{folder} has both {WEIGHTS} and {index.name}, which does not name it: remove one.")
    return found


def _check_file(file: Path) -> None:
    """Raises EncoderError where something else has the name of a checkpoint's file; there need be nothing."""
    if file.is_dir():
        raise EncoderError(f"{file} is a folder, expected a file.")
    if file.is_symlink() and not file.exists():
        raise EncoderError(f"{file} is a link to {file.readlink()}, which is not there: download the file again.")
    try:
        with open(file, "rb") as stream:
            start = stream.read(len(POINTER))
    except OSError:  # said where it is read
        return
    if start == POINTER:
        raise EncoderError(f"{file} is a pointer of Git LFS, not the file: run `git lfs pull` in its folder.")


def read_first_position(folder: Path) -> int:
    """The row of the first token's position: RoBERTas count from the number of the padding on."""
    return _read_first_position(folder / CONFIG, _read_config(folder))


def read_architecture(folder: Path) -> Architecture:
    """Reads `config.json` of a checkpoint folder.

    Raises:
        EncoderError: the model type or one of its settings is none that this library reads.
    """
    config, file = _read_config(folder), folder / CONFIG
    family = config.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise EncoderError(f"model type {family!r} of {folder} is not known; known: {', '.join(FAMILIES)}.")
    _check_classes(file, family, config.get("architectures"))
    aliases = FAMILIES[family].aliases
    config = {aliases.get(name, name): value for name, value in config.items() if aliases.get(name) not in config}
    entry, usual = FAMILIES[family].activation
    activation = config.get(entry, usual)
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise EncoderError(f"{entry} {activation!r} of {folder} is not known; known: {', '.join(ACTIVATIONS)}.")
    positions = config.get("position_embedding_type", "absolute")
    if positions not in FAMILIES[family].positions:
        what = f"has relative positions ({positions!r})" if isinstance(positions, str) else f"says {positions!r}"
        known = " or ".join(map(repr, FAMILIES[family].positions))
        raise EncoderError(f"{file}: position_embedding_type {what}; only {known} is read.")
    if config.get("pruned_heads"):
        raise EncoderError(f"{file} says that heads are pruned ({config['pruned_heads']}); only whole blocks are read.")
    if config.get("is_decoder"):
        raise EncoderError(f"{folder} is a decoder; only encoders are read.")
    if config.get("inner_group_num", 1) != 1:
        raise EncoderError(f"{folder} repeats {config['inner_group_num']} blocks in a group; only 1 is read.")
    sizes = _read_sizes(file, config, FAMILIES[family])
    sizes["max_positions"] -= _read_first_position(file, config)
    if sizes["max_positions"] < 1:
        raise EncoderError(f"{file} leaves no position to a token: check max_position_embeddings and pad_token_id.")
    if sizes["hidden_dim"] % sizes["num_heads"]:
        raise EncoderError(
            f"{file} has {sizes['num_heads']} attention heads and a hidden size of {sizes['hidden_dim']}, which they "
            "do not divide."
        )
    if sizes["num_blocks"] > sizes["num_layers"]:
        raise EncoderError(f"{file} has {sizes['num_blocks']} groups of blocks and only {sizes['num_layers']} layers.")
    name, usual_epsilon = FAMILIES[family].epsilon
    epsilon = config.get(name, usual_epsilon) if name else usual_epsilon
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)) or not 0 < epsilon < 1e3:
        raise EncoderError(f"{file}: {name} needs a number above 0, got {repr(epsilon)[:20]}.")
    try:
        settings = FAMILIES[family].read_settings(config)
    except ValueError as error:
        raise EncoderError(f"{file}: {error}") from None
    return FAMILIES[family].architecture(
        family=family,
        activation=ACTIVATIONS[activation],
        layer_norm_epsilon=float(epsilon),
        **sizes,
        **settings,
    )


def _check_classes(file: Path, family: str, classes: Any) -> None:
    """Raises EncoderError where config.json names classes of transformers whose weights are laid out in another way:
    their blocks or their positions would be read wrong."""
    for name in classes if isinstance(classes, list) else ():
        found = re.fullmatch(r"(\w+?)(Model|For\w+)", str(name))
        others = [other for other, kind in FAMILIES.items() if found and kind.transformers == found[1]]
        if others and FAMILIES[others[0]].prefix != FAMILIES[family].prefix:  # RoBERTa's kin have one
            raise EncoderError(
                f"{file} says model_type {family!r} and architectures {name!r}, which is a {others[0]!r}: they "
                "contradict each other; correct the one that is wrong."
            )


def describe_architecture(architecture: Architecture, first_position: int) -> dict[str, Any]:
    """config.json of an architecture, the tokenizer's numbers not in it: what `read_architecture` reads.

    Args:
        architecture: an encoder's.
        first_position: see `write_weights`; the number of the padding's token, and one more.
    """
    own = vars(architecture) | {"max_positions": architecture.max_positions + first_position}
    family = FAMILIES[architecture.family]
    activation = next(theirs for theirs, ours in ACTIVATIONS.items() if ours == architecture.activation)
    return {
        "model_type": architecture.family,
        **{theirs: own[ours] for ours, (theirs, _) in family.sizes.items() if theirs},
        family.activation[0]: activation,
        **({family.epsilon[0]: architecture.layer_norm_epsilon} if family.epsilon[0] else {}),
        **family.describe_settings(architecture),
        "inner_group_num": 1,
    }


def _read_json(file: Path) -> Any:
    _check_file(file)
    try:
        return json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=read_object)
    except OSError as error:
        raise EncoderError(f"{file} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise EncoderError(f"{file} is no JSON that can be read: {error}.") from None


def _read_config(folder: Path) -> dict[str, Any]:
    config = _read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise EncoderError(f"{folder / CONFIG} needs a JSON object, got a {type(config).__name__}.")
    return config


def _read_first_position(file: Path, config: Mapping[str, Any]) -> int:
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None or not family.pads_positions:
        return 0 if family is None else family.first_position
    return _read_count(file, "pad_token_id", config.get("pad_token_id", 1), least=0) + 1


def _read_sizes(file: Path, config: Mapping[str, Any], family: Family) -> dict[str, int]:
    sizes = {}
    for ours, (theirs, default) in family.sizes.items():
        if default is None and theirs not in config:
            raise EncoderError(f"{file} lacks {theirs!r}.")
        name = theirs if theirs in config or default not in config else default
        value = config.get(name, default)
        sizes[ours] = _read_count(file, name, value, least=0 if ours == "num_segments" else 1)
    return sizes


def _read_count(file: Path, name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise EncoderError(f"{file}: {name} needs a whole number from {least} on, got {value!r}.")
    return value
