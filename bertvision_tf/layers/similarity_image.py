"""The two texts of a pair as a picture: how alike each token of one is to each of the other, layer by layer."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import keras
from keras import ops

from .kin import convolve_together, name_kin, split_widths
from .pair_comparison import PairLayer, average, split_texts
from .shapes import Shape, check_size


@keras.saving.register_keras_serializable(package="bertvision_tf")
class SimilarityImage(PairLayer):
    """Cosines of tokens of the first text (height) with those of the second (width), a channel for each layer.

    States are centred on the mean of the pair's tokens first: a layer's states share one large direction that says
    nothing. The separators count as tokens. A last channel is 1 where both tokens are real; elsewhere all is 0.

    Args:
        height, width: int > 0, tokens of each text that are shown; the rest of longer texts is left out.
    Call arguments: as `PairViews`'s.
    Output: float32, (batch, height, width, num_hidden_states + 1).
    Raises:
        HeadError (a ValueError): not four axes, or a bad size.
    Example:
        >>> mask, segments = np.ones((2, 5), int), np.array([[0, 0, 1, 1, 1]] * 2)
        >>> SimilarityImage(8, 6)(np.ones((2, 13, 5, 8), "float32"), mask, segments).shape
        TensorShape([2, 8, 6, 14])

    Source: Pang et al., 2016, arXiv 1602.06359, with contextual states.
    """

    def __init__(self, height: int = 40, width: int = 24, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = check_size("height", height), check_size("width", width)

    def call(self, hidden_states, padding_mask, segment_ids):
        first, second = split_texts(padding_mask, segment_ids)  # each (batch, tokens)
        real = first | second
        cells = ops.where(real[:, None, :, None], ops.cast(hidden_states, "float32"), 0.0)
        centred = cells - ops.matmul(average(real)[:, None, None], cells)  # (batch, layers, tokens, hidden)
        products = ops.matmul(centred, ops.swapaxes(centred, 2, 3))  # (batch, layers, tokens, tokens)
        lengths = ops.sqrt(ops.diagonal(products, axis1=2, axis2=3))  # (batch, layers, tokens)
        lengths = ops.maximum(lengths, 1e-12)
        cosines = products / (lengths[..., None] * lengths[..., None, :])
        rows = ops.matmul(_pick(first, self.height), cosines)  # (batch, layers, height, tokens)
        picked = ops.matmul(rows, ops.swapaxes(_pick(second, self.width), 2, 3))  # (batch, layers, height, width)
        image = ops.transpose(picked, (0, 2, 3, 1))  # (batch, height, width, layers)
        both = _are_there(first, self.height)[:, :, None] & _are_there(second, self.width)[:, None, :]
        return ops.concatenate([image, ops.cast(both, "float32")[..., None]], axis=-1)

    def compute_output_shape(self, hidden_states_shape: Shape, *others: Shape) -> tuple[int | None, ...]:
        batch, layers = hidden_states_shape[:2]
        return batch, self.height, self.width, None if layers is None else layers + 1

    def get_config(self) -> dict:
        return {**super().get_config(), "height": self.height, "width": self.width}


@keras.saving.register_keras_serializable(package="bertvision_tf")
class SimilarityReader(keras.layers.Layer):
    """A small convolutional network on a similarity image, pooled as one text is aligned with the other.

    Two 3 x 3 convolutions with GELU (its tanh form) see which runs of tokens match. Then of each row the largest over
    its columns, and of these the mean and the least over the rows; the same with rows and columns exchanged. Cells
    that are not there are 0 wherever a neighbour reads them, and never reach the output.

    Args:
        filters: int > 0, the width of the convolutions.
    Call arguments:
        image: float, (batch, height, width, channels), the last channel 1 where a cell is there.
    Output: float, (batch, 4 * filters).
    Raises:
        HeadError (a ValueError): a bad size.
    Example:
        >>> SimilarityReader(4)(np.ones((2, 8, 6, 14), "float32")).shape
        TensorShape([2, 16])
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = check_size("filters", filters)
        options = {"padding": "same", "data_format": "channels_last", "dtype": self.dtype_policy}
        self.convolutions = [
            keras.layers.Conv2D(self.filters, 3, name=f"convolution_{place}", **options) for place in range(2)
        ]

    def build(self, image_shape: Shape) -> None:
        self.convolutions[0].build(image_shape)
        self.convolutions[1].build((*image_shape[:3], self.filters))

    def call(self, image):
        image = _crop(image)
        return self._read(image[..., -1:] > 0, self.convolutions[0](image))

    @property
    def kin(self) -> Hashable:
        """The same for layers that `call_together` takes together."""
        return name_kin(self)

    @classmethod
    def call_together(cls, layers: Sequence[SimilarityReader], image) -> list:
        """What each of some layers gives of one image; their first convolutions are one, of any widths."""
        image = _crop(image)
        there = image[..., -1:] > 0  # (batch, height, width, 1)
        found = convolve_together([one.convolutions[0] for one in layers], image)
        parts = split_widths(found, [one.filters for one in layers])
        return [one._read(there, part) for one, part in zip(layers, parts, strict=True)]

    def _read(self, there, convolved):
        """The rest: which cells are there, and what the first convolution gives → (batch, 4 * filters)."""
        cells = ops.where(there, ops.gelu(convolved, approximate=True), 0.0)  # (batch, height, width, filters)
        cells = ops.where(there, ops.gelu(self.convolutions[1](cells), approximate=True), 0.0)
        sides = []
        for axis in (2, 1):
            some = ops.any(there, axis=axis)  # (batch, side, 1)
            best = ops.max(ops.where(there, cells, -1e4), axis=axis)  # (batch, side, filters)
            weights = ops.cast(average(some[..., 0]), best.dtype)
            sides.append(ops.sum(ops.where(some, best, 0.0) * weights[..., None], axis=1))
            least = ops.min(ops.where(some, best, 1e4), axis=1)
            sides.append(ops.where(ops.any(some, axis=1), least, 0.0))
        return ops.concatenate(sides, axis=-1)  # (batch, 4 * filters)

    def compute_output_shape(self, image_shape: Shape) -> tuple[int | None, ...]:
        return image_shape[0], 4 * self.filters

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters}


def _crop(image):
    """The image up to the last row and the last column that an example of the batch has: the rest is 0 in all. Where
    all sizes are known beforehand they stay known."""
    if image.shape[0] is not None:
        return image
    there = image[..., -1] > 0  # (batch, height, width)
    sizes = []
    for axes in ((0, 2), (0, 1)):
        some = ops.cast(ops.any(there, axis=axes), "int32")  # (height or width,)
        sizes.append(ops.maximum(ops.max(some * ops.arange(1, some.shape[0] + 1)), 1))
    return image[:, : sizes[0], : sizes[1]]


def _pick(wanted, count: int):
    """A matrix that picks the first `count` tokens that are wanted, no token where there are no more: float32, (batch,
    1, count, tokens)."""
    number = ops.cumsum(ops.cast(wanted, "int32"), axis=1)  # (batch, tokens), counted from 1
    places = ops.arange(1, count + 1)[None, :, None]  # (1, count, 1)
    chosen = (number[:, None, :] == places) & wanted[:, None, :]  # (batch, count, tokens)
    return ops.cast(chosen, "float32")[:, None]


def _are_there(wanted, count: int):
    """Which of the first `count` tokens exist: bool, (batch, count)."""
    total = ops.sum(ops.cast(wanted, "int32"), axis=1)  # (batch,)
    return ops.arange(count)[None] < total[:, None]
