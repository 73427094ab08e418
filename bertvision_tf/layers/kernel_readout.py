"""A readout by likeness to rows that are kept: what a kernel head ends in."""

import keras
from keras import ops

from .shapes import Shape


@keras.saving.register_keras_serializable(package="bertvision_tf")
class KernelReadout(keras.layers.Layer):
    """Logits from how near a row's features lie to those of the rows that the readout was fitted on.

    output = exp(-gamma / features * squared distance to each kept row) @ kernel + bias

    Args:
        units: int, outputs.
        rows: int, kept rows; 0 before it is fitted, which gives the bias alone.
        gamma: float, how fast likeness falls: at 1, for features of deviation 1, two rows that have nothing to do with
            each other are alike by exp(-2).
    Call arguments:
        features: float, (batch, features).
    Output: float32, (batch, units).
    Example:
        >>> KernelReadout(units=2, rows=5)(np.zeros((3, 8), "float32")).shape
        TensorShape([3, 2])
    """

    def __init__(self, units: int, rows: int = 0, gamma: float = 1.0, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.units, self.rows, self.gamma = units, rows, gamma

    def build(self, features_shape: Shape) -> None:
        self.kept = self.add_weight(
            name="kept", shape=(self.rows, features_shape[-1]), initializer="zeros", trainable=False
        )
        self.kernel = self.add_weight(name="kernel", shape=(self.rows, self.units), initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, features):
        features = ops.cast(features, "float32")
        products = ops.matmul(features, ops.transpose(self.kept))  # (batch, rows)
        own = ops.sum(ops.square(features), axis=1, keepdims=True)
        distances = own - 2 * products + ops.sum(ops.square(self.kept), axis=1)  # (batch, rows)
        likeness = ops.exp(-self.gamma / features.shape[-1] * ops.maximum(distances, 0.0))
        return ops.matmul(likeness, self.kernel) + self.bias

    def compute_output_shape(self, features_shape: Shape) -> tuple[int | None, ...]:
        return features_shape[0], self.units

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units, "rows": self.rows, "gamma": self.gamma}
