"""Heads against an independent numpy forward pass, their sizes, and what stands in padded cells."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf.errors import HeadError
from bertvision_tf.heads import HeadConfig, build_head, get_preset, list_presets

LAYERS, TOKENS, HIDDEN = 3, 5, 4
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])
CONFIGS = {
    "everything": HeadConfig(
        standardize=True,
        convolution="conv1x1_adapter",
        convolution_dim=3,
        layer_dropout=0.3,
        pooling="learned",
        adapter_dim=3,
        skip=True,
        token_pooling="mean_max_cls",
        dropout=0.2,
    ),
    "raw cells": HeadConfig(),
    "raw cells, standardized, skip": HeadConfig(standardize=True, skip=True, token_pooling="max"),
    "unshared, convolved": HeadConfig(
        convolution="conv1x1_adapter", convolution_dim=2, adapter_dim=3, shared=False, skip=True
    ),
}
ENDINGS = [
    "adapter_6_shared_skip_cls",
    "conv1x1_adapter_3_residual_cls",
    "last_layer_cls",
    "last_layer_adapter_2_skip",
]
FREE = [name for name in (*list_presets(), *ENDINGS, *CONFIGS) if not name.startswith("comparison")]
FLAT = [
    "learned_pooling_flat",
    "adapter_6_shared_flat",
    "adapter_6_unshared_skip_flat",
    "average_pooling_flat",
]


def make_image(seed=0, tokens=TOKENS):
    return np.random.default_rng(seed).normal(size=(len(MASK), LAYERS, tokens, HIDDEN)).astype("float32")


def make_head(name, **options):
    """The head of a name here, with every weight drawn at random."""
    sizes = {"num_hidden_states": LAYERS, "hidden_dim": HIDDEN, "num_outputs": None, **options}
    head = build_head(CONFIGS.get(name, name), **sizes)
    rng = np.random.default_rng(1)
    for weight in head.weights:
        if "seed_generator" not in weight.path:
            weight.assign(
                rng.uniform(0.5, 1.5, weight.shape) if "std" in weight.path else rng.normal(size=weight.shape)
            )
    return head


def compute_reference(head, config, image, mask, kind="classification"):
    """The same head in plain numpy, one example and one layer at a time, from its weights alone."""

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def get(name):
        return [np.asarray(weight, "float64") for weight in head.get_layer(name).get_weights()]

    def pool(cells, real):  # (tokens, channels) -> (channels,)
        kept = cells[real == 1]
        three = {"mean": kept.mean(0), "max": kept.max(0), "cls": cells[0]}
        flat = np.where(real[:, None] == 1, cells, 0).ravel()
        return {**three, "flat": flat, "mean_max_cls": np.concatenate(list(three.values()))}[config.token_pooling]

    logits = []
    for states, real in zip(image.astype("float64"), mask, strict=True):  # (layers, tokens, hidden), (tokens,)
        if config.standardize:
            mean, std = get("standardize")
            states = (states - mean) / std
        final_block = states[-1]
        if config.convolution == "conv1x1_adapter":
            down, down_bias, up, up_bias = get("convolution")
            states = np.array([x + gelu(x @ down[0, 0] + down_bias) @ up[0, 0] + up_bias for x in states])
        if config.pooling == "last":
            states = states[-1:]
        if config.pooling == "average":
            states = states.mean(axis=0, keepdims=True)
        if config.pooling == "learned":
            weights, gain = get("layer_pooling")
            shares = np.exp(weights) / np.exp(weights).sum()
            states = gain * sum(share * x for share, x in zip(shares, states, strict=True))[None]
        if config.adapter_dim:
            kernel, bias = get("adapter")
            own = [(kernel, bias) if config.shared else (kernel[k], bias[k]) for k in range(len(states))]
            states = np.array([gelu(x @ w + b) for x, (w, b) in zip(states, own, strict=True)])
        parts = [*states, *([final_block] if config.skip else [])]  # each (tokens, channels)
        kernel, bias = get("logits")
        if kind == "span":
            rows = [np.concatenate([part[t] for part in parts]) @ kernel + bias for t in range(len(real))]
            logits.append(np.where(real[:, None] == 1, rows, -1e9))  # (tokens, 2)
        else:
            logits.append(np.concatenate([pool(part, real) for part in parts]) @ kernel + bias)
    return np.array(logits)


def run(head, image, mask=MASK):
    outputs = head({"hidden_states": image, "padding_mask": mask})
    if isinstance(outputs, dict):
        assert list(outputs) == ["start_logits", "end_logits"]
        return np.stack([np.asarray(value) for value in outputs.values()], axis=-1)
    return np.asarray(outputs)


@pytest.mark.parametrize("name", [*FREE, *FLAT])
def test_classification_against_numpy(name):
    head = make_head(name, num_tokens=TOKENS if name in FLAT else None, num_outputs=3)
    config = CONFIGS.get(name) or get_preset(name)
    expected = compute_reference(head, config, make_image(), MASK)
    assert expected.shape == (3, 3)
    np.testing.assert_allclose(run(head, make_image()), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", [*FREE, *FLAT])
def test_span_against_numpy(name):
    head = make_head(name, kind="span")
    config = CONFIGS.get(name) or get_preset(name)
    expected = compute_reference(head, config, make_image(), MASK, kind="span")
    np.testing.assert_allclose(run(head, make_image()), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("kind", ["classification", "span"])
@pytest.mark.parametrize("name", [*FREE, *FLAT])
def test_what_stands_in_padded_cells_changes_nothing(name, kind):
    head = make_head(name, kind=kind, num_tokens=TOKENS if name in FLAT else None)
    clean = run(head, make_image())
    for noise in (make_image(seed=9) * 100, np.full_like(make_image(), np.nan)):
        noisy = np.where(MASK[:, None, :, None] == 1, make_image(), noise)
        np.testing.assert_array_equal(run(head, noisy), clean)


@pytest.mark.parametrize("name", FREE)
def test_more_padding_changes_nothing(name):
    head = make_head(name)
    wider = np.concatenate([make_image(), make_image(seed=5)], axis=2)
    padded = run(head, wider, np.concatenate([MASK, np.zeros_like(MASK)], axis=1))
    np.testing.assert_allclose(padded, run(head, make_image()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "span"])
def test_padding_alone_gives_finite_numbers(kind):
    for name in ("everything", "adapter_6_shared_skip"):
        assert np.isfinite(run(make_head(name, kind=kind), make_image(), np.zeros_like(MASK))).all()


@pytest.mark.parametrize("kind", ["classification", "span"])
@pytest.mark.parametrize("name", ["everything", "unshared, convolved", "learned_pooling_adapter_386_skip"])
def test_save_and_load_give_equal_outputs(name, kind, tmp_path):
    head = make_head(name, kind=kind)
    head.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    assert type(loaded) is type(head)
    np.testing.assert_array_equal(run(loaded, make_image()), run(head, make_image()))


@pytest.mark.parametrize("kind", ["classification", "span"])
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)])
def test_mixed_precision_gives_float32_logits_near_the_full_ones(kind, policy, tolerance):
    full = make_head("everything", kind=kind)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        half = make_head("everything", kind=kind)
        assert half.get_layer("adapter").compute_dtype == policy.removeprefix("mixed_")
        assert {str(getattr(output, "dtype", output)) for output in keras.tree.flatten(half.output)} == {"float32"}
        expected, outputs = run(full, make_image()), run(half, make_image())
    finally:
        keras.config.set_dtype_policy(before)
    assert outputs.dtype == np.float32
    scale = np.abs(expected[expected > -1e8]).max()
    np.testing.assert_allclose(outputs / scale, expected / scale, rtol=1e-6, atol=tolerance)


def test_other_keys_of_a_batch_are_left_alone():
    head = make_head("adapter_6_shared_skip")
    batch = {"hidden_states": make_image(), "padding_mask": MASK.astype("int8")}
    crowded = {**batch, "a_first_key": np.zeros((3, 9)), "segment_ids": np.ones_like(MASK)}
    dataset = tf.data.Dataset.from_tensor_slices((crowded, np.array([0, 1, 1]))).batch(2)
    head.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        np.testing.assert_array_equal(head(crowded), head(batch))
        np.testing.assert_allclose(head.predict(dataset, verbose=0), head(batch), rtol=1e-5, atol=1e-5)
        before = head(batch)
        head.fit(dataset, shuffle=False, verbose=0)
    assert np.abs(np.asarray(head(batch)) - np.asarray(before)).max() > 1e-4


def test_one_compiled_step_serves_every_batch_and_token_count():
    head = make_head("adapter_6_unshared_skip")
    shape = {
        "hidden_states": tf.TensorSpec((None, LAYERS, None, HIDDEN)),
        "padding_mask": tf.TensorSpec((None, None), tf.int32),
    }
    traced = tf.function(lambda batch: head(batch), input_signature=[shape])
    for rows, tokens in ((3, 5), (2, 3), (1, 1)):
        image, mask = make_image()[:rows, :, :tokens], MASK[:rows, :tokens].astype("int32")
        outputs = traced({"hidden_states": image, "padding_mask": mask})
        np.testing.assert_allclose(outputs, run(head, image, mask), rtol=1e-5, atol=1e-5)


def test_statistics_reach_the_standardizing_layer():
    head = make_head("raw cells, standardized, skip")
    mean, std = np.full((LAYERS, HIDDEN), 2.0), np.full((LAYERS, HIDDEN), 4.0)
    head.get_layer("standardize").set_statistics(mean, std)
    plain = build_head(HeadConfig(skip=True, token_pooling="max"), num_hidden_states=LAYERS, hidden_dim=HIDDEN)
    plain.get_layer("logits").set_weights(head.get_layer("logits").get_weights())
    np.testing.assert_allclose(run(head, make_image()), run(plain, (make_image() - 2) / 4), rtol=1e-5, atol=1e-5)


def test_errors_when_it_is_called_are_one_line():
    head = make_head("last_layer")
    batch = {"hidden_states": make_image(), "padding_mask": MASK}
    for wrong, message in (
        ({"hidden_states": make_image()}, "the batch has no padding_mask"),
        (make_image(), "A head reads a dict of hidden_states, padding_mask, got ndarray"),
        (
            {**batch, "hidden_states": make_image()[:, :2]},
            "built for num_hidden_states 3, and `hidden_states` has 2",
        ),
        (
            {**batch, "hidden_states": make_image()[..., :2]},
            "built for hidden_dim 4, and `hidden_states` has 2",
        ),
        (
            {**batch, "hidden_states": make_image()[:, 0]},
            "A single layer needs an axis: `hidden_states[:, None]`",
        ),
    ):
        with pytest.raises(HeadError) as error:
            head(wrong)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
