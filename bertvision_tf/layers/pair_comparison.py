"""What the two texts of a pair have to do with each other, layer by layer."""

import keras
from keras import ops

from .shapes import Shape, check_axes


class PairLayer(keras.layers.Layer):
    """What measures a pair: a layer without weights or randomness, whose output has no token axis.

    The same for every epoch and seed, it can be computed once for all of them (`heads.split`).
    """

    def build(self, hidden_states_shape: Shape, padding_mask_shape: Shape, segment_ids_shape: Shape) -> None:
        check_axes(hidden_states_shape, (4,))


@keras.saving.register_keras_serializable(package="bertvision_tf")
class PairViews(PairLayer):
    """Three views of a pair at each layer: the mean over all tokens, and |a - b| and a * b of the two texts' means.

    The second text is where `segment_ids` is 1; its separator counts with it, [CLS] with the first. What stands in a
    padded cell never reaches the output. A text without tokens has the mean 0.

    Call arguments:
        hidden_states: float, (batch, num_hidden_states, tokens, hidden_dim).
        padding_mask: int, (batch, tokens), not 0 for a real token.
        segment_ids: int, (batch, tokens), 1 in the second text.
    Output: float32, (batch, num_hidden_states, 3, hidden_dim).
    Raises:
        HeadError (a ValueError): not four axes.
    Example:
        >>> mask, segments = np.ones((2, 5), int), np.array([[0, 0, 1, 1, 1]] * 2)
        >>> PairViews()(np.ones((2, 13, 5, 8), "float32"), mask, segments).shape
        TensorShape([2, 13, 3, 8])

    Source: the features of Conneau et al., 2017, arXiv 1705.02364, section 3.1.
    """

    def call(self, hidden_states, padding_mask, segment_ids):
        first, second = split_texts(padding_mask, segment_ids)  # each (batch, tokens)
        cells = ops.where((first | second)[:, None, :, None], ops.cast(hidden_states, "float32"), 0.0)
        weights = [average(real) for real in (first | second, first, second)]
        weights = ops.stack(weights, axis=1)[:, None]  # (batch, 1, 3, tokens)
        means = ops.matmul(weights, cells)  # (batch, layers, 3, hidden)
        a, b = means[:, :, 1], means[:, :, 2]  # each (batch, layers, hidden)
        return ops.stack([means[:, :, 0], ops.abs(a - b), a * b], axis=2)  # (batch, layers, 3, hidden)

    def compute_output_shape(self, hidden_states_shape: Shape, *others: Shape) -> tuple[int | None, ...]:
        batch, layers, _, hidden = hidden_states_shape
        return batch, layers, 3, hidden


@keras.saving.register_keras_serializable(package="bertvision_tf")
class PairSimilarities(PairLayer):
    """Five similarities of the two texts at each layer, all cosines.

    That of the two means; of each token of the first text to its nearest of the second, the mean and the least; the
    same from the second text to the first. 0 where a text has no tokens.

    Call arguments: as `PairViews`'s.
    Output: float32, (batch, num_hidden_states, 5).
    Raises:
        HeadError (a ValueError): not four axes.
    Example:
        >>> mask, segments = np.ones((2, 5), int), np.array([[0, 0, 1, 1, 1]] * 2)
        >>> PairSimilarities()(np.ones((2, 13, 5, 8), "float32"), mask, segments).shape
        TensorShape([2, 13, 5])

    Source: mean and least of the nearest cosines after Zhang et al., 2020, arXiv 1904.09675, equation 2.
    """

    def call(self, hidden_states, padding_mask, segment_ids):
        first, second = split_texts(padding_mask, segment_ids)  # each (batch, tokens)
        cells = ops.where((first | second)[:, None, :, None], ops.cast(hidden_states, "float32"), 0.0)
        products = ops.matmul(cells, ops.swapaxes(cells, 2, 3))  # (batch, layers, tokens, tokens)
        numbers = [self._compare_means(products, average(first), average(second))]
        lengths = ops.sqrt(ops.diagonal(products, axis1=2, axis2=3))  # (batch, layers, tokens)
        lengths = ops.maximum(lengths, 1e-12)
        cosines = products / (lengths[..., None] * lengths[..., None, :])  # (batch, layers, tokens, tokens)
        for mine, other in ((first, second), (second, first)):
            nearest = ops.max(ops.where(other[:, None, None, :], cosines, -2.0), axis=-1)  # (batch, layers, tokens)
            real = mine[:, None, :]  # (batch, 1, tokens)
            numbers.append(ops.sum(nearest * average(mine)[:, None, :], axis=-1))
            numbers.append(ops.min(ops.where(real, nearest, 2.0), axis=-1))
        both = ops.any(first, axis=1) & ops.any(second, axis=1)
        return ops.where(both[:, None, None], ops.stack(numbers, axis=-1), 0.0)  # (batch, layers, 5)

    def _compare_means(self, products, first, second):
        """The cosine of two means from the products of their tokens: (batch, layers)."""

        def multiply(one, other):  # (batch, tokens), (batch, tokens) -> (batch, layers)
            right = ops.matmul(products, other[:, None, :, None])[..., 0]  # (batch, layers, tokens)
            return ops.sum(one[:, None, :] * right, axis=-1)

        lengths = ops.sqrt(multiply(first, first) * multiply(second, second))
        return multiply(first, second) / ops.maximum(lengths, 1e-12)

    def compute_output_shape(self, hidden_states_shape: Shape, *others: Shape) -> tuple[int | None, ...]:
        return (*hidden_states_shape[:2], 5)


def split_texts(padding_mask, segment_ids):
    """Which tokens are real and of the first text, and which of the second: bool, each (batch, tokens)."""
    real, second = ops.cast(padding_mask, "bool"), ops.cast(segment_ids, "bool")
    return real & ~second, real & second


def average(real):
    """Weights (batch, tokens) that sum to 1 over the tokens that are true; 0 where there is none."""
    weights = ops.cast(real, "float32")
    return weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1.0)
