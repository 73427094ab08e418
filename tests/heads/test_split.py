"""A head in two parts: the whole is what they are together, and training one trains the other."""

import numpy as np
import pytest

from bertvision_tf.heads import adapt_head, build_head, split_head

LAYERS, TOKENS, HIDDEN = 3, 6, 4
RANDOM = np.random.default_rng(0)
BATCH = {
    "hidden_states": RANDOM.normal(size=(5, LAYERS, TOKENS, HIDDEN)).astype("float32"),
    "padding_mask": np.array([[1] * 6, [1] * 5 + [0], [1] * 6, [1] * 4 + [0] * 2, [1] * 6]),
    "segment_ids": np.array([[0, 0, 0, 1, 1, 1]] * 5),
}


def build(name):
    return build_head(name, num_hidden_states=LAYERS, hidden_dim=HIDDEN)


def test_the_parts_are_the_whole_and_share_its_weights():
    head = build("comparison_adapter_2")
    measure, trained = split_head(head)
    assert not measure.trainable_weights
    assert {id(weight) for weight in trained.trainable_weights} == {id(weight) for weight in head.trainable_weights}
    for weight in trained.trainable_weights:
        weight.assign(RANDOM.normal(size=weight.shape))
    np.testing.assert_allclose(trained(measure(BATCH)), head(BATCH), rtol=1e-5, atol=1e-5)


def test_a_head_is_adapted_to_measurements_as_to_images():
    one, other = build("comparison_adapter_2"), build("comparison_adapter_2")
    measure, _ = split_head(other)
    adapt_head(one, [BATCH])
    adapt_head(other, [measure(BATCH)])
    for name in ("scale_views", "scale_similarities"):
        for first, second in zip(one.get_layer(name).get_weights(), other.get_layer(name).get_weights(), strict=True):
            np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("name", ["learned_pooling", "standardized_adapter_2_shared", "average_pooling"])
def test_other_heads_read_the_image(name):
    assert split_head(build(name)) is None
