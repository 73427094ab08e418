import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import LayerDropout

ONES = np.ones((4000, 3, 2, 2), "float32")


def test_whole_layers_fall_never_all_and_the_mean_is_kept():
    outputs = np.asarray(LayerDropout(0.5, seed=0)(ONES, training=True))
    scale = outputs[:, :, 0, 0]  # (examples, layers)
    np.testing.assert_array_equal(outputs, np.broadcast_to(scale[:, :, None, None], ONES.shape))
    kept = (scale > 0).sum(axis=1)
    assert set(kept) == {1, 2, 3}
    np.testing.assert_allclose(scale, np.where(scale > 0, 3 / kept[:, None], 0), rtol=1e-6)
    np.testing.assert_allclose(scale.sum(axis=1), 3, rtol=1e-6)
    np.testing.assert_allclose(scale.mean(axis=0), 1, atol=0.05)
    # Three fair draws: one kept in 3 of 8, two in 3 of 8, three in 1 of 8, and none (so all) in 1 of 8.
    np.testing.assert_allclose(np.bincount(kept)[1:] / len(kept), [3 / 8, 3 / 8, 2 / 8], atol=0.03)


def test_identity_outside_training_and_at_rate_zero():
    np.testing.assert_array_equal(LayerDropout(0.9)(ONES, training=False), ONES)
    np.testing.assert_array_equal(LayerDropout(0.9)(ONES), ONES)
    np.testing.assert_array_equal(LayerDropout(0.0)(ONES, training=True), ONES)


def test_a_seed_gives_the_same_draws():
    first, second = (np.asarray(LayerDropout(0.5, seed=7)(ONES, training=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("rate", [-0.1, 1, True])
def test_rate_is_checked(rate):
    with pytest.raises(HeadError, match=r"`rate` needs a share from 0 up to \(and without\) 1, got"):
        LayerDropout(rate)
