"""A fine-tuned encoder on disk: a checkpoint's folder, with its own head in it and how it came to be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..encoders import Classifier, Encoder, load_encoder
from ..tasks import Examples

FACTS = "bertvision_tf"  # the entry of its config.json


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """A fine-tuned encoder.

    Attributes:
        path: its folder.
        encoder: itself.
        classifier: its own head.
        facts: epochs, steps, seconds of training so far, memory_bytes (the most that the process held in it),
            trainable_parameters, seed, config, base and rows.
    """

    path: Path
    encoder: Encoder
    classifier: Classifier
    facts: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """Of its files on disk."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def predict(self, examples: Examples, max_length: int) -> np.ndarray:
        """Logits of its own head, float32 (rows, outputs)."""
        tokens = self.encoder.tokenize_rows(examples.texts, examples.text_pairs, max_length)
        states, last = np.zeros((len(tokens), self.encoder.hidden_dim), np.float32), self.encoder.num_hidden_states - 1
        for rows, padded in tokens.batches():
            states[rows] = self.encoder.hidden_state_rows(padded, mode="cls", layers=[last])[:, 0]
        return self.classifier.predict(states)


def read_snapshot(path: Path, dtype: str = "float32") -> Snapshot:
    """Opens a snapshot; its encoder has products of `dtype`."""
    facts = json.loads((path / "config.json").read_text(encoding="utf-8"))[FACTS]
    return Snapshot(path, load_encoder(str(path), dtype), Classifier.read(path), facts)
