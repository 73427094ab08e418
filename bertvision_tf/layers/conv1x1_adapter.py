"""An adapter with a residual: it edits the image and keeps its size."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import keras

from .kin import convolve_together, name_kin, split_widths
from .shapes import Shape, check_image, check_size


@keras.saving.register_keras_serializable(package="bertvision_tf")
class Conv1x1Adapter(keras.layers.Layer):
    """Adds to every cell of the image what a bottleneck of `filters` makes of it.

    output = hidden_states + Conv2D(hidden_dim, 1)(gelu(Conv2D(filters, 1)(hidden_states)))

    gelu is its tanh form. The second convolution starts at zero, so the layer starts as the identity. It
    trains 2 * hidden_dim * filters + filters + hidden_dim numbers. A padded cell meets only itself.

    Args:
        filters: int > 0, the width of the bottleneck.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
    Output: float, the same shape.
    Raises:
        HeadError (a ValueError): not four axes, hidden_dim unknown at build, or a bad size.
    Example:
        >>> image = np.random.default_rng(0).normal(size=(2, 13, 5, 8)).astype("float32")
        >>> np.array_equal(Conv1x1Adapter(4)(image), image)
        True

    Source: Houlsby et al., 2019, arXiv 1902.00751, figure 2, as a convolution over the image.
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_size("filters", filters)

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__, known=("hidden_dim",))
        hidden = input_shape[3]
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={3: hidden})
        image = {"kernel_size": 1, "data_format": "channels_last", "dtype": self.dtype_policy}
        self.down = keras.layers.Conv2D(self.filters, name="down", **image)
        self.up = keras.layers.Conv2D(hidden, name="up", kernel_initializer="zeros", **image)
        self.down.build(input_shape)
        self.up.build((*input_shape[:3], self.filters))

    def call(self, hidden_states):
        squeezed = self.down(hidden_states)  # (batch, layers, tokens, filters)
        squeezed = keras.ops.gelu(squeezed, approximate=True)  # (batch, layers, tokens, filters)
        return hidden_states + self.up(squeezed)  # (batch, layers, tokens, hidden)

    @property
    def kin(self) -> Hashable:
        """The same for layers that `call_together` takes together."""
        return name_kin(self)

    @classmethod
    def call_together(cls, layers: Sequence[Conv1x1Adapter], hidden_states) -> list:
        """What each of some layers gives of one image; the bottlenecks are one convolution, of any widths."""
        squeezed = convolve_together([one.down for one in layers], hidden_states)
        squeezed = keras.ops.gelu(squeezed, approximate=True)  # (batch, layers, tokens, all filters)
        parts = split_widths(squeezed, [one.filters for one in layers])
        return [hidden_states + one.up(part) for one, part in zip(layers, parts, strict=True)]

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters}
