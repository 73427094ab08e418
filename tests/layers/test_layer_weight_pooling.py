import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import LayerAveragePooling, LayerWeightPooling


def make_image():
    return np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("float32")


@pytest.mark.parametrize("temperature", [1.0, 0.25, 4.0])
def test_against_numpy(temperature):
    pooling = LayerWeightPooling(temperature)
    pooling.build((None, 3, None, 4))
    pooling.set_weights([np.array([0.3, -1.0, 2.0]), np.array(1.7)])
    shares = np.exp(np.array([0.3, -1.0, 2.0]) / temperature)
    shares /= shares.sum()
    expected = 1.7 * sum(share * make_image()[:, k] for k, share in enumerate(shares))
    np.testing.assert_allclose(pooling(make_image()), expected, atol=1e-5)
    np.testing.assert_allclose(pooling.layer_weights(), shares, atol=1e-6)


def test_starts_as_the_mean_over_layers():
    pooling = LayerWeightPooling()
    np.testing.assert_allclose(pooling(make_image()), make_image().mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(LayerAveragePooling()(make_image()), make_image().mean(axis=1), atol=1e-6)
    assert [weight.name for weight in pooling.trainable_weights] == ["layer_logits", "gain"]
    assert float(pooling.gain) == 1.0


def test_softmax_stays_in_float32_under_half_precision():
    pooling = LayerWeightPooling(dtype="mixed_bfloat16")
    pooling.build((None, 3, None, 4))
    logits = np.array([3.001, 3.0, -0.003], "float32")  # bfloat16 knows no 3.001
    pooling.layer_logits.assign(logits)
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(pooling.layer_weights(), expected, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_temperature_is_checked(temperature):
    with pytest.raises(HeadError, match=f"`temperature` needs a number above 0, got {temperature}"):
        LayerWeightPooling(temperature)


def test_an_unknown_layer_axis_is_named():
    with pytest.raises(HeadError) as error:
        LayerWeightPooling()(keras.Input((None, None, 8)))
    assert str(error.value) == (
        "LayerWeightPooling makes weights along num_hidden_states, unknown in `hidden_states` of shape "
        "(None, None, None, 8). Say its size before the layer is built: "
        "`keras.Input((num_hidden_states, None, hidden_dim))`."
    )


def test_another_number_of_layers_is_refused():
    pooling = LayerWeightPooling()
    pooling(make_image())
    with pytest.raises(ValueError, match=r"expected axis 1 .* value 3"):
        pooling(make_image()[:, :2])
