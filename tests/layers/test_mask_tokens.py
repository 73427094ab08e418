import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import MaskedBatchNormalization, MaskTokens

IMAGE = np.random.default_rng(0).normal(loc=2, scale=3, size=(3, 2, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])
REAL = np.broadcast_to(MASK[:, None, :] == 1, IMAGE.shape[:3])
LAYERS = pytest.mark.parametrize("layer", [MaskTokens, MaskedBatchNormalization])


@pytest.mark.parametrize("noise", [7.0, np.nan, np.inf])
def test_padded_cells_are_zero_and_others_as_they_were(noise):
    noisy = np.where(REAL[..., None], IMAGE, noise).astype("float32")
    outputs = np.asarray(MaskTokens()(noisy, MASK))
    np.testing.assert_array_equal(outputs[REAL], IMAGE[REAL])
    np.testing.assert_array_equal(outputs[~REAL], 0)


@LAYERS
@pytest.mark.parametrize("dtype", ["int32", "bool", "float32"])
def test_masks_of_any_type(layer, dtype):
    np.testing.assert_array_equal(
        layer()(IMAGE, MASK.astype(dtype), training=True), layer()(IMAGE, MASK, training=True)
    )


@LAYERS
def test_no_mask_means_every_token_is_real(layer):
    whole = layer()(IMAGE, np.ones_like(MASK), training=True)
    np.testing.assert_allclose(layer()(IMAGE, training=True), whole, atol=1e-5)


@LAYERS
def test_a_single_layer_is_refused(layer):
    with pytest.raises(HeadError, match="needs 4 axes"):
        layer()(IMAGE[:, 0], MASK)


def test_normalised_by_the_moments_of_real_cells():
    norm = MaskedBatchNormalization()
    norm.build(IMAGE.shape)
    gamma, beta, mean, variance = np.random.default_rng(1).uniform(0.5, 1.5, (4, 4))
    norm.set_weights([gamma, beta, mean, variance])
    expected = gamma * (IMAGE - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(norm(IMAGE, MASK), expected, rtol=1e-4, atol=1e-5)
    cells = IMAGE[REAL]  # (real cells, channels)
    expected = gamma * (IMAGE - cells.mean(axis=0)) / np.sqrt(cells.var(axis=0) + 1e-3) + beta
    np.testing.assert_allclose(norm(IMAGE, MASK, training=True), expected, rtol=1e-4, atol=1e-5)
    _, _, moving_mean, moving_variance = norm.get_weights()
    np.testing.assert_allclose(moving_mean, 0.99 * mean + 0.01 * cells.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(moving_variance, 0.99 * variance + 0.01 * cells.var(axis=0), rtol=1e-5)


def test_padding_alone_moves_no_statistic_to_nan():
    norm = MaskedBatchNormalization()
    assert np.isfinite(np.asarray(norm(IMAGE, np.zeros_like(MASK), training=True))).all()
    assert all(np.isfinite(weight).all() for weight in norm.get_weights())
