"""Layers of one class in several heads, which read one tensor and are called together (`heads.together`).

Such a class has a property `kin`, the same for layers that go together, and a class method `call_together`: layers and
what `call` takes → what each of them gives.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import keras
import numpy as np


def name_kin(layer: keras.layers.Layer, *settings: Hashable) -> Hashable:
    """A layer's kin: its settings under plain float32; a kin of its own under any other policy, whose casts belong to
    a call of the layer itself."""
    plain = layer.compute_dtype == layer.variable_dtype == "float32"
    return settings if plain else id(layer)


def join_weights(layers: Sequence[keras.layers.Layer]) -> tuple[Any, Any]:
    """The kernels, and the biases, of some layers side by side along their last axis, that of their widths."""
    return tuple(keras.ops.concatenate([getattr(one, name) for one in layers], axis=-1) for name in ("kernel", "bias"))


def split_widths(tensor: Any, widths: Sequence[int]) -> list:
    """The parts of a tensor along its last axis."""
    return keras.ops.split(tensor, np.cumsum(widths)[:-1].tolist(), axis=-1)


def convolve_together(convolutions: Sequence[keras.layers.Conv2D], image: Any) -> Any:
    """What Conv2D layers of one kernel size and padding give of one image, side by side: (…, all filters)."""
    kernel, bias = join_weights(convolutions)
    first = convolutions[0]
    found = keras.ops.conv(
        image, kernel, padding=first.padding, dilation_rate=first.dilation_rate, data_format="channels_last"
    )
    return found + bias
