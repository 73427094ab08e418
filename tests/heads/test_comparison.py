"""Heads that compare the two texts of a pair."""

import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.heads import HeadConfig, adapt_head, build_head, get_preset, split_head
from bertvision_tf.layers import PairSimilarities, PairViews

LAYERS, TOKENS, HIDDEN = 3, 6, 4
RANDOM = np.random.default_rng(0)
BATCH = {
    "hidden_states": RANDOM.normal(size=(5, LAYERS, TOKENS, HIDDEN)).astype("float32"),
    "padding_mask": np.array([[1] * 6, [1] * 5 + [0], [1] * 6, [1] * 4 + [0] * 2, [1] * 6]),
    "segment_ids": np.array([[0, 0, 0, 1, 1, 1]] * 5),
}


def build(config, **sizes):
    return build_head(config, num_hidden_states=LAYERS, hidden_dim=HIDDEN, **sizes)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def test_against_a_numpy_forward_pass():
    head = build("comparison_adapter_2", num_outputs=3)
    for weight in head.trainable_weights:
        weight.assign(RANDOM.normal(size=weight.shape))
    adapt_head(head, [BATCH])
    views, similarities = (np.asarray(layer()(**BATCH)) for layer in (PairViews, PairSimilarities))
    scaled = [(part - part.mean(axis=0)) / part.std(axis=0) for part in (views, similarities)]
    logits, gain = (weight.numpy() for weight in head.get_layer("layer_pooling").weights)
    powers = np.exp(logits - logits.max())
    pooled = gain * np.einsum("l,blvh->bvh", powers / powers.sum(), scaled[0])
    kernel, bias = head.get_layer("adapter").get_weights()
    features = [gelu(pooled @ kernel + bias).reshape(5, -1), scaled[1].reshape(5, -1)]
    kernel, bias = head.get_layer("logits").get_weights()
    np.testing.assert_allclose(head(BATCH), np.concatenate(features, axis=1) @ kernel + bias, rtol=1e-3, atol=1e-3)


def test_sizes():
    head = build_head("comparison_adapter_64", num_hidden_states=7, hidden_dim=384)
    pooling, adapter, dense = 7 + 1, 384 * 64 + 64, (3 * 64 + 7 * 5) * 2 + 2
    assert sum(int(np.prod(weight.shape)) for weight in head.trainable_weights) == pooling + adapter + dense == 25104
    plain = build(HeadConfig(comparison=True))
    assert sum(int(np.prod(w.shape)) for w in plain.trainable_weights) == (3 * LAYERS * HIDDEN + LAYERS * 5) * 2 + 2


def test_noise_in_padding_changes_nothing():
    head = build("comparison_adapter_2")
    adapt_head(head, [BATCH])
    real = BATCH["padding_mask"][:, None, :, None] > 0
    noisy = BATCH | {"hidden_states": np.where(real, BATCH["hidden_states"], 1e6).astype("float32")}
    np.testing.assert_array_equal(head(noisy), head(BATCH))


def test_saved_and_loaded(tmp_path):
    head = build("comparison_adapter_2")
    adapt_head(head, [BATCH])
    head.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    np.testing.assert_allclose(again(BATCH), head(BATCH), atol=1e-6)
    assert not np.allclose(build("comparison_adapter_2")(BATCH), head(BATCH))


def test_statistics_over_several_batches_are_those_of_one():
    one, several = (build("comparison_adapter_2") for _ in range(2))
    adapt_head(one, [BATCH])
    adapt_head(several, [{name: part[rows] for name, part in BATCH.items()} for rows in (slice(0, 2), slice(2, 5))])
    for name in ("scale_views", "scale_similarities"):
        for first, second in zip(one.get_layer(name).get_weights(), several.get_layer(name).get_weights(), strict=True):
            np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"standardize": True}, "goes with `pooling`, `adapter_dim` and `dropout` alone"),
        ({"skip": True}, "goes with `pooling`, `adapter_dim` and `dropout` alone"),
        ({"body": "inception"}, "goes with `pooling`, `adapter_dim` and `dropout` alone"),
        ({"parts_dim": 4}, "goes with `pooling`, `adapter_dim` and `dropout` alone"),
        ({"adapter_dim": 4, "pooled_branch": True}, "goes with `pooling`, `adapter_dim` and `dropout` alone"),
        ({"token_pooling": "max"}, "has views instead of tokens"),
        ({"token_pooling": "attention"}, "has views instead of tokens"),
    ],
)
def test_contradictions(changes, message):
    with pytest.raises(HeadError, match=message):
        HeadConfig(comparison=True, **changes)


def test_where_it_cannot_be():
    with pytest.raises(HeadError, match="is no span head, nor for"):
        build("comparison_adapter_2", kind="span")
    with pytest.raises(HeadError, match="is no span head, nor for"):
        build("comparison_adapter_2", num_tokens=1)
    with pytest.raises(HeadError, match="the batch has no segment_ids"):
        build("comparison_adapter_2")({name: BATCH[name] for name in ("hidden_states", "padding_mask")})
    with pytest.raises(HeadError, match="has views instead of tokens"):
        get_preset("comparison_adapter_2_cls")


@pytest.mark.parametrize("name", ["comparison_adapter_2", "standardized_adapter_2_shared"])
def test_a_channel_that_hardly_moves_is_not_blown_up(name):
    states = RANDOM.normal(size=(50, LAYERS, TOKENS, HIDDEN)).astype("float32")
    states[..., 1] = 1e-9 * states[..., 1]
    batch = {part: np.repeat(BATCH[part], 10, axis=0) for part in ("padding_mask", "segment_ids")}
    head = build(name)
    for weight in head.trainable_weights:
        weight.assign(RANDOM.normal(size=weight.shape))
    adapt_head(head, [batch | {"hidden_states": states}])
    before = np.asarray(head(batch | {"hidden_states": states}))
    states[..., 1] += 1e-5  # what float16 would make of it, many deviations of that channel
    np.testing.assert_allclose(head(batch | {"hidden_states": states}), before, atol=0.1)


@pytest.mark.parametrize("name", ["comparison_adapter_2", "learned_pooling", "last_layer_cls", "average_pooling"])
def test_the_parts_are_the_whole_and_share_its_weights(name):
    head = build(name)
    measure, trained = split_head(head)
    assert not measure.trainable_weights
    assert {id(weight) for weight in trained.trainable_weights} == {id(weight) for weight in head.trainable_weights}
    for weight in trained.trainable_weights:
        weight.assign(RANDOM.normal(size=weight.shape))
    np.testing.assert_allclose(
        trained(measure({key: BATCH[key] for key in measure.input})), head(BATCH), rtol=1e-5, atol=1e-5
    )


def test_a_head_is_adapted_to_measurements_as_to_images():
    one, other = build("comparison_adapter_2"), build("comparison_adapter_2")
    measure, _ = split_head(other)
    adapt_head(one, [BATCH])
    adapt_head(other, [measure(BATCH)])
    for name in ("scale_views", "scale_similarities"):
        for first, second in zip(one.get_layer(name).get_weights(), other.get_layer(name).get_weights(), strict=True):
            np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["learned_pooling_attention", "standardized_learned_pooling", "learned_pooling_adapter_2"]
)
def test_other_heads_read_the_image(name):
    assert split_head(build(name)) is None
