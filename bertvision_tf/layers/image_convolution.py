"""Convolutions over the image that keep its tokens, and read none that is padding."""

from collections.abc import Sequence

import keras
from keras import ops

from .mask_tokens import MaskTokens
from .shapes import Shape, check_image, check_size


@keras.saving.register_keras_serializable(package="bertvision_tf")
class ImageConvolution(keras.layers.Layer):
    """Convolutions of one width, each followed by GELU: 1 x N along the tokens, or N x N over layers and tokens.

    output = gelu(conv(mask(... gelu(conv(mask(hidden_states))))))

    gelu is its tanh form. Both axes keep their size ("same"); padded cells are 0 wherever a neighbour reads them, so
    that a text has one output whatever it is padded with or to. The first convolution trains
    height * kernel_size * hidden_dim * filters + filters numbers, each further one the same with filters in place of
    hidden_dim.

    Args:
        filters: int > 0, channels of the output.
        kernel_size: int > 0, the N.
        square: bool. True makes it N x N.
        dilations: one int > 0 for each convolution, its step along the tokens.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
        padding_mask: int, bool or float, (batch, tokens), not 0 for a real token. None: every token is real.
    Output: float, (batch, num_hidden_states, tokens, filters).
    Raises:
        HeadError (a ValueError): not four axes, hidden_dim unknown at build, or a bad size.
    Example:
        >>> ImageConvolution(4, dilations=(1, 2))(np.ones((2, 13, 5, 8), "float32")).shape
        TensorShape([2, 13, 5, 4])

    Source: BERTVision, arXiv 2202.12210; dilations after Yu and Koltun, 2016, arXiv 1511.07122.
    """

    def __init__(
        self, filters: int, kernel_size: int = 5, square: bool = False, dilations: Sequence[int] = (1,), **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = check_size("filters", filters)
        self.kernel_size = check_size("kernel_size", kernel_size)
        self.square = bool(square)
        self.dilations = tuple(check_size("dilations", dilation) for dilation in dilations)
        self.mask_tokens = MaskTokens(dtype=self.dtype_policy)
        self.convolutions = [
            keras.layers.Conv2D(
                self.filters,
                (self.kernel_size if self.square else 1, self.kernel_size),
                dilation_rate=(1, dilation),
                padding="same",
                data_format="channels_last",
                dtype=self.dtype_policy,
                name=f"convolution_{place}",
            )
            for place, dilation in enumerate(self.dilations)
        ]

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None) -> None:
        check_image(hidden_states_shape, layer=type(self).__name__, known=("hidden_dim",))
        channels = hidden_states_shape[-1]
        for convolution in self.convolutions:
            convolution.build((*hidden_states_shape[:3], channels))
            channels = self.filters

    def call(self, hidden_states, padding_mask=None):
        for convolution in self.convolutions:
            hidden_states = convolution(self.mask_tokens(hidden_states, padding_mask))
            hidden_states = ops.gelu(hidden_states, approximate=True)  # (batch, layers, tokens, filters)
        return hidden_states

    def compute_output_shape(
        self, hidden_states_shape: Shape, padding_mask_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        return (*hidden_states_shape[:3], self.filters)

    def get_config(self) -> dict:
        own = {"filters": self.filters, "kernel_size": self.kernel_size, "square": self.square}
        return {**super().get_config(), **own, "dilations": list(self.dilations)}
