"""What a head's .keras file may hold: Keras builds what such a file names, and that is to be layers alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import keras

from ..paths import read_object

HELD = {"metadata.json", "config.json", "model.weights.h5"}
CONFIG_BYTES = 16 * 2**20  # of the largest description of a head
OWN = "bertvision_tf"
MODULES = {f"keras.{name}" for name in ("layers", "initializers", "regularizers", "constraints", "activations")}
CLASSES = {"DTypePolicy", "Functional", "Sequential"}  # of Keras itself
TENSOR = "__keras_tensor__"  # an input or output of a layer
REFUSED = {"Lambda", "TFSMLayer"}  # which run code of the file, or load what it names


def check_archive(file: Path) -> None:
    """Raises ValueError where a .keras file would have Keras build anything but layers of Keras and of this library.

    Args:
        file: that is to be loaded. No weight is read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {one.filename: one.file_size for one in archive.infolist()}
            if set(sizes) != HELD or len(archive.infolist()) != len(HELD):
                raise ValueError(f"it holds {', '.join(sorted(sizes)[:5])}, and not {', '.join(sorted(HELD))}")
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise ValueError("its parts are packed, which Keras does not do")
            if sizes["config.json"] > CONFIG_BYTES:
                raise ValueError(f"its description has {sizes['config.json']} bytes")
            config = json.loads(archive.read("config.json"), object_pairs_hook=read_object)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, RecursionError) as error:
        raise ValueError(f"it is no archive of Keras: {error}") from None
    if not isinstance(config, dict):
        raise ValueError("its description is no object")
    config.pop("compile_config", None)  # of the whole, which is not compiled when it is loaded
    _check_part(config)


def _check_part(part: Any) -> None:
    if isinstance(part, dict):
        if "class_name" in part:
            _check_class(part)
        for value in part.values():
            _check_part(value)
    elif isinstance(part, list):
        for value in part:
            _check_part(value)


def _check_class(part: dict[str, Any]) -> None:
    """Raises ValueError where an object that is described is none of those that heads are made of."""
    module, name, registered = str(part.get("module")), str(part["class_name"]), part.get("registered_name")
    if module == "None":
        allowed = name == TENSOR
    elif module.split(".")[0] == OWN:
        allowed = registered == f"{OWN}>{name}" and keras.saving.get_registered_object(registered) is not None
    elif module == "keras" or module.startswith("keras.src.models"):
        allowed = name in CLASSES
    else:
        allowed = module in MODULES and name not in REFUSED
    if not allowed:
        raise ValueError(f"it names {module}.{name}, of which no head is made; nothing was loaded")
