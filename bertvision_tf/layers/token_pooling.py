"""The token axis folded away, padding left out."""

import keras
from keras import ops

from ..errors import HeadError
from .shapes import Shape, check_axes

MODES = ("mean", "max", "cls", "flat", "mean_max_cls")


@keras.saving.register_keras_serializable(package="bertvision_tf")
class TokenPooling(keras.layers.Layer):
    """Folds the token axis away, reading real tokens only.

    mean          the mean over real tokens, summed in float32
    max           the largest over real tokens
    cls           token 0
    flat          every token side by side, padded ones as 0 (the channels grow to tokens * channels)
    mean_max_cls  the three side by side (the channels grow to 3 * channels)

    What stands in a padded cell, even NaN, never reaches the output. An example of padding alone gives 0.

    Args:
        mode: one of the names above.
    Call arguments:
        hidden_states: float, (batch, tokens, channels) or (batch, num_hidden_states, tokens, channels).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token. None: every token is real.
    Output: float, the shape of hidden_states without its token axis, channels grown as said.
    Raises:
        HeadError (a ValueError): neither three nor four axes, or an unknown mode.
    Example:
        >>> TokenPooling("mean")(np.ones((2, 13, 5, 8), "float32"), np.array([[1, 1, 1, 0, 0]] * 2)).shape
        TensorShape([2, 13, 8])
    """

    def __init__(self, mode: str = "mean", **kwargs):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise HeadError(f"`mode` needs one of {', '.join(MODES)}, got {mode!r}.")
        self.mode = str(mode)

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        check_axes(hidden_states_shape, (3, 4))

    def call(self, hidden_states, padding_mask=None):
        if padding_mask is None:
            padding_mask = ops.ones_like(hidden_states[..., 0], dtype="bool")  # (batch[, layers], tokens)
        elif len(hidden_states.shape) == 4:
            padding_mask = padding_mask[:, None, :]  # (batch, 1, tokens)
        real = ops.cast(padding_mask, "bool")[..., None]  # (batch[, 1], tokens, 1)
        if self.mode == "mean":
            return self._mean(hidden_states, real)
        if self.mode == "max":
            return self._max(hidden_states, real)
        if self.mode == "cls":
            return self._cls(hidden_states, real)
        if self.mode == "flat":
            return self._flat(hidden_states, real)
        three = [pool(hidden_states, real) for pool in (self._mean, self._max, self._cls)]
        return ops.concatenate(three, axis=-1)  # (batch[, layers], 3 * channels)

    def _mean(self, hidden_states, real):
        cells = ops.cast(hidden_states, "float32")  # (batch[, layers], tokens, channels)
        total = ops.sum(ops.where(real, cells, 0.0), axis=-2)  # (batch[, layers], channels)
        count = ops.sum(ops.cast(real, "float32"), axis=-2)  # (batch[, 1], 1)
        return ops.cast(total / ops.maximum(count, 1.0), self.compute_dtype)  # (batch[, layers], channels)

    def _max(self, hidden_states, real):
        cells = ops.where(real, hidden_states, -float("inf"))  # (batch[, layers], tokens, channels)
        largest = ops.max(cells, axis=-2)  # (batch[, layers], channels)
        return ops.where(ops.any(real, axis=-2), largest, 0.0)  # (batch[, layers], channels)

    def _cls(self, hidden_states, real):
        first = hidden_states[..., 0, :]  # (batch[, layers], channels)
        return ops.where(real[..., 0, :], first, 0.0)  # (batch[, layers], channels)

    def _flat(self, hidden_states, real):
        cells = ops.where(real, hidden_states, 0.0)  # (batch[, layers], tokens, channels)
        *kept, tokens, channels = ops.shape(cells)
        return ops.reshape(cells, (-1, *kept[1:], tokens * channels))  # (batch[, layers], tokens * channels)

    def compute_output_shape(
        self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        *kept, tokens, channels = hidden_states_shape
        if self.mode == "mean_max_cls":
            channels = None if channels is None else 3 * channels
        elif self.mode == "flat":
            channels = None if None in (tokens, channels) else tokens * channels  # type: ignore[operator]
        return (*kept, channels)

    def get_config(self) -> dict:
        return {**super().get_config(), "mode": self.mode}
