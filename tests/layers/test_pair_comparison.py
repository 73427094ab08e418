"""The two texts of a pair, against plain loops over examples and layers."""

import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import PairSimilarities, PairViews

IMAGE = np.random.default_rng(0).normal(size=(3, 2, 6, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]])
SEGMENTS = np.array([[0, 0, 0, 1, 1, 1], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]])  # the last has no second text
BOTH = pytest.mark.parametrize("layer", [PairViews, PairSimilarities])


def cosine(one, other):
    return one @ other / (np.linalg.norm(one) * np.linalg.norm(other))


def each_text(example, layer):
    real, segments = MASK[example] > 0, SEGMENTS[example]
    return [IMAGE[example, layer][real & (segments == text)] for text in (0, 1)]


def test_views():
    found = np.asarray(PairViews()(IMAGE, MASK, SEGMENTS))
    assert found.shape == (3, 2, 3, 4)
    for example in range(2):
        for layer in range(2):
            a, b = each_text(example, layer)
            expected = np.stack(
                [
                    np.concatenate([a, b]).mean(axis=0),
                    np.abs(a.mean(axis=0) - b.mean(axis=0)),
                    a.mean(axis=0) * b.mean(axis=0),
                ]
            )
            np.testing.assert_allclose(found[example, layer], expected, atol=1e-6)
    mean = IMAGE[2, :, :2].mean(axis=1)
    np.testing.assert_allclose(found[2], np.stack([mean, np.abs(mean), 0 * mean], axis=1), atol=1e-6)


def test_similarities():
    found = np.asarray(PairSimilarities()(IMAGE, MASK, SEGMENTS))
    assert found.shape == (3, 2, 5)
    for example in range(2):
        for layer in range(2):
            a, b = each_text(example, layer)
            table = np.array([[cosine(one, other) for other in b] for one in a])
            expected = [
                cosine(a.mean(axis=0), b.mean(axis=0)),
                table.max(axis=1).mean(),
                table.max(axis=1).min(),
                table.max(axis=0).mean(),
                table.max(axis=0).min(),
            ]
            np.testing.assert_allclose(found[example, layer], expected, atol=1e-6)
    np.testing.assert_array_equal(found[2], 0)


@BOTH
def test_padding_never_reaches_the_output(layer):
    noisy = np.where(MASK[:, None, :, None] > 0, IMAGE, np.nan)
    segments = np.where(MASK > 0, SEGMENTS, 1)
    np.testing.assert_array_equal(layer()(noisy, MASK, segments), layer()(IMAGE, MASK, SEGMENTS))


@BOTH
def test_a_text_of_zeros_is_no_division_by_zero(layer):
    assert np.isfinite(np.asarray(layer()(0 * IMAGE, MASK, SEGMENTS))).all()


@BOTH
def test_free_axes_and_config(layer):
    image, mask, segments = keras.Input((2, None, 4)), keras.Input((None,)), keras.Input((None,))
    model = keras.Model([image, mask, segments], layer()(image, mask, segments))
    assert model.output_shape == ((None, 2, 3, 4) if layer is PairViews else (None, 2, 5))
    np.testing.assert_allclose(model([IMAGE, MASK, SEGMENTS]), layer()(IMAGE, MASK, SEGMENTS), atol=1e-6)
    again = layer.from_config(layer(name="own").get_config())
    assert again.name == "own" and again.weights == []


@BOTH
def test_a_single_layer_is_refused(layer):
    with pytest.raises(HeadError, match="needs 4 axes"):
        layer()(IMAGE[:, 0], MASK, SEGMENTS)
