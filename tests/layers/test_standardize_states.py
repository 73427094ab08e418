import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import StandardizeStates

IMAGE = np.random.default_rng(0).normal(loc=3, scale=2, size=(64, 3, 5, 4)).astype("float32")


def make_layer():
    layer = StandardizeStates()
    layer.build((None, 3, None, 4))
    return layer


def test_starts_as_the_identity_and_then_follows_the_statistics():
    layer = make_layer()
    np.testing.assert_array_equal(layer(IMAGE), IMAGE)
    mean, std = IMAGE.mean(axis=(0, 2)), IMAGE.std(axis=(0, 2))
    layer.set_statistics(mean, std)
    outputs = np.asarray(layer(IMAGE))
    np.testing.assert_allclose(outputs, (IMAGE - mean[:, None]) / std[:, None], atol=1e-5)
    np.testing.assert_allclose(outputs.mean(axis=(0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(outputs.std(axis=(0, 2)), 1, atol=1e-5)
    assert layer.trainable_weights == []
    assert [weight.shape for weight in layer.non_trainable_weights] == [(3, 1, 4), (3, 1, 4)]


def test_a_channel_that_never_moves_is_divided_by_one():
    layer = make_layer()
    layer.set_statistics(np.full((3, 4), 5.0), np.zeros((3, 4)))
    np.testing.assert_allclose(layer(IMAGE), IMAGE - 5, atol=1e-6)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (np.zeros((3, 5)), np.ones((3, 4)), r"`mean` needs shape .* = \(3, 4\), got \(3, 5\)"),
        (np.zeros((3, 4)), np.ones(4), r"`std` needs shape .* = \(3, 4\), got \(4,\)"),
        (np.full((3, 4), np.nan), np.ones((3, 4)), "`mean` needs finite numbers"),
        (np.zeros((3, 4)), np.full((3, 4), -1.0), "`std` needs numbers of at least 0, got -1.0"),
    ],
)
def test_statistics_are_checked(mean, std, message):
    with pytest.raises(HeadError, match=message):
        make_layer().set_statistics(mean, std)


def test_it_says_when_it_is_not_built_or_cannot_be():
    with pytest.raises(HeadError, match="`set_statistics` needs a built layer"):
        StandardizeStates().set_statistics(np.zeros((3, 4)), np.ones((3, 4)))
    with pytest.raises(HeadError, match="StandardizeStates makes weights along num_hidden_states"):
        StandardizeStates()(keras.Input((None, None, 4)))
