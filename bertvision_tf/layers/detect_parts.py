"""Parts: every cell told which layer it is of, and squeezed."""

import keras
from keras import ops

from .shapes import Shape, check_image, check_size


@keras.saving.register_keras_serializable(package="bertvision_tf")
class DetectParts(keras.layers.Layer):
    """Adds to every cell a learned vector of its layer, then a dense layer, SiLU and layer normalisation.

    output = layer_norm(silu((hidden_states + layer_vectors[k]) @ kernel + bias))

    It trains num_hidden_states * hidden_dim + hidden_dim * parts_dim + 3 * parts_dim numbers. A padded cell meets
    only itself.

    Args:
        parts_dim: int > 0, the width of the output.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
    Output: float, (batch, num_hidden_states, tokens, parts_dim).
    Raises:
        HeadError (a ValueError): not four axes, an axis of the weights is unknown at build, or a bad size.
    Example:
        >>> DetectParts(4)(np.ones((2, 13, 5, 8), "float32")).shape
        TensorShape([2, 13, 5, 4])

    Source: "detect parts" of the BERTVision research, after the positions of Dosovitskiy et al., 2021,
    arXiv 2010.11929.
    """

    def __init__(self, parts_dim: int = 128, **kwargs):
        super().__init__(**kwargs)
        self.parts_dim = check_size("parts_dim", parts_dim)

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__, known=("num_hidden_states", "hidden_dim"))
        _, layers, _, hidden = input_shape
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={1: layers, 3: hidden})
        self.layer_vectors = self.add_weight(
            name="layer_vectors", shape=(layers, hidden), initializer=keras.initializers.RandomNormal(stddev=0.02)
        )
        self.dense = keras.layers.Dense(self.parts_dim, dtype=self.dtype_policy, name="dense")
        self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy, name="norm")
        self.dense.build(input_shape)
        self.norm.build((*input_shape[:3], self.parts_dim))

    def call(self, hidden_states):
        parts = self.dense(hidden_states + self.layer_vectors[:, None, :])  # (batch, layers, tokens, parts_dim)
        return self.norm(ops.silu(parts))  # (batch, layers, tokens, parts_dim)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (*input_shape[:3], self.parts_dim)

    def get_config(self) -> dict:
        return {**super().get_config(), "parts_dim": self.parts_dim}
