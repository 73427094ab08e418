"""Convolutions over an image against plain loops over cells and taps."""

import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import ImageConvolution

TOKENS = 40  # wide enough for the taps of dilation 16
IMAGE = np.random.default_rng(0).normal(size=(3, 4, TOKENS, 3)).astype("float32")
MASK = np.arange(TOKENS) < np.array([[25], [TOKENS], [1]])
EACH = pytest.mark.parametrize(
    ("size", "square", "dilations"),
    [
        (5, False, (1,)),
        (4, False, (1,)),
        (1, False, (1,)),
        (5, False, (1, 2, 4, 8, 16)),
        (3, True, (1,)),
        (2, True, (1,)),
        (3, True, (1, 3)),
    ],
)


def make_layer(size, square, dilations, **options):
    layer = ImageConvolution(2, size, square, dilations, **options)
    layer.build(IMAGE.shape)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) / np.sqrt(weight.shape[0]) for weight in layer.weights])
    return layer


def convolve(states, kernel, bias, step):
    """(layers, tokens, channels), cells outside it 0; an even kernel reaches one further down and right."""
    layers, tokens, _ = states.shape
    height, width = kernel.shape[:2]
    output = np.zeros((layers, tokens, len(bias)))
    for layer, token in np.ndindex(layers, tokens):
        output[layer, token] = bias
        for i, j in np.ndindex(height, width):
            row, column = layer + i - (height - 1) // 2, token + j * step - (width - 1) * step // 2
            if 0 <= row < layers and 0 <= column < tokens:
                output[layer, token] += states[row, column] @ kernel[i, j]
    return output


@EACH
def test_against_numpy(size, square, dilations):
    layer = make_layer(size, square, dilations)
    weights = layer.get_weights()
    assert [weight.shape[:2] for weight in weights[::2]] == [(size if square else 1, size)] * len(dilations)
    expected = []
    for states, real in zip(IMAGE, MASK, strict=True):
        for kernel, bias, step in zip(weights[::2], weights[1::2], dilations, strict=True):
            x = convolve(states * real[:, None], kernel, bias, step)
            states = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        expected.append(states)
    np.testing.assert_allclose(layer(IMAGE, MASK), expected, rtol=1e-4, atol=1e-4)


@EACH
@pytest.mark.parametrize("noise", [7.0, np.nan, np.inf])
def test_real_tokens_read_no_padding(size, square, dilations, noise):
    layer = make_layer(size, square, dilations)
    noisy = np.where(MASK[:, None, :, None], IMAGE, noise).astype("float32")
    np.testing.assert_array_equal(layer(noisy, MASK), layer(IMAGE, MASK))


@EACH
def test_a_text_has_one_output_however_far_it_is_padded(size, square, dilations):
    layer = make_layer(size, square, dilations)
    padded, mask = IMAGE.copy(), np.arange(TOKENS) < np.full((3, 1), 30)
    short = np.asarray(layer(IMAGE[:, :, :30]))
    np.testing.assert_allclose(np.asarray(layer(padded, mask))[:, :, :30], short, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "bool", "float32"])
def test_masks_of_any_type(dtype):
    layer = make_layer(5, False, (1, 2))
    np.testing.assert_array_equal(layer(IMAGE, MASK.astype(dtype)), layer(IMAGE, MASK))
    np.testing.assert_array_equal(layer(IMAGE), layer(IMAGE, np.ones_like(MASK)))


def test_config_keeps_every_option():
    config = ImageConvolution.from_config(ImageConvolution(2, 3, True, (1, 4)).get_config()).get_config()
    assert (config["filters"], config["kernel_size"], config["square"], config["dilations"]) == (2, 3, True, [1, 4])


def test_half_precision_masks_too():
    layer = make_layer(3, True, (1, 2), dtype="mixed_bfloat16")
    noisy = np.where(MASK[:, None, :, None], IMAGE, np.nan).astype("float32")
    assert np.isfinite(np.asarray(layer(noisy, MASK)).astype("float32")).all()


def test_sizes_and_axes_are_checked():
    for name, options in (
        ("filters", {"filters": 0}),
        ("kernel_size", {"filters": 2, "kernel_size": 2.5}),
        ("dilations", {"filters": 2, "dilations": (1, 0)}),
    ):
        with pytest.raises(HeadError, match=f"`{name}` needs a whole number above 0, got"):
            ImageConvolution(**options)
    with pytest.raises(HeadError, match="ImageConvolution makes weights along hidden_dim, unknown in"):
        ImageConvolution(2)(keras.Input((3, None, None)))
