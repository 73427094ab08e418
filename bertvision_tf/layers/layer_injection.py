"""What earlier layers say of an example, added to every token that goes into a later block."""

import keras

from .shapes import Shape, check_image, check_matches, check_size


@keras.saving.register_keras_serializable(package="bertvision_tf")
class LayerInjection(keras.layers.Layer):
    """Adds to the last layer of an image one vector an example, made of all its cells.

    vector = sum over layers and tokens of weight[layer, token] * hidden_states[:, layer, token] + bias
    output = hidden_states[:, -1] + Dense(hidden_dim)(gelu(Dense(bottleneck)(vector)))

    gelu is its tanh form. The second dense layer starts at zero, so the block that follows begins with its own input.
    It trains num_hidden_states * max_tokens + 2 * hidden_dim * bottleneck + bottleneck + 2 * hidden_dim numbers. Padded
    cells say nothing.

    Args:
        bottleneck: int > 0, its width.
        max_tokens: int > 0, tokens that an example has at most; later ones say nothing.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
        padding_mask: int, (batch, tokens), 1 for a real token; all are real without it.
    Output: float, (batch, tokens, hidden_dim).
    Raises:
        HeadError (a ValueError): not four axes, num_hidden_states or hidden_dim unknown at build, or a bad size.
    Example:
        >>> tuple(LayerInjection(16, max_tokens=128)(np.ones((2, 3, 5, 8), "float32")).shape)
        (2, 5, 8)

    Source: BERTVision, 2022, arXiv 2202.12210, "layer injection".
    """

    def __init__(self, bottleneck: int, max_tokens: int, **kwargs):
        super().__init__(**kwargs)
        self.bottleneck = check_size("bottleneck", bottleneck)
        self.max_tokens = check_size("max_tokens", max_tokens)

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__, known=("num_hidden_states", "hidden_dim"))
        layers, hidden = input_shape[1], input_shape[3]
        self._built_for = (None, layers, None, hidden)
        small = keras.initializers.TruncatedNormal(stddev=1e-2)
        self.contraction = self.add_weight(shape=(layers, self.max_tokens), initializer=small, name="contraction")
        self.bias = self.add_weight(shape=(hidden,), initializer="zeros", name="bias")
        self.down = keras.layers.Dense(self.bottleneck, name="down", dtype=self.dtype_policy)
        self.up = keras.layers.Dense(hidden, kernel_initializer="zeros", name="up", dtype=self.dtype_policy)
        self.down.build((None, hidden))
        self.up.build((None, self.bottleneck))

    def call(self, hidden_states, padding_mask=None):
        check_matches(hidden_states.shape, self._built_for)
        read = hidden_states[:, :, : self.max_tokens]  # (batch, layers, up to max_tokens, hidden)
        weights = self.contraction[:, : keras.ops.shape(read)[2]]
        if padding_mask is not None:
            mask = keras.ops.cast(padding_mask[:, : self.max_tokens], read.dtype)
            read = read * mask[:, None, :, None]
        vector = keras.ops.einsum("blth,lt->bh", read, weights) + self.bias  # (batch, hidden)
        edited = self.up(keras.ops.gelu(self.down(vector), approximate=True))  # (batch, hidden)
        return hidden_states[:, -1] + edited[:, None]

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (input_shape[0], *input_shape[2:])

    def get_config(self) -> dict:
        return {**super().get_config(), "bottleneck": self.bottleneck, "max_tokens": self.max_tokens}
