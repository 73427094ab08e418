"""The adapter: every cell of the image squeezed to a few numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import keras
from keras import ops

from .kin import join_weights, name_kin, split_widths
from .shapes import Shape, check_image, check_size


@keras.saving.register_keras_serializable(package="bertvision_tf")
class AdapterPooler(keras.layers.Layer):
    """Projects every cell of the image to `adapter_dim` numbers, by one kernel for all layers or one a layer.

    shared:      output[:, k] = gelu(hidden_states[:, k] @ kernel + bias)         (a 1x1 convolution)
    not shared:  output[:, k] = gelu(hidden_states[:, k] @ kernel[k] + bias[k])

    gelu is its tanh form; kernels start from a truncated normal of deviation 1e-3, biases at 0. It trains
    hidden_dim * adapter_dim + adapter_dim numbers, times num_hidden_states if not shared. A padded cell meets
    only itself.

    Args:
        adapter_dim: int > 0, the width of the output.
        shared: bool. False gives each layer a kernel and a bias of its own.
    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
    Output: float, (batch, num_hidden_states, tokens, adapter_dim).
    Raises:
        HeadError (a ValueError): not four axes, an axis of the weights is unknown at build, or a bad size.
    Example:
        >>> AdapterPooler(4)(np.ones((2, 13, 5, 8), "float32")).shape
        TensorShape([2, 13, 5, 4])

    Source: Houlsby et al., 2019, arXiv 1902.00751; BERTVision, arXiv 2202.12210.
    """

    def __init__(self, adapter_dim: int, shared: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.adapter_dim = check_size("adapter_dim", adapter_dim)
        self.shared = bool(shared)

    def build(self, input_shape: Shape) -> None:
        known = ("hidden_dim",) if self.shared else ("num_hidden_states", "hidden_dim")
        check_image(input_shape, layer=type(self).__name__, known=known)
        _, layers, _, hidden = input_shape
        fixed = {3: hidden} if self.shared else {1: layers, 3: hidden}
        self.input_spec = keras.layers.InputSpec(ndim=4, axes=fixed)
        own = () if self.shared else (layers,)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*own, hidden, self.adapter_dim),
            initializer=keras.initializers.TruncatedNormal(stddev=1e-3),
        )
        self.bias = self.add_weight(name="bias", shape=(*own, self.adapter_dim), initializer="zeros")

    def call(self, hidden_states):
        return self._squeeze(hidden_states, self.kernel, self.bias)

    @property
    def kin(self) -> Hashable:
        """The same for layers that `call_together` takes together."""
        return name_kin(self, self.shared)

    @classmethod
    def call_together(cls, layers: Sequence[AdapterPooler], hidden_states) -> list:
        """What each of some layers gives of one image, by one product; their widths may differ."""
        squeezed = layers[0]._squeeze(hidden_states, *join_weights(layers))  # (batch, layers, tokens, all d)
        return split_widths(squeezed, [one.adapter_dim for one in layers])

    def _squeeze(self, hidden_states, kernel, bias):
        if self.shared:
            squeezed = ops.einsum("blth,hd->bltd", hidden_states, kernel)  # (batch, layers, tokens, d)
            squeezed = squeezed + bias  # (batch, layers, tokens, d)
        else:
            # A product that broadcasts over the batch: a third of the time of einsum, which turns the image.
            squeezed = ops.matmul(hidden_states, kernel)  # (batch, layers, tokens, d)
            squeezed = squeezed + bias[:, None, :]  # (batch, layers, tokens, d)
        return ops.gelu(squeezed, approximate=True)  # (batch, layers, tokens, d)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (*input_shape[:3], self.adapter_dim)

    def get_config(self) -> dict:
        return {**super().get_config(), "adapter_dim": self.adapter_dim, "shared": self.shared}
