"""What a head's .keras file may hold. Keras builds whatever such a file names, and that is to be layers alone."""

from __future__ import annotations

import inspect
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import keras.src.ops.nn
import keras.src.ops.numpy

from ..hdf5 import check_datasets
from ..paths import read_object

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
HELD = {"metadata.json", CONFIG, WEIGHTS}
CONFIG_BYTES = 16 * 2**20  # of the largest description of a head
OWN = "bertvision_tf"
TENSOR = "__keras_tensor__"  # an input or output of a layer
LAYERS = {  # of heads, and of the image networks of keras.applications
    *("Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D", "Cropping2D", "Dense"),
    *("DepthwiseConv2D", "Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer"),
    *("LayerNormalization", "LeakyReLU", "MaxPooling2D", "Multiply", "Normalization", "Permute", "ReLU", "Rescaling"),
    *("Reshape", "SeparableConv2D", "Softmax", "UpSampling2D", "ZeroPadding2D"),
}
MODELS = {"Functional", "Sequential", "Model"}
PARTS = {f"keras.{name}": getattr(keras, name) for name in ("initializers", "regularizers", "constraints")}
OPERATIONS = {module.__name__: module for module in (keras.src.ops.numpy, keras.src.ops.nn)}


def check_archive(file: Path) -> None:
    """Raises ValueError where a .keras file would have Keras build anything but layers of Keras, of this library and of
    KerasHub's image networks, or read weights that are not in it.

    Args:
        file: that is to be loaded.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {one.filename: one.file_size for one in archive.infolist()}
            if set(sizes) != HELD or len(archive.infolist()) != len(HELD):
                raise ValueError(f"it holds {', '.join(sorted(sizes)[:5])}, and not {', '.join(sorted(HELD))}")
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise ValueError("its parts are packed, which Keras does not do")
            if sizes[CONFIG] > CONFIG_BYTES:
                raise ValueError(f"its description has {sizes[CONFIG]} bytes")
            config, weights = json.loads(archive.read(CONFIG), object_pairs_hook=read_object), archive.read(WEIGHTS)
        if not isinstance(config, dict):
            raise ValueError("its description is no object")
        config.pop("compile_config", None)  # of the whole, which is not compiled when it is loaded
        _check_part(config)
        with h5py.File(io.BytesIO(weights), "r") as content:
            check_datasets(content, len(weights))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, RecursionError) as error:
        raise ValueError(f"it is no archive of Keras: {error}") from None


def _check_part(part: Any) -> None:
    if isinstance(part, dict):
        if "class_name" in part and not _is_allowed(part):
            raise ValueError(
                f"it names {part.get('module')}.{part['class_name']} ({part.get('registered_name')}), of which no head "
                "is made; nothing was loaded"
            )
        for value in part.values():
            _check_part(value)
    elif isinstance(part, list):
        for value in part:
            _check_part(value)


def _is_allowed(part: dict[str, Any]) -> bool:
    """Whether an object that is described is one that heads are made of. Keras looks for a registered name first."""
    module, name, registered = (part.get(key) for key in ("module", "class_name", "registered_name"))
    if not isinstance(name, str) or not isinstance(registered, str | None) or not isinstance(module, str | None):
        return False
    if module is None:
        return name == TENSOR
    package = module.split(".")[0]
    if package in (OWN, "keras_hub"):
        found = keras.saving.get_registered_object(registered or "")
        return registered == f"{package}>{name}" and _is_layer(found)
    if registered not in (None, name) or keras.saving.get_registered_object(name) is not None:
        return module.startswith("keras.src.applications.") and _is_layer(
            keras.saving.get_registered_object(registered)
        )
    if module in PARTS:
        return inspect.isclass(getattr(PARTS[module], name, None))
    if module in OPERATIONS:
        return _is_operation(getattr(OPERATIONS[module], name, None))
    if module == "keras" or module.startswith("keras.src.models"):
        return name == "DTypePolicy" or name in MODELS
    return module == "keras.layers" and name in LAYERS


def _is_operation(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, keras.Operation)


def _is_layer(found: Any) -> bool:
    """Whether a class is a layer that only computes. KerasHub's tokenizers are layers, and read files."""
    return _is_operation(found) and not any(one.__name__ == "PreprocessingLayer" for one in inspect.getmro(found))
