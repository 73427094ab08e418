"""One layer out of the image."""

import keras

from .shapes import Shape, check_image


@keras.saving.register_keras_serializable(package="bertvision_tf")
class SelectLayer(keras.layers.Layer):
    """Takes one hidden state out of the image: output = hidden_states[:, index]. It trains nothing.

    Args:
        index: int. -1 is the final block's output, 0 the embedding layer's (or the pooler's, if kept).
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
    Output: float, (batch, tokens, hidden_dim).
    Raises:
        HeadError (a ValueError): not four axes.
    Example:
        >>> SelectLayer(-1)(np.ones((2, 13, 5, 8), "float32")).shape
        TensorShape([2, 5, 8])
    """

    def __init__(self, index: int = -1, **kwargs):
        super().__init__(**kwargs)
        self.index = index

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__)

    def call(self, hidden_states):
        return hidden_states[:, self.index]  # (batch, tokens, hidden)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[2], input_shape[3])

    def get_config(self) -> dict:
        return {**super().get_config(), "index": self.index}
