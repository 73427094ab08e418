import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import TokenAttention

IMAGE = np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
QUERY = np.random.default_rng(1).normal(size=(2, 4))


def make_layer(**options):
    layer = TokenAttention(**options)
    layer.build(IMAGE.shape)
    layer.set_weights([QUERY])
    return layer


def expected(mask=MASK):
    outputs = np.zeros((3, 2, 4))
    for example, layer in np.ndindex(3, 2):
        cells = IMAGE[example, layer][mask[example] == 1]
        if len(cells):
            powers = np.exp(cells @ QUERY[layer])
            outputs[example, layer] = powers / powers.sum() @ cells
    return outputs


@pytest.mark.parametrize("mask_dtype", ["int32", "bool", "float32"])
def test_against_numpy(mask_dtype):
    np.testing.assert_allclose(make_layer()(IMAGE, MASK.astype(mask_dtype)), expected(), atol=1e-5)


def test_no_mask_means_every_token_is_real():
    np.testing.assert_allclose(make_layer()(IMAGE), expected(np.ones_like(MASK)), atol=1e-5)


def test_starts_as_the_mean_over_real_tokens():
    outputs = np.asarray(TokenAttention()(IMAGE, MASK))
    np.testing.assert_allclose(outputs[0], IMAGE[0, :, :3].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(outputs[1], IMAGE[1].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("noise", [7.0, np.inf, np.nan])
def test_padded_cells_never_reach_the_output(noise, dtype):
    noisy = np.where(MASK[:, None, :, None] == 1, IMAGE, noise).astype("float32")
    layer = make_layer(dtype=dtype)
    clean = np.asarray(layer(IMAGE, MASK)).astype("float32")
    np.testing.assert_array_equal(np.asarray(layer(noisy, MASK)).astype("float32"), clean)
    np.testing.assert_array_equal(clean[2], 0)


def test_far_scores_stay_finite_and_choose_one_token():
    layer = make_layer()
    layer.set_weights([QUERY * 1e4])
    best = IMAGE[0, :, :3][[0, 1], np.einsum("ltc,lc->lt", IMAGE[0, :, :3], QUERY).argmax(axis=1)]
    np.testing.assert_allclose(np.asarray(layer(IMAGE, MASK))[0], best, atol=1e-6)


def test_unknown_axes_are_named():
    with pytest.raises(HeadError, match="TokenAttention makes weights along num_hidden_states, unknown in"):
        TokenAttention()(keras.Input((None, None, 4)))
    with pytest.raises(HeadError, match="TokenAttention makes weights along hidden_dim, unknown in"):
        TokenAttention()(keras.Input((3, None, None)))
