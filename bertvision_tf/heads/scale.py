"""Heads that give their logits on another scale."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from .model import Head


@keras.saving.register_keras_serializable(package="bertvision_tf")
class ScaleLogits(keras.layers.Layer):
    """Logits times a fixed number, float32: no weight, so that what was trained stays as it is.

    Args:
        scale: one number for all outputs, or one for each.
    Call arguments:
        logits: float, (batch, …, outputs).
    Output: of the same shape.
    Example:
        >>> ScaleLogits(0.5)(np.array([[2.0, -4.0]]))
        <tf.Tensor: shape=(1, 2), dtype=float32, numpy=array([[ 1., -2.]], dtype=float32)>
    """

    def __init__(self, scale: float | Sequence[float], **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.scale = scale if isinstance(scale, float) else [float(one) for one in scale]

    def call(self, logits):
        return ops.cast(logits, "float32") * ops.convert_to_tensor(self.scale, "float32")

    def compute_output_shape(self, logits_shape):
        return logits_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "scale": self.scale}


def unscale_head(head: keras.Model) -> keras.Model:
    """A head with its layers and weights, whose logits are on the scale that they were trained on."""
    last = head.layers[-1]
    return Head(head.input, last.input, name=head.name) if isinstance(last, ScaleLogits) else head


def scale_head(head: keras.Model, scale: float | Sequence[float]) -> Head:
    """A head with its layers and weights, whose logits are on another scale.

    Args:
        head: of one output.
        scale: as `ScaleLogits`'s.
    """
    return Head(head.input, ScaleLogits(scale, name="calibration")(head.output), name=head.name)
