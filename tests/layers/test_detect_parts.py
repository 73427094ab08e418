import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import DetectParts

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 3, 5, 4)).astype("float32")


def test_against_numpy():
    parts = DetectParts(6)
    parts.build(IMAGE.shape)
    vectors, kernel, bias = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 6)), RNG.normal(size=6)
    scale, shift = RNG.normal(size=6), RNG.normal(size=6)
    parts.layer_vectors.assign(vectors)
    parts.dense.set_weights([kernel, bias])
    parts.norm.set_weights([scale, shift])
    outputs = np.asarray(parts(IMAGE))
    assert outputs.shape == (2, 3, 5, 6)
    for example, layer, token in np.ndindex(2, 3, 5):
        x = (IMAGE[example, layer, token] + vectors[layer]) @ kernel + bias
        x = x / (1 + np.exp(-x))
        expected = (x - x.mean()) / np.sqrt(x.var() + 1e-3) * scale + shift
        np.testing.assert_allclose(outputs[example, layer, token], expected, rtol=1e-4, atol=1e-4)


def test_layer_vectors_start_small_and_apart():
    parts = DetectParts()
    parts.build((None, 25, None, 64))
    vectors = np.asarray(parts.layer_vectors)
    assert vectors.shape == (25, 64)
    assert 0.018 < vectors.std() < 0.022
    assert parts.dense.kernel.shape == (64, 128)


def test_a_cell_meets_only_itself():
    parts = DetectParts(3)
    clean = np.asarray(parts(IMAGE))
    noisy = IMAGE.copy()
    noisy[:, 1, 2] = np.nan
    outputs = np.asarray(parts(noisy))
    assert np.isnan(outputs[:, 1, 2]).all()
    untouched = np.ones((2, 3, 5), bool)
    untouched[:, 1, 2] = False
    np.testing.assert_array_equal(outputs[untouched], clean[untouched])


def test_sizes_and_axes_are_checked():
    with pytest.raises(HeadError, match="`parts_dim` needs a whole number above 0, got 0"):
        DetectParts(0)
    with pytest.raises(HeadError, match="DetectParts makes weights along num_hidden_states, unknown in"):
        DetectParts(2)(keras.Input((None, None, 4)))
    with pytest.raises(HeadError, match="DetectParts makes weights along hidden_dim, unknown in"):
        DetectParts(2)(keras.Input((3, None, None)))
    parts = DetectParts(2)
    parts(IMAGE)
    with pytest.raises(ValueError, match=r"expected axis 1 .* value 3"):
        parts(IMAGE[:, :2])
