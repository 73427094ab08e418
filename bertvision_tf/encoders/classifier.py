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
from .architecture import norm_rows
from .families import FAMILIES, OwnHead


@dataclasses.dataclass(frozen=True)
class Classifier:
    """The two dense layers; matrices are (inputs, outputs).

    Attributes:
        family: of the encoder; it decides the activation between them.
        dense_kernel, dense_bias: hidden_dim → hidden_dim; in BERT and ALBERT the pooler.
        output_kernel, output_bias: hidden_dim → outputs.
        norm_gamma: gain of a layer norm between them, in ModernBERT; (hidden_dim,).
        norm_epsilon: of that norm; the encoder's.
    """

    family: str
    dense_kernel: np.ndarray
    dense_bias: np.ndarray
    output_kernel: np.ndarray
    output_bias: np.ndarray
    norm_gamma: np.ndarray | None = None
    norm_epsilon: float = 1e-5

    @classmethod
    def read(cls, folder: Path) -> Classifier:
        """That of a checkpoint folder of a fine-tuned encoder.

        Raises:
            EncoderError: it has none.
        """
        family, epsilon, tensors = _read_tensors(folder, lambda family: _list_names(FAMILIES[family].head))
        return cls(family, *tensors, **epsilon)

    @property
    def architecture(self) -> str:
        """What transformers calls an encoder with this head."""
        return f"{FAMILIES[self.family].transformers}ForSequenceClassification"

    def to_tensors(self) -> Mapping[str, np.ndarray]:
        """By the names of the family, in PyTorch's shapes, without what is the encoder's."""
        head = FAMILIES[self.family].head
        own = [self.dense_kernel.T, self.dense_bias, self.output_kernel.T, self.output_bias, self.norm_gamma]
        tensors = {name: value for name, value in zip(_list_names(head), own, strict=False) if value is not None}
        return {name: value for name, value in tensors.items() if not (head.in_pooler and name.startswith(head.dense))}

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Logits (rows, outputs) of the first token's last states, float32 (rows, hidden_dim)."""
        norm = (self.norm_gamma, self.norm_epsilon)
        inner = _run_dense(self.family, states, self.dense_kernel, self.dense_bias, *norm)
        return (inner @ self.output_kernel + self.output_bias).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class SpanClassifier:
    """One dense layer, for the start and the end of an answer at every token; in ModernBERT another one before it.

    Attributes:
        family: of the encoder.
        output_kernel, output_bias: hidden_dim → 2.
        dense_kernel, dense_bias, norm_gamma, norm_epsilon: as `Classifier`'s, where there is such a layer.
    """

    family: str
    output_kernel: np.ndarray
    output_bias: np.ndarray
    dense_kernel: np.ndarray | None = None
    dense_bias: np.ndarray | None = None
    norm_gamma: np.ndarray | None = None
    norm_epsilon: float = 1e-5

    @classmethod
    def read(cls, folder: Path) -> SpanClassifier:
        """That of a checkpoint folder of an encoder fine-tuned on questions.

        Raises:
            EncoderError: it has none.
        """
        family, epsilon, tensors = _read_tensors(folder, _list_span_names)
        return cls(family, *tensors, **epsilon)

    @property
    def architecture(self) -> str:
        """What transformers calls an encoder with this head."""
        return f"{FAMILIES[self.family].transformers}ForQuestionAnswering"

    def to_tensors(self) -> Mapping[str, np.ndarray]:
        """By transformers' names, in PyTorch's shapes."""
        own = [self.output_kernel, self.output_bias, self.dense_kernel, self.dense_bias, self.norm_gamma]
        found = [value.T for value in own if value is not None]
        return dict(zip(_list_span_names(self.family), found, strict=True))

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Logits (rows, 2) of tokens' last states, float32 (rows, hidden_dim)."""
        if self.dense_kernel is not None and self.dense_bias is not None:
            norm = (self.norm_gamma, self.norm_epsilon)
            states = _run_dense(self.family, states, self.dense_kernel, self.dense_bias, *norm)
        return (states @ self.output_kernel + self.output_bias).astype(np.float32)


def _read_tensors(folder: Path, list_names: Callable[[str], Sequence[str]]) -> tuple[str, dict[str, Any], list[Any]]:
    """The family of a checkpoint, the epsilon of its norms where its own head has one, and the tensors of that head by
    the names of the family; matrices are turned."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        family = config["model_type"]
        entry, usual = FAMILIES[family].epsilon
        epsilon = {"norm_epsilon": float(config.get(entry, usual))} if FAMILIES[family].head.norm else {}
        with safe_open(folder / "model.safetensors", framework="numpy") as tensors:
            return family, epsilon, [tensors.get_tensor(name).T for name in list_names(family)]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise EncoderError(f"{folder} has no classifier that can be read: {error}.") from None


def _run_dense(
    family: str,
    states: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    norm_gamma: np.ndarray | None,
    norm_epsilon: float,
) -> np.ndarray:
    """The first layer of a family's own head, (rows, hidden_dim)."""
    inner = _activate(FAMILIES[family].head.activation, states @ kernel + bias)
    return inner if norm_gamma is None else norm_rows(inner, norm_epsilon) * norm_gamma


def _activate(name: str, values: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    if name == "tanh":
        return np.tanh(values)
    return np.maximum(values, 0) if name == "relu" else values * (1 + erf(values / np.sqrt(2))) / 2


def _list_names(head: OwnHead) -> list[str]:
    """The names of a head's tensors: of both layers, and of its norm."""
    names = [f"{name}.{end}" for name in (head.dense, head.output) for end in ("weight", "bias")]
    return [*names, f"{head.norm}.weight"] if head.norm else names


def _list_span_names(family: str) -> list[str]:
    """The names of the tensors of a head for answers."""
    head = FAMILIES[family].head
    if not head.norm:
        return ["qa_outputs.weight", "qa_outputs.bias"]
    dense = _list_names(head)
    return [*dense[2:4], *dense[:2], dense[4]]
