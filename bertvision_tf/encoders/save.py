"""An `Encoder` → a checkpoint's folder as Hugging Face lays it out, which `load_encoder` and transformers read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..checksums import write_checksums
from ..errors import EncoderError
from .checkpoint import describe_architecture
from .classifier import Classifier, SpanClassifier
from .encoder import Encoder
from .weights import write_weights


def save_encoder(
    encoder: Encoder,
    folder: str | Path,
    classifier: Classifier | SpanClassifier | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Writes an encoder, perhaps with its own head, under a temporary name, and gives it its own when it is whole.

    Args:
        encoder: of any family.
        folder: where; nothing may be there.
        classifier: its own head.
        settings: further entries of config.json, as `id2label`.

    Raises:
        EncoderError: the folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise EncoderError(f"{folder} is there already: name another folder.")
    # RoBERTas count positions from the number of the padding on.
    family = encoder.family
    first_position = encoder.tokenizer.padding_id + 1 if family.pads_positions else family.first_position
    config = describe_architecture(encoder.architecture, first_position) | dict(settings or {})
    config["pad_token_id"] = encoder.tokenizer.padding_id
    if classifier is not None:
        config["architectures"] = [classifier.architecture]
    staging = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        tensors = {} if classifier is None else dict(classifier.to_tensors())
        if classifier is not None and "final_norm.beta" in encoder.weights:  # a ModernBERT whose norms all have biases
            tensors[f"{encoder.family.head.norm}.bias"] = np.zeros(encoder.hidden_dim, np.float32)
        write_weights(staging / "model.safetensors", encoder.architecture, encoder.weights, first_position, tensors)
        encoder.tokenizer.save(staging)
        (staging / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_checksums(staging)
        os.replace(staging, folder)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise EncoderError(f"{folder} cannot be written: {error.strerror or error}.") from None
