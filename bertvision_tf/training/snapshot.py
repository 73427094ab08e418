"""A fine-tuned encoder on disk: a checkpoint's folder, which says how it came to be.

Its own head is in it, or beside it the head on all its states that it was fine-tuned under.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..encoders import Classifier, Encoder, SpanClassifier, load_encoder
from ..heads.load import load_head
from ..images import tokenize_examples
from ..tasks import Examples

FACTS = "bertvision_tf"  # the entry of its config.json
HEAD_FILE = "head.keras"  # beside the snapshot's folder


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """A fine-tuned encoder.

    Attributes:
        path: its folder.
        encoder: itself.
        classifier: its own head; None where it was fine-tuned under a head on all its states.
        facts: epochs, steps, seconds of training so far, memory_bytes (the most that the process held in it),
            trainable_parameters, seed, config, base and rows.
    """

    path: Path
    encoder: Encoder
    classifier: Classifier | SpanClassifier | None
    facts: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """Of its files on disk."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def load_head(self) -> keras.Model:
        """The head on all its states, as it was trained with the encoder.

        Raises:
            RunError: it cannot be read.
        """
        return load_head(self.path.parent / HEAD_FILE)

    def predict(self, examples: Examples, max_length: int) -> np.ndarray:
        """Logits of its own head, float32 (rows, outputs); of questions with answers (tokens, 2), of the tokens of all
        windows back to back."""
        tokens, _ = tokenize_examples(self.encoder, examples, max_length)
        assert self.classifier is not None
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
    """Opens a snapshot; its encoder has products of `dtype`.

    Raises:
        EncoderError: its files are not what was written.
    """
    encoder = load_encoder(str(path), dtype, engine)
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    facts, classifier = config[FACTS], None
    if "head" not in facts:
        answers = config["architectures"][0].endswith("ForQuestionAnswering")
        classifier = (SpanClassifier if answers else Classifier).read(path)
    return Snapshot(path, encoder, classifier, facts)
