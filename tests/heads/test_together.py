"""Heads that stand together give what each gives alone, and share what can be shared."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf.heads import adapt_head, build_head, split_head
from bertvision_tf.heads.together import HeadsTogether
from bertvision_tf.layers import AdapterPooler, SimilarityReader, StandardizeStates

STATES, TOKENS, HIDDEN = 3, 6, 8
FAMILIES = (
    "adapter_8_shared",
    "adapter_8_unshared_skip",
    "standardized_adapter_8_shared",
    "learned_pooling",
    "average_pooling_adapter_8_skip",
    "adapter_8_shared_skip_pooled_branch",
    "conv1x1_adapter_4_residual",
    "comparison_adapter_4",
    "comparison_adapter_4_similarity_3",
    "detect_parts_8",
    "cnn_1x5_4",
    "learned_pooling_attention",
)


def make_images(rows=5):
    random = np.random.default_rng(0)
    lengths = np.arange(rows) % 3 + TOKENS - 2
    mask = (np.arange(TOKENS) < lengths[:, None]).astype("int32")
    return {
        "hidden_states": random.normal(size=(rows, STATES, TOKENS, HIDDEN)).astype("float32"),
        "padding_mask": mask,
        "segment_ids": mask * (np.arange(TOKENS) > 1).astype("int32"),
    }


def make_heads(*names):
    heads = []
    for place, name in enumerate(names):
        head = build_head(name, num_hidden_states=STATES, hidden_dim=HIDDEN, name=f"head_{place}")
        adapt_head(head, [make_images()])
        random = np.random.default_rng(place)
        for weight in head.trainable_variables:
            weight.assign_add(random.normal(size=weight.shape, scale=0.5).astype("float32"))
        heads.append(head)
    return heads


def differentiate(call, heads, images):
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_sum(tf.square(logits)) for logits in call(images)])
    return tape.gradient(loss, [head.trainable_variables for head in heads])


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_and_gradients_are_those_of_each_alone(name):
    heads, images = make_heads(name, name, name), make_images()
    together = HeadsTogether(heads)
    expected = [head(images).numpy() for head in heads]
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
    for found, alone in zip(together(images), expected, strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)
    alone = differentiate(lambda images: [head(images) for head in heads], heads, images)
    for own, other in zip(differentiate(together, heads, images), alone, strict=True):
        for one, two in zip(own, other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3)


def test_a_batch_for_each_head():
    heads = make_heads("adapter_8_shared", "adapter_8_shared", "comparison_adapter_4")
    first, second = make_images(5), make_images(3)
    batches = [first, second, first]
    for found, head, own in zip(HeadsTogether(heads)(batches), heads, batches, strict=True):
        np.testing.assert_allclose(found, head(own), rtol=1e-4, atol=1e-5)


def test_heads_of_different_kinds_and_widths():
    heads = make_heads("adapter_8_shared", "adapter_3_shared", "cnn_1x5_4", "standardized_learned_pooling")
    images = make_images()
    for found, head in zip(HeadsTogether(heads)(images), heads, strict=True):
        np.testing.assert_allclose(found, head(images), rtol=1e-4, atol=1e-5)


def test_measuring_heads():
    heads = [split_head(head)[1] for head in make_heads(*["comparison_adapter_4_similarity_3"] * 2)]
    measured = split_head(make_heads("comparison_adapter_4_similarity_3")[0])[0](make_images())
    for found, head in zip(HeadsTogether(heads)(measured), heads, strict=True):
        np.testing.assert_allclose(found, head(measured), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_what_is_shared(policy, monkeypatch):
    """One call of what standardizes alike, one product of all adapters; another statistic is another layer."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        heads, images = make_heads(*["standardized_adapter_8_shared"] * 3), make_images()
    finally:
        keras.config.set_dtype_policy(before)
    heads[2].get_layer("standardize").set_statistics(np.ones((STATES, HIDDEN)), np.ones((STATES, HIDDEN)))
    calls = []
    for kind in (StandardizeStates, AdapterPooler):
        call = kind.call
        monkeypatch.setattr(kind, "call", lambda self, x, call=call: calls.append(type(self)) or call(self, x))
    found = HeadsTogether(heads)(images)
    assert calls.count(StandardizeStates) == 2
    assert calls.count(AdapterPooler) == (1 if policy == "float32" else 3)  # alone; the other two are one product
    for logits, head in zip(found, heads, strict=True):
        np.testing.assert_allclose(logits, head(images), rtol=1e-2, atol=1e-2 if policy != "float32" else 1e-5)


def test_dropout_draws_are_each_heads_own():
    images = make_images(40)

    def draw(together):
        heads = []
        for seed in range(2):
            keras.utils.set_random_seed(seed)
            heads.append(build_head("detect_parts_8", num_hidden_states=STATES, hidden_dim=HIDDEN))
        if together:
            return [logits.numpy() for logits in HeadsTogether(heads)(images, training=True)]
        return [head(images, training=True).numpy() for head in heads]

    for found, alone in zip(draw(True), draw(False), strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)


def test_rows_and_columns_that_no_example_has_change_nothing():
    random, reader = np.random.default_rng(0), SimilarityReader(4)
    image = random.normal(size=(2, 8, 6, 5)).astype("float32")
    image[..., -1] = 0
    image[0, :5, :3, -1] = image[1, :2, :4, -1] = 1
    image *= image[..., -1:]
    expected = reader(image).numpy()
    np.testing.assert_allclose(reader(np.pad(image, [(0, 0), (0, 5), (0, 4), (0, 0)])), expected, atol=1e-6)
    np.testing.assert_allclose(reader(image[:, :5, :4]), expected, atol=1e-6)
    assert reader(np.zeros_like(image)).numpy().tolist() == np.zeros((2, 16)).tolist()
