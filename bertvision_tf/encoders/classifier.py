"""The encoder's own head, as BERT has it: for labels a dense layer over the first token's last state, and one for the
outputs; for answers one dense layer over every token's last state.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import EncoderError
from .families import FAMILIES


@dataclasses.dataclass(frozen=True)
class Classifier:
    """The two dense layers; matrices are (inputs, outputs).

    Attributes:
        family: of the encoder; it decides the activation between them.
        dense_kernel, dense_bias: hidden_dim → hidden_dim; in BERT and ALBERT the pooler.
        output_kernel, output_bias: hidden_dim → outputs.
    """

    family: str
    dense_kernel: np.ndarray
    dense_bias: np.ndarray
    output_kernel: np.ndarray
    output_bias: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> Classifier:
        """That of a checkpoint folder of a fine-tuned encoder.

        Raises:
            EncoderError: it has none.
        """
        return cls(*_read_layers(folder, _name_layers))

    @property
    def architecture(self) -> str:
        """What transformers calls an encoder with this head."""
        return f"{FAMILIES[self.family].transformers}ForSequenceClassification"

    def to_tensors(self) -> Mapping[str, np.ndarray]:
        """By the names of the family, in PyTorch's shapes, without what is the encoder's."""
        dense, output = _name_layers(self.family)
        tensors = {f"{output}.weight": self.output_kernel.T, f"{output}.bias": self.output_bias}
        if not FAMILIES[self.family].head.in_pooler:
            tensors |= {f"{dense}.weight": self.dense_kernel.T, f"{dense}.bias": self.dense_bias}
        return tensors

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Logits (rows, outputs) of the first token's last states, float32 (rows, hidden_dim)."""
        inner = _activate(FAMILIES[self.family].head.activation, states @ self.dense_kernel + self.dense_bias)
        return (inner @ self.output_kernel + self.output_bias).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class SpanClassifier:
    """One dense layer, for the start and the end of an answer at every token.

    Attributes:
        family: of the encoder.
        output_kernel, output_bias: hidden_dim → 2.
    """

    family: str
    output_kernel: np.ndarray
    output_bias: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> SpanClassifier:
        """That of a checkpoint folder of an encoder fine-tuned on questions.

        Raises:
            EncoderError: it has none.
        """
        return cls(*_read_layers(folder, lambda family: ("qa_outputs",)))

    @property
    def architecture(self) -> str:
        """What transformers calls an encoder with this head."""
        return f"{FAMILIES[self.family].transformers}ForQuestionAnswering"

    def to_tensors(self) -> Mapping[str, np.ndarray]:
        """By transformers' names, in PyTorch's shapes."""
        return {"qa_outputs.weight": self.output_kernel.T, "qa_outputs.bias": self.output_bias}

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Logits (rows, 2) of tokens' last states, float32 (rows, hidden_dim)."""
        return (states @ self.output_kernel + self.output_bias).astype(np.float32)


def _read_layers(folder: Path, name_layers: Callable[[str], Sequence[str]]) -> list[Any]:
    """The family of a checkpoint, and the kernel and bias of each layer of that family's own head."""
    try:
        family = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
        names = [f"{name}.{end}" for name in name_layers(family) for end in ("weight", "bias")]
        with safe_open(folder / "model.safetensors", framework="numpy") as tensors:
            return [family, *(tensors.get_tensor(name).T for name in names)]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise EncoderError(f"{folder} has no classifier that can be read: {error}.") from None


def _activate(name: str, values: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    if name == "tanh":
        return np.tanh(values)
    return np.maximum(values, 0) if name == "relu" else values * (1 + erf(values / np.sqrt(2))) / 2


def _name_layers(family: str) -> tuple[str, str]:
    head = FAMILIES[family].head
    return head.dense, head.output
