"""Heads against an independent numpy forward pass, their sizes, and what stands in padded cells."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import erf

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
    "parts, dilated squares, pooled": HeadConfig(
        parts_dim=3,
        body="cnn",
        cnn_dim=3,
        cnn_kernel=3,
        cnn_square=True,
        cnn_dilated=True,
        pooling="learned",
        skip=True,
        token_pooling="max",
    ),
    "two branches beside": HeadConfig(
        standardize=True, adapter_dim=3, shared=False, pooled_branch=True, skip=True, token_pooling="mean_max_cls"
    ),
}
ENDINGS = [
    "adapter_6_shared_skip_cls",
    "conv1x1_adapter_3_residual_cls",
    "last_layer_cls",
    "last_layer_adapter_2_skip",
    "learned_pooling_attention",
    "standardized_adapter_6_unshared_skip_attention",
    "adapter_2_shared_pooled_branch_attention",
    "detect_parts_3_attention",
    "last_layer_cnn_2x2_3",
    "average_pooling_cnn_1x4_3",
    "adapter_3_cnn_3x3_2_attention",
    "learned_pooling_flat",
    "adapter_6_shared_flat",
    "adapter_6_unshared_skip_flat",
    "average_pooling_flat",
    "cnn_1x3_2_flat",
    "detect_parts_3_flat",
]
# Comparisons and published networks have files of their own.
CONFIGS |= {
    name: config
    for name, config in {name: get_preset(name) for name in (*list_presets(), *ENDINGS)}.items()
    if not config.comparison and config.body in ("none", "cnn")
}
FLAT = [name for name, config in CONFIGS.items() if config.token_pooling == "flat"]
FREE = [name for name in CONFIGS if name not in FLAT]


def make_image(seed=0, tokens=TOKENS):
    return np.random.default_rng(seed).normal(size=(len(MASK), LAYERS, tokens, HIDDEN)).astype("float32")


def make_head(name, **options):
    """The head of a name here, with every weight drawn at random."""
    sizes = {"num_hidden_states": LAYERS, "hidden_dim": HIDDEN, "num_outputs": None, **options}
    head = build_head(CONFIGS[name], **sizes)
    rng = np.random.default_rng(1)
    for weight in head.weights:
        if "std" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif "seed_generator" not in weight.path:
            inputs = np.prod(weight.shape[:-1]) if "cnn" in weight.path and len(weight.shape) == 4 else 1
            weight.assign(rng.normal(size=weight.shape) / np.sqrt(inputs))
    return head


def compute_reference(head, config, image, mask, kind="classification"):
    """The same head in plain numpy, one example and one layer at a time, from its weights alone."""

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def get(name):
        return [np.asarray(weight, "float64") for weight in head.get_layer(name).get_weights()]

    def mix(states, name):  # (layers, tokens, channels) -> (1, tokens, channels)
        weights, gain = get(name)
        shares = np.exp(weights) / np.exp(weights).sum()
        return gain * sum(share * x for share, x in zip(shares, states, strict=True))[None]

    def pool_layers(states):
        if config.pooling == "last":
            return states[-1:]
        if config.pooling == "average":
            return states.mean(axis=0, keepdims=True)
        return mix(states, "layer_pooling") if config.pooling == "learned" else states

    def convolve(states, kernel, bias, step):  # (layers, tokens, channels), as many of both after it
        height, width = kernel.shape[:2]
        above, left = (height - 1) // 2, (width - 1) * step // 2
        outside = ((above, height - 1 - above), (left, (width - 1) * step - left), (0, 0))
        padded = np.pad(states, outside)
        rows, columns = states.shape[:2]
        taps = [(i, j) for i in range(height) for j in range(width)]
        return bias + sum(padded[i : i + rows, j * step : j * step + columns] @ kernel[i, j] for i, j in taps)

    def pool(cells, real, name, layer):  # (tokens, channels) -> (channels,)
        kept = cells[real == 1]
        if config.token_pooling == "attention":
            powers = np.exp(kept @ get(name)[0][layer])
            return powers / powers.sum() @ kept
        three = {"mean": kept.mean(0), "max": kept.max(0), "cls": cells[0]}
        flat = np.where(real[:, None] == 1, cells, 0).ravel()
        return {**three, "flat": flat, "mean_max_cls": np.concatenate(list(three.values()))}[config.token_pooling]

    logits = []
    for states, real in zip(image.astype("float64"), mask, strict=True):  # (layers, tokens, hidden), (tokens,)
        if config.standardize:
            mean, std = get("standardize")
            states = (states - mean) / std
        standardized = states
        if config.convolution == "conv1x1_adapter":
            down, down_bias, up, up_bias = get("convolution")
            states = np.array([x + gelu(x @ down[0, 0] + down_bias) @ up[0, 0] + up_bias for x in states])
        if not config.cnn_square:
            states = pool_layers(states)
        if config.adapter_dim:
            kernel, bias = get("adapter")
            own = [(kernel, bias) if config.shared else (kernel[k], bias[k]) for k in range(len(states))]
            states = np.array([gelu(x @ w + b) for x, (w, b) in zip(states, own, strict=True)])
        if config.parts_dim:
            vectors, kernel, bias, scale, shift = get("parts")
            states = (states + vectors[:, None]) @ kernel + bias
            states = states / (1 + np.exp(-states))
            spread = np.sqrt(states.var(axis=-1, keepdims=True) + 1e-3)
            states = (states - states.mean(axis=-1, keepdims=True)) / spread * scale + shift
        if config.cnn_dim:
            weights = get("cnn")
            steps = (1, 2, 4, 8, 16) if config.cnn_dilated else (1,)
            for step, kernel, bias in zip(steps, weights[::2], weights[1::2], strict=True):
                states = gelu(convolve(np.where(real[:, None] == 1, states, 0), kernel, bias, step))
        if config.cnn_square:
            states = pool_layers(states)
        branches = {"token_pooling": states}  # each (layers, tokens, channels)
        if config.pooled_branch:
            kernel, bias = get("branch_adapter")
            branches["branch_token_pooling"] = gelu(mix(standardized, "branch_pooling") @ kernel + bias)
        if config.skip:
            branches["final_block_token_pooling"] = standardized[-1:]
        if kind == "span":
            features = [np.concatenate(list(branch), axis=-1) for branch in branches.values()]  # (tokens, features)
        else:
            features = [
                np.concatenate([pool(cells, real, name, layer) for layer, cells in enumerate(branch)])
                for name, branch in branches.items()
            ]
        if config.parts_dim:
            features[0] = features[0] * 0.5 * (1 + erf(features[0] / np.sqrt(2)))
        kernel, bias = get("logits")
        rows = np.concatenate(features, axis=-1) @ kernel + bias
        logits.append(np.where(real[:, None] == 1, rows, -1e9) if kind == "span" else rows)
    return np.array(logits)


def run(head, image, mask=MASK):
    outputs = head({"hidden_states": image, "padding_mask": mask})
    if isinstance(outputs, dict):
        assert list(outputs) == ["start_logits", "end_logits"]
        return np.stack([np.asarray(value) for value in outputs.values()], axis=-1)
    return np.asarray(outputs)


@pytest.mark.parametrize("name", CONFIGS)
def test_classification_against_numpy(name):
    head = make_head(name, num_tokens=TOKENS if name in FLAT else None, num_outputs=3)
    expected = compute_reference(head, CONFIGS[name], make_image(), MASK)
    assert expected.shape == (3, 3)
    np.testing.assert_allclose(run(head, make_image()), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_span_against_numpy(name):
    head = make_head(name, kind="span")
    expected = compute_reference(head, CONFIGS[name], make_image(), MASK, kind="span")
    np.testing.assert_allclose(run(head, make_image()), expected, rtol=2e-4, atol=2e-4)


def test_a_dilated_cnn_doubles_its_step():
    assert make_head("cnn_1x5_64").get_layer("cnn").dilations == (1,)
    assert make_head("cnn_1x5_64_dilated").get_layer("cnn").dilations == (1, 2, 4, 8, 16)


@pytest.mark.parametrize("kind", ["classification", "regression", "span"])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_stands_in_padded_cells_changes_nothing(name, kind):
    head = make_head(name, kind=kind, num_tokens=TOKENS if name in FLAT else None)
    clean = run(head, make_image())
    assert np.isfinite(clean).all()
    for noise in (make_image(seed=9) * 100, np.full_like(make_image(), np.nan)):
        noisy = np.where(MASK[:, None, :, None] == 1, make_image(), noise)
        np.testing.assert_array_equal(run(head, noisy), clean)


@pytest.mark.parametrize("kind", ["classification", "span"])
@pytest.mark.parametrize("name", FREE)
def test_more_padding_changes_nothing(name, kind):
    head = make_head(name, kind=kind)
    wider = np.concatenate([make_image(), make_image(seed=5)], axis=2)
    padded = run(head, wider, np.concatenate([MASK, np.zeros_like(MASK)], axis=1))
    if kind == "span":
        padded = padded[:, :TOKENS]
    np.testing.assert_allclose(padded, run(head, make_image()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "span"])
def test_padding_alone_gives_finite_numbers(kind):
    for name in ("everything", "parts, dilated squares, pooled", "adapter_3_cnn_3x3_2_attention"):
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
@pytest.mark.parametrize("name", ["everything", "parts, dilated squares, pooled", "adapter_3_cnn_3x3_2_attention"])
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)])
def test_mixed_precision_gives_float32_logits_near_the_full_ones(kind, policy, tolerance, name):
    full = make_head(name, kind=kind)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        half = make_head(name, kind=kind)
        assert policy.removeprefix("mixed_") in {layer.compute_dtype for layer in half.layers}
        assert {str(getattr(output, "dtype", output)) for output in keras.tree.flatten(half.output)} == {"float32"}
        expected, outputs = run(full, make_image()), run(half, make_image())
    finally:
        keras.config.set_dtype_policy(before)
    assert outputs.dtype == np.float32
    scale = np.abs(expected[expected > -1e8]).max()
    np.testing.assert_allclose(outputs / scale, expected / scale, rtol=1e-6, atol=tolerance)


def test_other_keys_of_a_batch_are_left_alone():
    head = make_head("adapter_64_shared_skip")
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
    head = make_head("adapter_64_unshared_skip")
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
