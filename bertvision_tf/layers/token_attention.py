"""The token axis folded away by attention: each layer reads the tokens that a learned query asks for."""

import keras
from keras import ops

from .shapes import Shape, check_image


@keras.saving.register_keras_serializable(package="bertvision_tf")
class TokenAttention(keras.layers.Layer):
    """A weighted mean over real tokens, in each layer by a query of its own.

    weights[k] = softmax over real tokens of hidden_states[:, k] @ query[k]
    output[:, k] = sum over tokens of weights[k] * hidden_states[:, k]

    Queries start at 0: the plain mean. It trains num_hidden_states * hidden_dim numbers. What stands in a padded
    cell, even NaN, never reaches the output; an example of padding alone gives 0. Softmax runs in float32.

    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, channels).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token. None: every token is real.
    Output: float, (batch, num_hidden_states, channels).
    Raises:
        HeadError (a ValueError): not four axes, or an axis of the weights is unknown at build.
    Example:
        >>> TokenAttention()(np.ones((2, 13, 5, 8), "float32"), np.array([[1, 1, 1, 0, 0]] * 2)).shape
        TensorShape([2, 13, 8])

    Source: Yang et al., 2016, "Hierarchical attention networks", equations 5 to 7, without their hidden layer.
    """

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        check_image(hidden_states_shape, layer=type(self).__name__, known=("num_hidden_states", "hidden_dim"))
        _, layers, _, channels = hidden_states_shape
        self.query = self.add_weight(name="query", shape=(layers, channels), initializer="zeros")

    def call(self, hidden_states, padding_mask=None):
        if padding_mask is None:
            padding_mask = ops.ones_like(hidden_states[:, 0, :, 0], dtype="bool")  # (batch, tokens)
        real = ops.cast(padding_mask, "bool")[:, None, :]  # (batch, 1, tokens)
        cells = ops.where(real[..., None], hidden_states, 0.0)  # (batch, layers, tokens, channels)
        scores = ops.cast(ops.einsum("bltc,lc->blt", cells, self.query), "float32")
        weights = ops.softmax(ops.where(real, scores, -1e9), axis=-1)  # (batch, layers, tokens)
        weights = ops.cast(ops.where(real, weights, 0.0), cells.dtype)
        return ops.einsum("blt,bltc->blc", weights, cells)  # (batch, layers, channels)

    def compute_output_shape(
        self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        batch, layers, _, channels = hidden_states_shape
        return batch, layers, channels
