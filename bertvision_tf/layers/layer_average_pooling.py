"""Average pooling over layers."""

import keras
from keras import ops

from .shapes import Shape, check_image


@keras.saving.register_keras_serializable(package="bertvision_tf")
class LayerAveragePooling(keras.layers.Layer):
    """Averages hidden states over layers: output = mean_k hidden_states[:, k]. It trains nothing.

    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
    Output: float, (batch, tokens, hidden_dim).
    Raises:
        HeadError (a ValueError): not four axes.
    Example:
        >>> LayerAveragePooling()(np.ones((2, 13, 5, 8), "float32")).shape
        TensorShape([2, 5, 8])

    Source: Ma et al., 2019, arXiv 1910.07973.
    """

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__)

    def call(self, hidden_states):
        return ops.mean(hidden_states, axis=1)  # (batch, tokens, hidden)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[2], input_shape[3])
