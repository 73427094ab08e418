"""Whole layers left out in training."""

import keras
from keras import ops

from .shapes import Shape, check_image, check_rate


@keras.saving.register_keras_serializable(package="bertvision_tf")
class LayerDropout(keras.layers.Layer):
    """In training, sets whole hidden states to 0, so that a head does not lean on one layer.

    output[:, k] = kept[k] / mean_j(kept[j]) * hidden_states[:, k]

    One draw an example and layer. An example whose draws would drop every layer keeps all of them; those
    kept are scaled by num_hidden_states / (number kept), so each is unchanged in the mean over draws. Outside
    training it is the identity. It trains nothing.

    Args:
        rate: float, 0 <= rate < 1, the share of layers dropped.
        seed: int or None. None draws one from Keras's global seed.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
        training: bool.
    Output: float, the same shape.
    Raises:
        HeadError (a ValueError): not four axes, or a rate out of bounds.
    Example:
        >>> LayerDropout(0.1, seed=0)(np.ones((2, 13, 5, 8), "float32"), training=False).shape
        TensorShape([2, 13, 5, 8])

    Source: Kondratyuk and Straka, 2019, arXiv 1904.02099, section 3.2, here on states and not on weights.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate = check_rate("rate", rate)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__)

    def call(self, hidden_states, training=False):
        if not training or self.rate == 0:
            return hidden_states
        batch, layers, _, _ = ops.shape(hidden_states)
        kept = keras.random.uniform((batch, layers), dtype="float32", seed=self.seed_generator) >= self.rate
        kept = ops.logical_or(kept, ops.logical_not(ops.any(kept, axis=1, keepdims=True)))  # (batch, layers)
        kept = ops.cast(kept, "float32")  # (batch, layers)
        scale = kept / ops.mean(kept, axis=1, keepdims=True)  # (batch, layers)
        scale = ops.cast(scale, self.compute_dtype)[:, :, None, None]  # (batch, layers, 1, 1)
        return hidden_states * scale  # (batch, layers, tokens, hidden)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
