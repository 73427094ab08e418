import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import AdapterPooler, Conv1x1Adapter

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 3, 5, 4)).astype("float32")


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_shared_adapter_against_numpy_and_a_convolution():
    adapter = AdapterPooler(2)
    adapter.build(IMAGE.shape)
    kernel, bias = RNG.normal(size=(4, 2)), RNG.normal(size=2)
    adapter.set_weights([kernel, bias])
    np.testing.assert_allclose(adapter(IMAGE), gelu(IMAGE @ kernel + bias), atol=1e-5)
    convolution = keras.layers.Conv2D(2, 1)
    convolution.build(IMAGE.shape)
    convolution.set_weights([kernel[None, None], bias])
    np.testing.assert_allclose(adapter(IMAGE), gelu(np.asarray(convolution(IMAGE))), atol=1e-5)


def test_unshared_adapter_against_numpy():
    adapter = AdapterPooler(2, shared=False)
    adapter.build(IMAGE.shape)
    kernel, bias = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 2))
    adapter.set_weights([kernel, bias])
    expected = [gelu(IMAGE[:, k] @ kernel[k] + bias[k]) for k in range(3)]
    np.testing.assert_allclose(adapter(IMAGE), np.stack(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_adapter_starts_small_and_cut_off(shared):
    adapter = AdapterPooler(64, shared)
    adapter.build((None, 3, None, 256))
    kernel = np.asarray(adapter.kernel)
    assert 0.8e-3 < kernel.std() < 1.1e-3
    assert np.abs(kernel).max() < 2.5e-3
    np.testing.assert_array_equal(adapter.bias, 0)


def test_conv1x1_adapter_against_numpy():
    layer = Conv1x1Adapter(2)
    layer.build(IMAGE.shape)
    down, down_bias, up, up_bias = (RNG.normal(size=shape) for shape in ((4, 2), (2,), (2, 4), (4,)))
    layer.set_weights([down[None, None], down_bias, up[None, None], up_bias])
    np.testing.assert_allclose(layer(IMAGE), IMAGE + gelu(IMAGE @ down + down_bias) @ up + up_bias, atol=1e-5)


def test_conv1x1_adapter_starts_as_the_identity():
    np.testing.assert_array_equal(Conv1x1Adapter(2)(IMAGE), IMAGE)


@pytest.mark.parametrize("size", [0, -1, 2.5, None, True])
def test_sizes_are_checked(size):
    with pytest.raises(HeadError, match="`adapter_dim` needs a whole number above 0, got"):
        AdapterPooler(size)
    with pytest.raises(HeadError, match="`filters` needs a whole number above 0, got"):
        Conv1x1Adapter(size)


def test_unknown_axes_are_named():
    with pytest.raises(HeadError, match="AdapterPooler makes weights along num_hidden_states, unknown in"):
        AdapterPooler(2, shared=False)(keras.Input((None, None, 4)))
    with pytest.raises(HeadError, match="Conv1x1Adapter makes weights along hidden_dim, unknown in"):
        Conv1x1Adapter(2)(keras.Input((3, None, None)))
    assert AdapterPooler(2)(keras.Input((None, None, 4))).shape == (None, None, None, 2)
