"""The image stretched to a fixed size, as a vision backbone wants it; padding is no part of the picture."""

import keras
import numpy as np
from keras import ops

from .shapes import Shape, check_axes, check_size


@keras.saving.register_keras_serializable(package="bertvision_tf")
class ResizeImage(keras.layers.Layer):
    """Stretches layers to `height` and real tokens to `width`, by linear interpolation along each.

    A text's tokens fill the whole width, however many they are and however they are padded. What stands in a padded
    cell never reaches the output; an example of padding alone gives 0.

    Args:
        height, width: int > 0, of the output.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, channels).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token, padding on the right. None: every
            token is real.
    Output: float, (batch, height, width, channels).
    Raises:
        HeadError (a ValueError): not four axes, or a bad size.
    Example:
        >>> ResizeImage(32, 64)(np.ones((2, 13, 5, 3), "float32"), np.array([[1, 1, 1, 0, 0]] * 2)).shape
        TensorShape([2, 32, 64, 3])
    """

    def __init__(self, height: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = check_size("height", height), check_size("width", width)

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        check_axes(hidden_states_shape, (4,))
        self._rows = _interpolate(hidden_states_shape[1], self.height)

    def call(self, hidden_states, padding_mask=None):
        if padding_mask is None:
            padding_mask = ops.ones_like(hidden_states[:, 0, :, 0], dtype="bool")  # (batch, tokens)
        real = ops.cast(padding_mask, "bool")
        cells = ops.where(real[:, None, :, None], hidden_states, 0.0)  # (batch, layers, tokens, channels)
        count = ops.sum(ops.cast(real, "float32"), axis=1)[:, None]  # (batch, 1)
        place = (ops.arange(self.width, dtype="float32") + 0.5) / self.width * count - 0.5  # (batch, width)
        place = ops.clip(place, 0.0, ops.maximum(count - 1.0, 0.0))
        columns = ops.arange(ops.shape(cells)[2], dtype="float32")[None, :, None]  # (1, tokens, 1)
        weights = ops.maximum(1.0 - ops.abs(columns - place[:, None, :]), 0.0)  # (batch, tokens, width)
        weights = ops.cast(weights, cells.dtype)
        wide = ops.einsum("bltc,btw->blwc", cells, weights)  # (batch, layers, width, channels)
        return ops.einsum("hl,blwc->bhwc", ops.cast(self._rows, cells.dtype), wide)  # (batch, height, width, channels)

    def compute_output_shape(
        self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        return hidden_states_shape[0], self.height, self.width, hidden_states_shape[3]

    def get_config(self) -> dict:
        return {**super().get_config(), "height": self.height, "width": self.width}


def _interpolate(count: int | None, size: int) -> np.ndarray:
    """Weights (size, count) that stretch `count` rows to `size`."""
    count = count or 1
    place = np.clip((np.arange(size) + 0.5) / size * count - 0.5, 0, count - 1)
    return np.maximum(1 - np.abs(np.arange(count) - place[:, None]), 0).astype(np.float32)
