"""Learned pooling over layers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import keras
import numpy as np
from keras import ops

from ..errors import HeadError
from .kin import name_kin
from .shapes import Shape, check_image


@keras.saving.register_keras_serializable(package="bertvision_tf")
class LayerWeightPooling(keras.layers.Layer):
    """Sums hidden states over layers with learned softmax weights.

    output = gain * sum_k softmax(weights / temperature)[k] * hidden_states[:, k]

    It trains num_hidden_states + 1 numbers: the weights, which start at 0 (the plain mean), and the gain,
    which starts at 1. The softmax is in float32 under any dtype policy. A padded cell meets only itself.

    Args:
        temperature: float > 0, no unit. Divides the weights before the softmax: below 1 sharpens the choice.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
    Output: float, (batch, tokens, hidden_dim).
    Raises:
        HeadError (a ValueError): not four axes, the layer axis is unknown at build, or temperature <= 0.
    Example:
        >>> pooling = LayerWeightPooling()
        >>> pooling(np.ones((2, 13, 5, 8), "float32")).shape
        TensorShape([2, 5, 8])
        >>> pooling.layer_weights().shape
        (13,)

    Source: Tenney et al., 2019, arXiv 1905.05950, equation 1.
    """

    def __init__(self, temperature: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        if not temperature > 0:
            raise HeadError(f"`temperature` needs a number above 0, got {temperature!r}.")
        self.temperature = float(temperature)

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__, known=("num_hidden_states",))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={1: input_shape[1]})
        # Both stay in float32 when read, so that a half-precision policy rounds the mixture once, at its end.
        self.layer_logits = self.add_weight(
            name="layer_logits", shape=(input_shape[1],), initializer="zeros", autocast=False
        )
        self.gain = self.add_weight(name="gain", shape=(), initializer="ones", autocast=False)

    def call(self, hidden_states):
        _, layers, tokens, hidden = ops.shape(hidden_states)
        mixture = self.gain * self._shares()  # (layers,) float32
        mixture = ops.cast(mixture, self.compute_dtype)  # (layers,)
        if hidden_states.shape[2] == 1:  # a product of matrices would take twenty times the time to begin
            return ops.sum(mixture[:, None, None] * hidden_states, axis=1)  # (batch, 1, hidden)
        # One product over flat rows: five times faster than an einsum, which turns the whole image first.
        rows = ops.reshape(hidden_states, (-1, layers, tokens * hidden))  # (batch, layers, tokens * hidden)
        pooled = ops.matmul(mixture[None, :], rows)  # (batch, 1, tokens * hidden)
        return ops.reshape(pooled, (-1, tokens, hidden))  # (batch, tokens, hidden)

    @property
    def kin(self) -> Hashable:
        """The same for layers that `call_together` takes together."""
        return name_kin(self)

    @classmethod
    def call_together(cls, layers: Sequence[LayerWeightPooling], hidden_states) -> list:
        """What each of some layers gives of one image, by one product."""
        mixtures = ops.stack([one.gain * one._shares() for one in layers])  # (poolings, layers)
        _, states, tokens, hidden = ops.shape(hidden_states)
        rows = ops.reshape(hidden_states, (-1, states, tokens * hidden))  # (batch, layers, tokens * hidden)
        pooled = ops.matmul(mixtures, rows)  # (batch, poolings, tokens * hidden)
        return [ops.reshape(pooled[:, place], (-1, tokens, hidden)) for place in range(len(layers))]

    def layer_weights(self) -> np.ndarray:
        """The share of each layer, (num_hidden_states,) float32, summing to 1 (the gain is not in it)."""
        return ops.convert_to_numpy(self._shares())

    def _shares(self):
        """(layers,); of one layer 1, of which Keras's softmax would warn."""
        if self.layer_logits.shape == (1,):
            return ops.ones_like(self.layer_logits) + 0.0 * self.layer_logits  # which has a gradient, of 0
        return ops.softmax(self.layer_logits / self.temperature)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[2], input_shape[3])

    def get_config(self) -> dict:
        return {**super().get_config(), "temperature": self.temperature}
