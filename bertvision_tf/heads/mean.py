"""Several heads as one model, which predicts, is saved and is exported as a single one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ..errors import HeadError
from ..metrics.calibration import Calibration
from .copy import copy_head
from .model import Head
from .scale import scale_head
from .together import HeadsTogether

KINDS = ("classification", "multilabel", "regression", "span")


@keras.saving.register_keras_serializable(package="bertvision_tf")
class MeanOfLogits(keras.layers.Layer):
    """Logits of several models → logits of one, float32.

    Args:
        kind: what they are of. "classification": the logarithm of the mean of the probabilities; "multilabel": the log
            odds of the mean of each class's probability; "regression" and "span": the mean of the numbers.
    Call arguments:
        logits: a list of float tensors of one shape, (batch, …, outputs).
    Output: of their shape.
    Raises:
        HeadError (a ValueError): the kind is not known.
    Example:
        >>> MeanOfLogits("classification")([np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])])     # log(0.7), log(0.3)
        <tf.Tensor: shape=(1, 2), dtype=float32, numpy=array([[-0.35667497, -1.2039728 ]], dtype=float32)>
    """

    def __init__(self, kind: str, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if kind not in KINDS:
            raise HeadError(f"`kind` {kind!r} is not known; known: {', '.join(KINDS)}.")
        self.kind = kind

    def call(self, logits):
        stacked = ops.stack(logits)  # (models, batch, …, outputs)
        if self.kind == "classification":
            return _log_mean(ops.log_softmax(stacked))
        if self.kind == "multilabel":
            return _log_mean(ops.log_sigmoid(stacked)) - _log_mean(ops.log_sigmoid(-stacked))
        return ops.mean(stacked, axis=0)

    def compute_output_shape(self, logits_shape):
        return tuple(logits_shape[0])

    def get_config(self) -> dict:
        return {**super().get_config(), "kind": self.kind}


def average_heads(heads: Sequence[keras.Model], kind: str, calibration: Calibration | None = None) -> Head:
    """One model that says what several heads say in the mean; its weights are copies of theirs.

    What several heads measure of the image alike, and none trains, is measured once.

    Args:
        heads: adapted, each of a name of its own.
        kind: as `MeanOfLogits`'s.
        calibration: of the mean; none with None.

    Example:
        >>> heads = [build_head("learned_pooling", num_hidden_states=3, hidden_dim=6, name=f"seed_{n}") for n in (0, 1)]
        >>> sorted(average_heads(heads, "classification").input)
        ['hidden_states', 'padding_mask']
    """
    copies = [copy_head(head, head.name, f"{head.name}_") for head in heads]
    images = copies[0].input
    mean = Head(images, _average(HeadsTogether(copies, stacked=False)(images), kind), name="mean")
    return mean if calibration is None else scale_head(mean, calibration.scale)


def _average(outputs: Sequence[Any], kind: str) -> Any:
    """The mean of tensors, or of dicts of them by name."""
    if not isinstance(outputs[0], dict):
        return MeanOfLogits(kind, name="logits")(list(outputs))
    return {name: MeanOfLogits(kind, name=name)([output[name] for output in outputs]) for name in outputs[0]}


def _log_mean(logarithms):
    """The logarithm of the mean over the first axis."""
    return ops.logsumexp(logarithms, axis=0) - ops.log(float(logarithms.shape[0]))
