"""The picture of cosines and the network that reads it, against numpy."""

import numpy as np
import pytest
from scipy.signal import correlate

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import SimilarityImage, SimilarityReader

RANDOM = np.random.default_rng(0)
STATES = RANDOM.normal(1.0, 1.0, (4, 3, 7, 5)).astype("float32")
SEGMENTS = np.array([[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0]])
MASK = np.array([[1] * 7, [1] * 5 + [0] * 2, [1] * 7, [1] * 4 + [0] * 3])
PICTURE = np.asarray(SimilarityImage(5, 3)(STATES, MASK, SEGMENTS))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_against_numpy():
    assert PICTURE.shape == (4, 5, 3, 4)
    for example in range(4):
        real = MASK[example] > 0
        first, second = (np.flatnonzero(real & (SEGMENTS[example] == text)) for text in (0, 1))
        expected = np.zeros((5, 3, 4))
        for layer in range(3):
            states = STATES[example, layer] - STATES[example, layer][real].mean(axis=0)
            for row, a in enumerate(first[:5]):
                for column, b in enumerate(second[:3]):
                    norms = np.linalg.norm(states[a]) * np.linalg.norm(states[b])
                    expected[row, column, layer] = states[a] @ states[b] / norms
                    expected[row, column, 3] = 1
        np.testing.assert_allclose(PICTURE[example], expected, atol=1e-5)
    assert not PICTURE[3].any()  # no second text


def test_noise_in_padding_and_more_padding_change_nothing():
    noisy = np.where(MASK[:, None, :, None] > 0, STATES, np.nan).astype("float32")
    np.testing.assert_array_equal(SimilarityImage(5, 3)(noisy, MASK, SEGMENTS), PICTURE)
    wide = [np.pad(part, [(0, 0), (0, 2)]) for part in (MASK, SEGMENTS)]
    states = np.pad(STATES, [(0, 0), (0, 0), (0, 2), (0, 0)])
    np.testing.assert_allclose(SimilarityImage(5, 3)(states, *wide), PICTURE, atol=1e-6)


def convolve(image, kernel, bias):
    """3 x 3, "same": (height, width, channels) to (height, width, filters)."""
    padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
    maps = [correlate(padded, kernel[..., place], mode="valid")[..., 0] for place in range(kernel.shape[-1])]
    return np.stack(maps, axis=-1) + bias


def test_reader_against_numpy():
    reader = SimilarityReader(2)
    reader.build(PICTURE.shape)
    for weight in reader.weights:
        weight.assign(RANDOM.normal(size=weight.shape))
    weights = [weight.numpy() for weight in reader.weights]
    found = np.asarray(reader(PICTURE))
    assert found.shape == (4, 8)
    for example, picture in enumerate(PICTURE):
        rows, columns = (int(picture[..., 3].any(axis=axis).sum()) for axis in (1, 0))
        cells = picture
        for kernel, bias in (weights[:2], weights[2:]):
            cells = gelu(convolve(cells, kernel, bias)) * picture[..., 3:]
        cells = cells[:rows, :columns]
        expected = np.zeros(8)
        if rows:
            best = [cells.max(axis=1), cells.max(axis=0)]
            expected = np.concatenate([part for side in best for part in (side.mean(axis=0), side.min(axis=0))])
        np.testing.assert_allclose(found[example], expected, rtol=1e-4, atol=1e-4)
    assert sum(weight.size for weight in weights) == 9 * 4 * 2 + 2 + 9 * 2 * 2 + 2


@pytest.mark.parametrize("build", [lambda: SimilarityImage(0), lambda: SimilarityReader(0)])
def test_bad_sizes(build):
    with pytest.raises(HeadError, match="needs a whole number above 0"):
        build()
