"""Hidden states brought to one scale."""

import keras
import numpy as np

from ..errors import HeadError
from .shapes import Shape, check_image


@keras.saving.register_keras_serializable(package="bertvision_tf")
class StandardizeStates(keras.layers.Layer):
    """Brings every (layer, channel) to mean 0 and deviation 1, by statistics taken from data beforehand.

    output[:, k, :, c] = (hidden_states[:, k, :, c] - mean[k, c]) / std[k, c]

    It trains nothing: mean and std are weights that are saved and loaded, not trained, and start as 0 and 1
    (the identity). A channel that never moves (std 0) is divided by 1. A padded cell meets only itself.

    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
    Output: float, the same shape.
    Raises:
        HeadError (a ValueError): not four axes, a layer or channel axis unknown at build, or statistics of
            another shape, below zero or not finite.
    Example:
        >>> standardize = StandardizeStates()
        >>> standardize.build((None, 13, None, 8))
        >>> standardize.set_statistics(mean=np.full((13, 8), 2.0), std=np.full((13, 8), 4.0))
        >>> float(standardize(np.ones((1, 13, 5, 8), "float32"))[0, 0, 0, 0])
        -0.25
    """

    def build(self, input_shape: Shape) -> None:
        check_image(input_shape, layer=type(self).__name__, known=("num_hidden_states", "hidden_dim"))
        _, layers, _, hidden = input_shape
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={1: layers, 3: hidden})
        shape = (layers, 1, hidden)
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", trainable=False)
        self.std = self.add_weight(name="std", shape=shape, initializer="ones", trainable=False)

    def set_statistics(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Sets mean and std, each (num_hidden_states, hidden_dim), in the unit of the hidden states."""
        if not self.built:
            raise HeadError(
                "`set_statistics` needs a built layer: call it once, or `build((None, layers, None, width))`."
            )
        layers, _, hidden = self.mean.shape
        for name, values in (("mean", mean), ("std", std)):
            if np.shape(values) != (layers, hidden):
                raise HeadError(
                    f"`{name}` needs shape (num_hidden_states, hidden_dim) = ({layers}, {hidden}), "
                    f"got {np.shape(values)}."
                )
            if not np.all(np.isfinite(values)):
                raise HeadError(f"`{name}` needs finite numbers, got NaN or infinity. Leave padding out of it.")
        if np.any(np.asarray(std) < 0):
            raise HeadError(f"`std` needs numbers of at least 0, got {np.min(std)}.")
        self.mean.assign(np.asarray(mean)[:, None, :])  # (layers, 1, hidden)
        self.std.assign(np.where(np.asarray(std) > 0, std, 1.0)[:, None, :])  # (layers, 1, hidden)

    def call(self, hidden_states):
        return (hidden_states - self.mean) / self.std  # (batch, layers, tokens, hidden)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return tuple(input_shape)
