"""Batch normalisation that counts no padded token."""

import keras
from keras import ops

from .shapes import Shape, check_axes


@keras.saving.register_keras_serializable(package="bertvision_tf")
class MaskedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation over the channels, with statistics of real tokens only.

    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, channels), finite in padded cells too.
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token. None: every token is real.
    Output: float, the shape of hidden_states.
    Raises:
        HeadError (a ValueError): not four axes.
    Example:
        >>> MaskedBatchNormalization()(np.ones((2, 13, 5, 8), "float32"), np.ones((2, 5))).shape
        TensorShape([2, 13, 5, 8])

    Source: Ioffe and Szegedy, 2015, arXiv 1502.03167.
    """

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        check_axes(hidden_states_shape, (4,))
        super().build(hidden_states_shape)

    def call(self, hidden_states, padding_mask=None, training=None):
        if padding_mask is None:
            return super().call(hidden_states, training=training)
        real = ops.cast(padding_mask, "bool")[:, None, :]  # (batch, 1, tokens)
        real = ops.broadcast_to(real, ops.shape(hidden_states)[:3])  # (batch, layers, tokens)
        return super().call(hidden_states, training=training, mask=real)

    def compute_output_shape(
        self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        return tuple(hidden_states_shape)
