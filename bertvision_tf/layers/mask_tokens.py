"""Padded cells set to 0, before anything reads a cell's neighbours."""

import keras
from keras import ops

from .shapes import Shape, check_axes


@keras.saving.register_keras_serializable(package="bertvision_tf")
class MaskTokens(keras.layers.Layer):
    """Sets the cells of padded tokens to 0, whatever stands in them, even NaN.

    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, channels).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token. None: every token is real.
    Output: float, the shape of hidden_states.
    Raises:
        HeadError (a ValueError): not four axes.
    Example:
        >>> image = np.full((1, 13, 3, 8), np.nan, "float32")
        >>> float(np.abs(MaskTokens()(image, np.zeros((1, 3)))).max())
        0.0
    """

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        check_axes(hidden_states_shape, (4,))

    def call(self, hidden_states, padding_mask=None):
        if padding_mask is None:
            return hidden_states
        return ops.where(ops.cast(padding_mask, "bool")[:, None, :, None], hidden_states, 0.0)

    def compute_output_shape(
        self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        return tuple(hidden_states_shape)
