"""Several heads as one model."""

import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.heads import adapt_head, average_heads, build_head
from bertvision_tf.heads.describe import count_trainable
from bertvision_tf.heads.mean import MeanOfLogits
from bertvision_tf.kinds import SPAN_LOGITS, find_kind
from bertvision_tf.metrics.calibration import Calibration

SIZES = {"num_hidden_states": 3, "hidden_dim": 6}


def make_images(rows=4, tokens=7):
    random = np.random.default_rng(0)
    mask = np.ones((rows, tokens), "int32")
    mask[0, 5:] = 0
    return {
        "hidden_states": random.normal(size=(rows, 3, tokens, 6)).astype("float32") * mask[:, None, :, None],
        "padding_mask": mask,
        "segment_ids": np.array([[0, 0, 0, 1, 1, 1, 1]] * rows, "int32") * mask,
    }


def make_heads(preset, kind="classification", outputs=2, count=3):
    heads = []
    for seed in range(count):
        keras.utils.set_random_seed(seed)
        head = build_head(preset, num_outputs=outputs, kind=kind, name=f"seed_{seed}", **SIZES)
        adapt_head(head, [make_images()])
        for weight in head.trainable_variables:
            weight.assign(weight + 0.1 * keras.random.normal(weight.shape, seed=seed))
        heads.append(head)
    return heads


PRESETS = ("standardized_adapter_64_shared", "comparison_adapter_64_similarity_8", "cnn_1x5_64")


@pytest.mark.parametrize("preset", PRESETS)
def test_probabilities_are_the_mean_and_survive_a_file(preset, tmp_path):
    heads, images = make_heads(preset), make_images()
    mean = average_heads(heads, "classification")
    shares = [np.exp(head(images)) / np.exp(head(images)).sum(-1, keepdims=True) for head in heads]
    logits = np.asarray(mean(images))
    np.testing.assert_allclose(np.exp(logits), np.mean(shares, axis=0), atol=1e-5)
    np.testing.assert_allclose(np.exp(logits).sum(-1), 1, atol=1e-5)
    mean.save(tmp_path / "mean.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "mean.keras")(images), logits, atol=1e-6)
    assert count_trainable(mean) == sum(count_trainable(head) for head in heads)
    assert not set(map(id, mean.variables)) & {id(variable) for head in heads for variable in head.variables}


def test_the_mean_on_another_scale(tmp_path):
    heads, images = make_heads("standardized_adapter_64_shared", outputs=3), make_images()
    calibration = Calibration((0.5, 2.0, 1.0))
    mean = average_heads(heads, "multilabel", calibration)
    plain = np.asarray(average_heads(heads, "multilabel")(images))
    np.testing.assert_allclose(mean(images), calibration.apply(plain), atol=1e-5)
    mean.save(tmp_path / "mean.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "mean.keras")(images), mean(images), atol=1e-6)


def test_scores_and_spans_are_means():
    images = make_images()
    heads = make_heads("standardized_adapter_64_shared", outputs=1)
    wanted = np.mean([head(images) for head in heads], axis=0)
    np.testing.assert_allclose(average_heads(heads, "regression")(images), wanted, atol=1e-6)
    heads = make_heads("cnn_1x5_64", kind="span")
    found = average_heads(heads, "span")(images)
    assert sorted(found) == sorted(SPAN_LOGITS)
    for name in found:
        np.testing.assert_allclose(found[name], np.mean([head(images)[name] for head in heads], axis=0), rtol=1e-5)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_it_is_what_numpy_combines(kind):
    logits = [np.random.default_rng(seed).normal(scale=3, size=(5, 3)).astype("float32") for seed in range(4)]
    wanted = find_kind(kind).combine(logits, "mean")
    found = np.asarray(MeanOfLogits(kind)(logits))
    kind = find_kind(kind)
    np.testing.assert_allclose(kind.compute_probabilities(found), kind.compute_probabilities(wanted), atol=1e-6)
    np.testing.assert_array_equal(kind.decode(found).round(5), kind.decode(wanted).round(5))


def test_two_equal_heads_say_what_one_says():
    logits = np.array([[2.0, -1.0, 0.5]], "float32")
    for kind in ("multilabel", "regression", "span"):
        np.testing.assert_allclose(MeanOfLogits(kind)([logits, logits]), logits, atol=1e-6)
    shares = np.exp(MeanOfLogits("classification")([logits, logits]))
    np.testing.assert_allclose(shares, np.exp(logits) / np.exp(logits).sum(), atol=1e-6)


def test_an_unknown_kind_is_refused():
    with pytest.raises(HeadError, match="`kind` 'sums' is not known; known: classification, multilabel"):
        MeanOfLogits("sums")
