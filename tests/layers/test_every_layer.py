"""What holds for every layer: config, save and load, free axes, half precision, weights, examples, errors."""

import doctest
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf import layers
from bertvision_tf.errors import HeadError
from bertvision_tf.layers import token_pooling

LAYERS, TOKENS, HIDDEN = 3, 5, 4
# Each with its trainable weights on an image of 3 layers and width 4.
CASES = [
    (layers.LayerWeightPooling(temperature=0.5), LAYERS + 1),
    (layers.LayerAveragePooling(), 0),
    (layers.SelectLayer(1), 0),
    (layers.AdapterPooler(2), HIDDEN * 2 + 2),
    (layers.AdapterPooler(2, shared=False), LAYERS * (HIDDEN * 2 + 2)),
    (layers.Conv1x1Adapter(2), 2 * HIDDEN * 2 + 2 + HIDDEN),
    (layers.StandardizeStates(), 0),
    (layers.LayerDropout(0.5, seed=3), 0),
    (layers.DetectParts(8), LAYERS * HIDDEN + HIDDEN * 8 + 3 * 8),
    (layers.ImageConvolution(2, 5), 5 * HIDDEN * 2 + 2),
    (layers.ImageConvolution(2, 3, True, dilations=(1, 2)), 9 * HIDDEN * 2 + 2 + 9 * 2 * 2 + 2),
    (layers.MaskTokens(), 0),
    (layers.MaskedBatchNormalization(), 2 * HIDDEN),
    (layers.LayerInjection(2, 4), LAYERS * 4 + 2 * HIDDEN * 2 + 2 + 2 * HIDDEN),
    (layers.TokenAttention(), LAYERS * HIDDEN),
    *[(layers.TokenPooling(mode), 0) for mode in token_pooling.MODES],
]
OPTIONS = ("mode", "shared", "square")
NAMES = ["-".join([type(layer).__name__, *(str(vars(layer).get(own, "")) for own in OPTIONS)]) for layer, _ in CASES]
each_layer = pytest.mark.parametrize(("layer", "trainable"), CASES, ids=NAMES)
IMAGE_ONLY = [layer for layer, _ in CASES if not isinstance(layer, layers.TokenPooling)]


def make_image(seed=0, batch=2, tokens=TOKENS):
    return np.random.default_rng(seed).normal(size=(batch, LAYERS, tokens, HIDDEN)).astype("float32")


def make_layer(layer, dtype=None):
    """A fresh layer of the same config, built, its float weights drawn at random and above 0."""
    config = layer.get_config()
    if dtype:
        config["dtype"] = dtype
    fresh = type(layer).from_config(config)
    fresh.build((None, LAYERS, TOKENS, HIDDEN))
    rng = np.random.default_rng(1)
    for weight in fresh.weights:
        if "float" in str(weight.dtype):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return fresh


@each_layer
def test_config_round_trip(layer, trainable):
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)).get_config() == config


@each_layer
def test_trainable_weights(layer, trainable):
    assert sum(int(np.prod(weight.shape)) for weight in make_layer(layer).trainable_weights) == trainable


@each_layer
def test_save_and_load_give_equal_outputs(layer, trainable, tmp_path):
    inputs = keras.Input((LAYERS, TOKENS, HIDDEN))
    model = keras.Model(inputs, make_layer(layer)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(make_image()), model(make_image()))


@each_layer
def test_unknown_batch_and_tokens(layer, trainable):
    fresh = make_layer(layer)
    traced = tf.function(fresh, input_signature=[tf.TensorSpec((None, LAYERS, None, HIDDEN))])
    for batch, tokens in ((2, 5), (1, 7)):
        image = make_image(batch=batch, tokens=tokens)
        np.testing.assert_allclose(traced(image), fresh(image), rtol=1e-5, atol=1e-5)


@each_layer
def test_symbolic_shape_is_the_shape_that_comes(layer, trainable):
    symbolic = make_layer(layer)(keras.Input((LAYERS, TOKENS, HIDDEN)))
    assert symbolic.shape[1:] == make_layer(layer)(make_image()).shape[1:]


@each_layer
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)])
def test_mixed_precision_is_near_float32(layer, trainable, policy, tolerance):
    half = make_layer(layer, dtype=policy)
    outputs = half(make_image())
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    assert {str(weight.dtype) for weight in half.trainable_weights} <= {"float32"}
    expected = make_layer(layer)(make_image())
    outputs = np.asarray(keras.ops.cast(outputs, "float32"))
    np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=4 * tolerance)


@each_layer
def test_gradients_reach_every_trainable_weight(layer, trainable):
    fresh = make_layer(layer)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(fresh(make_image()) ** 2)
    for gradient in tape.gradient(loss, fresh.trainable_weights):
        assert np.abs(np.asarray(gradient)).max() > 0


@pytest.mark.parametrize("layer", IMAGE_ONLY, ids=NAMES[: len(IMAGE_ONLY)])
def test_three_axes_are_refused_with_advice(layer):
    with pytest.raises(HeadError) as error:
        type(layer).from_config(layer.get_config())(np.zeros((8, 128, 768), "float32"))
    assert str(error.value) == (
        "`hidden_states` needs 4 axes (batch, num_hidden_states, tokens, hidden_dim), got shape "
        "(8, 128, 768). A single layer needs an axis: `hidden_states[:, None]`. "
        "So does a single token: `hidden_states[:, :, None]`."
    )


@pytest.mark.parametrize("public", [getattr(layers, name) for name in layers.__all__], ids=layers.__all__)
def test_docstring_example_runs(public):
    module = inspect.getmodule(public)
    tests = doctest.DocTestFinder().find(public, public.__name__, module, {**vars(layers), "np": np})
    examples = [test for test in tests if test.examples]
    assert examples, f"{public.__name__} has no example"
    for test in examples:
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
