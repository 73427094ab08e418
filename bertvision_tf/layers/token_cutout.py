"""Cutout along the tokens: in training a part of each text is missing from the image."""

import keras
from keras import ops

from .shapes import Shape, check_axes, check_rate


@keras.saving.register_keras_serializable(package="bertvision_tf")
class TokenCutout(keras.layers.Layer):
    """In training, sets one run of neighbouring tokens of each example to 0, in all layers.

    Args:
        rate: share of the tokens, 0 <= rate < 1; the run is that long and begins anywhere.
        seed: int, of the draws; None for the global seed.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, channels).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token. None: every token is real.
        training: bool. Only True cuts.
    Output: float, the shape of hidden_states.
    Raises:
        HeadError (a ValueError): not four axes, or a bad rate.
    Example:
        >>> image = np.ones((2, 13, 5, 8), "float32")
        >>> np.array_equal(TokenCutout(0.4)(image), image)
        True

    Source: DeVries and Taylor, 2017, arXiv 1708.04552, along one axis.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = check_rate("rate", rate), seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        check_axes(hidden_states_shape, (4,))

    def call(self, hidden_states, padding_mask=None, training=False):
        if not training or self.rate == 0:
            return hidden_states
        if padding_mask is None:
            padding_mask = ops.ones_like(hidden_states[:, 0, :, 0], dtype="bool")  # (batch, tokens)
        count = ops.sum(ops.cast(ops.cast(padding_mask, "bool"), "float32"), axis=1)[:, None]  # (batch, 1)
        length = ops.floor(self.rate * count + keras.random.uniform(ops.shape(count), seed=self.generator))
        start = ops.floor(keras.random.uniform(ops.shape(count), seed=self.generator) * (count - length + 1))
        place = ops.arange(ops.shape(hidden_states)[2], dtype="float32")[None]  # (1, tokens)
        cut = (place >= start) & (place < start + length)  # (batch, tokens)
        return ops.where(cut[:, None, :, None], 0.0, hidden_states)

    def compute_output_shape(
        self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        return tuple(hidden_states_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
