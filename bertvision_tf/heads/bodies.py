"""Published image networks as the body of a head: functional pieces of Keras layers, (batch, 1, width, channels).

Every convolution is (1, 3) without bias and followed by batch normalisation. On a picture of hidden channels (one
token, width hidden, layers as channels) they shrink the width as published; on the tokens of a span they keep it, and
padded cells are 0 before every convolution and counted in no statistic.
"""

from collections.abc import Callable
from typing import Any

import keras

from ..layers import MaskedBatchNormalization, MaskTokens

MOMENTUM = 0.9  # of moving statistics: with Keras's 0.99 they stay behind in the few steps of a small task

Tensor = Any  # a keras.KerasTensor; Keras has no types of its own to check by


def build_xception(picture: Tensor) -> Tensor:
    """Xception (Chollet, 2017, arXiv 1610.02357) on a picture of hidden channels: (batch, 2048)."""
    net = _Net()
    x = _stem(net, picture, ((32, 3), (64, 1)))
    for width, pool, first in ((128, "average", False), (256, "average", True), (728, "max", True)):
        x = _entry(net, x, (width, width), width, pool, first)
    for _ in range(8):
        x = _middle(net, x, 728)
    x = _entry(net, x, (728, 1024), 1024, "max", True)
    for width in (1536, 2048):
        x = net.relu(net.separable(x, width))
    return keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="xception_pool")(x)


def build_abbreviated_xception(picture: Tensor) -> Tensor:
    """A stem and one block of Xception on a picture of hidden channels: (batch, 512)."""
    net = _Net()
    x = _stem(net, picture, ((64, 3), (128, 1)))
    x = _entry(net, x, (256, 512), 512, "average", False)
    return keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="xception_pool")(x)


def build_token_xception(tokens: Tensor, padding_mask: Tensor) -> Tensor:
    """Xception on tokens, (batch, 1, tokens, channels), without strides: (batch, 1, tokens, 1536).

    Its stem, entry and exit, with one middle block for eight, and no last convolution.
    """
    net = _Net(padding_mask)
    x = _stem(net, tokens, ((32, 1), (64, 1)))
    for width, first in ((128, False), (256, True), (728, True)):
        x = _entry(net, x, (width, width), width, None, first)
    x = _middle(net, x, 728)
    x = _entry(net, x, (728, 1024), 1024, None, True)
    return net.relu(net.separable(x, 1536))


def build_token_inception(tokens: Tensor, padding_mask: Tensor, width: int = 272) -> Tensor:
    """Four Inception blocks (Szegedy et al., 2015, arXiv 1409.4842) on tokens: (batch, 1, tokens, 4 * width).

    The research's shrank the token axis and learned nothing; these keep it.
    """
    net = _Net(padding_mask)
    x = tokens
    for _ in range(4):
        branches = [net.convolution(x, width, 1)]
        branches += [net.convolution(net.relu(net.convolution(x, width, 1)), width, size) for size in (3, 5)]
        branches.append(net.convolution(net.average(x), width, 1))
        x = net.relu(keras.layers.Concatenate(name=net.name("branches"))(branches))
    return x


class _Net:
    """Makes the pieces of one network, with names in the order of their making."""

    def __init__(self, padding_mask: Tensor | None = None):
        self._count = 0
        self._padding_mask = padding_mask

    def name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    def mask(self, x: Tensor) -> Tensor:
        return x if self._padding_mask is None else MaskTokens(name=self.name("mask"))(x, self._padding_mask)

    def relu(self, x: Tensor) -> Tensor:
        return keras.layers.ReLU(name=self.name("relu"))(x)

    def convolution(self, x: Tensor, filters: int, size: int, stride: int = 1, padding: str = "same") -> Tensor:
        options = {"strides": (1, stride), "padding": padding, "use_bias": False, "data_format": "channels_last"}
        x = keras.layers.Conv2D(filters, (1, size), name=self.name("convolution"), **options)(self.mask(x))
        return self._normalize(x)

    def separable(self, x: Tensor, filters: int) -> Tensor:
        options = {"padding": "same", "use_bias": False, "data_format": "channels_last"}
        layer = keras.layers.SeparableConv2D(filters, (1, 3), name=self.name("separable"), **options)
        return self._normalize(layer(self.mask(x)))

    def average(self, x: Tensor) -> Tensor:
        """The mean of three tokens; 0 stands in for one beyond the text, be it padded or not."""
        x = keras.layers.ZeroPadding2D((0, 1), data_format="channels_last", name=self.name("beyond"))(self.mask(x))
        options = {"padding": "valid", "data_format": "channels_last"}
        return keras.layers.AveragePooling2D((1, 3), 1, name=self.name("pool"), **options)(x)

    def _normalize(self, x: Tensor) -> Tensor:
        name = self.name("norm")
        if self._padding_mask is None:
            return keras.layers.BatchNormalization(momentum=MOMENTUM, name=name)(x)
        return MaskedBatchNormalization(momentum=MOMENTUM, name=name)(x, self._padding_mask)


def _stem(net: _Net, x: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    padding = "valid" if net.mask(x) is x else "same"
    for filters, stride in sizes:
        x = net.relu(net.convolution(x, filters, 3, stride, padding))
    return x


def _entry(net: _Net, x: Tensor, widths: tuple[int, ...], residual: int, pool: str | None, relu_first: bool) -> Tensor:
    """Separable convolutions, a pool of stride 2, and a 1 x 1 residual of stride 2; no stride without a pool."""
    stride = 1 if pool is None else 2
    beside = net.convolution(x, residual, 1, stride)
    for place, width in enumerate(widths):
        if place or relu_first:
            x = net.relu(x)
        x = net.separable(x, width)
    if pool is not None:
        x = _POOLS[pool]((1, 3), (1, 2), "same", data_format="channels_last", name=net.name("pool"))(x)
    return keras.layers.Add(name=net.name("residual"))([x, beside])


def _middle(net: _Net, x: Tensor, width: int) -> Tensor:
    y = x
    for _ in range(3):
        y = net.separable(net.relu(y), width)
    return keras.layers.Add(name=net.name("residual"))([y, x])


_POOLS: dict[str, Callable] = {"average": keras.layers.AveragePooling2D, "max": keras.layers.MaxPooling2D}
