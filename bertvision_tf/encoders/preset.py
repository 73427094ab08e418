"""A KerasHub preset → an `Encoder`: its backbone's weights by our names, its vocabulary in a fast tokenizer.

A preset is a folder with a Keras `config.json`, `model.weights.h5` and the tokenizer's assets; KerasHub knows many by
name and downloads them.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import EncoderError, find_reason
from .architecture import Architecture
from .backbone import ACTIVATIONS, get_blocks, read_backbone
from .encoder import Encoder
from .families import FAMILIES
from .families.bert import WORDS
from .packaged import PACKAGED
from .tokenizer import Tokenizer


def is_preset(folder: Path) -> bool:
    """Whether a folder's config.json is Keras's."""
    try:
        return "registered_name" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def is_preset_name(name: str) -> bool:
    """Whether KerasHub knows a preset by this name."""
    if name.startswith("kaggle://"):
        return True
    if "/" in name or name in PACKAGED or os.path.exists(name):
        return False  # and KerasHub's second of importing is saved
    from keras_hub.models import Backbone

    return name in Backbone.presets


def load_preset(name: str, source: str, dtype: str) -> Encoder:
    """Loads a preset.

    Args:
        name: how it was asked for.
        source: what KerasHub loads: a name or a folder.
        dtype: "float32" or "bfloat16".

    Raises:
        EncoderError: it cannot be had or read, or is of an architecture that is not known.
    """
    from keras_hub import models

    try:
        backbone = models.Backbone.from_preset(source, dtype="float32")
        presets = {kind: family.preset for kind, family in FAMILIES.items() if family.preset is not None}
        found = [kind for kind, preset in presets.items() if preset.backbone == type(backbone).__name__]
        if not found:
            known = ", ".join(dict.fromkeys(preset.backbone for preset in presets.values()))
            raise EncoderError(f"{name} is a {type(backbone).__name__}; known: {known}.")
        family, preset = found[0], presets[found[0]]
        tokenizer = _convert_tokenizer(models.Tokenizer.from_preset(source), preset.tokenizer, preset.files)
    except EncoderError:
        raise
    except Exception as error:  # KerasHub, kagglehub, h5py and the network each have their own
        reason = find_reason(error)
        raise EncoderError(
            f"the preset {name} cannot be had ({reason}); offline, copy its folder here and name that."
        ) from None
    return Encoder(name, _describe(backbone, family), tokenizer, read_backbone(backbone), dtype)


def _describe(backbone: keras.Model, family: str) -> Architecture:
    config, blocks = backbone.get_config(), get_blocks(backbone)
    hidden = config["hidden_dim"]
    distances = {}
    if "bucket_size" in config:  # of a DeBERTa v3
        distances = {"position_buckets": config["bucket_size"], "farthest": config["max_sequence_length"]}
    return FAMILIES[family].architecture(
        family=family,
        vocabulary_size=config.get("vocabulary_size") or config["vocab_size"],
        num_layers=config["num_layers"],
        num_heads=config["num_heads"],
        hidden_dim=hidden,
        intermediate_dim=config["intermediate_dim"],
        max_positions=config["max_sequence_length"],
        num_segments=config.get("num_segments", 0),
        activation=_name_activation(blocks[0]),
        layer_norm_epsilon=float(backbone.embeddings_layer_norm.epsilon),
        embedding_dim=config.get("embedding_dim", hidden),
        num_blocks=len(blocks),
        **distances,
    )


def _name_activation(block: keras.layers.Layer) -> str:
    """Of ACTIVATIONS the one that a block's does the same as."""
    dense = block._feedforward_intermediate_dense
    points = np.linspace(-3, 3, 61, dtype=np.float32)
    for name, activation in ACTIVATIONS.items():
        if np.allclose(activation(points), dense.activation(points), atol=1e-6):
            return name
    raise EncoderError(f"the activation of {block.name} is none of {', '.join(ACTIVATIONS)}.")


def _convert_tokenizer(tokenizer: Any, kind: str, files: Mapping[str, str]) -> Tokenizer:
    """KerasHub's tokenizer as the fast one of transformers, over the same vocabulary.

    Args:
        tokenizer: KerasHub's.
        kind: transformers' class.
        files: its name of each file of the preset's.
    """
    import transformers

    settings = {"do_lower_case": "lowercase", "strip_accents": "strip_accents"} if files == WORDS else {}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_assets(folder)
        for file, renamed in files.items():
            (Path(folder) / file).rename(Path(folder) / renamed)
        options = {name: getattr(tokenizer, own) for name, own in settings.items()}
        return Tokenizer(getattr(transformers, kind).from_pretrained(folder, **options))
