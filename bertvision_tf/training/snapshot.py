"""A fine-tuned encoder on disk: a checkpoint's folder, with its own head in it and how it came to be."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..encoders import Classifier, Encoder, SpanClassifier, load_encoder
from ..images import tokenize_examples
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
    classifier: Classifier | SpanClassifier
    facts: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """Of its files on disk."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def predict(self, examples: Examples, max_length: int) -> np.ndarray:
        """Logits of its own head, float32 (rows, outputs); of questions with answers (tokens, 2), of the tokens of all
        windows back to back."""
        tokens, _ = tokenize_examples(self.encoder, examples, max_length)
        last = self.encoder.num_hidden_states - 1
        if isinstance(self.classifier, SpanClassifier):
            logits = np.zeros((len(tokens.token_ids), 2), np.float32)
            for rows, padded in tokens.batches():
                states = self.encoder.hidden_state_rows(padded, layers=[last])[:, 0]
                places = tokens.offsets[rows, None] + np.arange(padded["padding_mask"].shape[1])
                logits[places[padded["padding_mask"] > 0]] = self.classifier.predict(states)
            return logits
        states = np.zeros((len(tokens), self.encoder.hidden_dim), np.float32)
        for rows, padded in tokens.batches():
            states[rows] = self.encoder.hidden_state_rows(padded, mode="cls", layers=[last])[:, 0]
        return self.classifier.predict(states)


def read_snapshot(path: Path, dtype: str = "float32", engine: str = "tensorflow") -> Snapshot:
    """Opens a snapshot; its encoder has products of `dtype`."""
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    kind = SpanClassifier if config["architectures"][0].endswith("ForQuestionAnswering") else Classifier
    return Snapshot(path, load_encoder(str(path), dtype, engine), kind.read(path), config[FACTS])
