"""The last blocks of an encoder with a head on top say what the head says of the store, until they are trained."""

import keras
import numpy as np
import pytest

from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import RunError
from bertvision_tf.heads import adapt_head, build_head, get_preset
from bertvision_tf.heads.scale import scale_head
from bertvision_tf.training.top_tuning import build_tuned, count_top

from ..encoders.test_parity import CHECKPOINTS, read_golden

HEADS = {  # by the family of each, the kind of its outputs
    **dict.fromkeys(("learned_pooling", "standardized_adapter_64_shared", "linear_all_layers"), "classification"),
    **dict.fromkeys(("comparison_adapter_64_similarity_8", "linear_comparison"), "classification"),
    **dict.fromkeys(("cnn_1x5_64", "adapter_64_shared"), "span"),
}


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(str(CHECKPOINTS / "bert-gelu-eps1e-12-segments2"))


@pytest.fixture(scope="module")
def images():
    tokens, states, _ = read_golden(CHECKPOINTS / "bert-gelu-eps1e-12-segments2" / "golden.npz")
    mask = tokens["padding_mask"]
    states = (states * mask[:, None, :, None]).astype(np.float32)
    return {"hidden_states": states, "padding_mask": mask, "segment_ids": tokens["segment_ids"]}


def build_trained(name, kind, encoder, images):
    """A head whose weights, fixed and trained, are none that it would begin with."""
    keras.utils.set_random_seed(1)
    sizes = {"num_hidden_states": encoder.num_hidden_states, "hidden_dim": encoder.hidden_dim}
    head = build_head(get_preset(name), **sizes, num_outputs=2, kind=kind)
    adapt_head(head, [{part: images[part] for part in head.input}])
    for weight in head.trainable_weights:
        weight.assign(np.array(weight) + np.random.default_rng(0).normal(size=weight.shape, scale=0.1))
    return head


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("name", "kind"), HEADS.items())
def test_before_training_the_model_is_the_head(name, kind, count, encoder, images):
    head = build_trained(name, kind, encoder, images)
    expected = head({part: images[part] for part in head.input})
    scaled = head if kind == "span" else scale_head(head, 0.5)  # whose logits are trained as they were
    tuned = build_tuned(encoder, scaled, count)
    lower = images["hidden_states"][:, :-count]
    found = tuned({part: images[part] for part in tuned.input} | {"hidden_states": lower})
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    assert np.ptp(np.asarray(keras.tree.flatten(expected)[0])) > 1e-2


def test_scores_are_trained_on_a_scale_of_their_own(encoder, images):
    head = build_trained("learned_pooling", "classification", encoder, images)
    expected = np.asarray(head({part: images[part] for part in head.input}))
    tuned = build_tuned(encoder, head, 1, scale=(3.0, 2.0))
    inputs = {part: images[part] for part in tuned.input} | {"hidden_states": images["hidden_states"][:, :-1]}
    np.testing.assert_allclose(tuned(inputs), (expected - 3) / 2, rtol=1e-3, atol=1e-3)


def test_the_head_that_is_given_stays_as_it_is(encoder, images):
    head = build_trained("comparison_adapter_64", "classification", encoder, images)
    before = head.get_weights()
    tuned = build_tuned(encoder, head, 1)
    for weight in tuned.weights:
        weight.assign(np.zeros(weight.shape, np.float32))
    for one, other in zip(head.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_that_share_blocks_are_refused():
    albert = load_encoder(str(CHECKPOINTS / "albert"))
    with pytest.raises(RunError, match="layers that share 1 blocks: the last cannot be fine-tuned alone"):
        count_top(albert, "top_1")
    with pytest.raises(RunError, match="parts need to be top_K, got lora_8"):
        count_top(albert, "lora_8")
