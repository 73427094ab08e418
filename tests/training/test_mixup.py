"""Mixed examples lie between two of their batch, and their labels as far between theirs."""

import numpy as np
import pytest
import tensorflow as tf

import bertvision_tf as bv
from bertvision_tf import kinds
from bertvision_tf.errors import RunError
from bertvision_tf.training import FitConfig, fit_head
from bertvision_tf.training.mixup import mix_up

ROWS = 64
VALUES = np.arange(ROWS, dtype=np.float32)
MASK = (np.arange(5) < 2 + (VALUES[:, None] % 3)).astype(np.int32)
IMAGES = {
    "hidden_states": np.broadcast_to(VALUES[:, None, None, None], (ROWS, 2, 5, 3))
    * MASK[:, None, :, None].astype("float32"),
    "padding_mask": MASK,
    "segment_ids": MASK * 0 + 1,
}


def mix(labels, num_classes, alpha=0.4, seed=0):
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(32)
    return list(mix_up(dataset, alpha, seed, num_classes).as_numpy_iterator())


def test_image_and_label_are_mixed_alike():
    for place, (images, labels) in enumerate(mix(VALUES, None)):
        first = images["hidden_states"][:, 0, 0, 0]  # token 0 is real in both
        np.testing.assert_allclose(first, labels, rtol=1e-5)
        own = VALUES[32 * place : 32 * place + 32]
        assert own.min() <= labels.min() and labels.max() <= own.max()  # of its own batch
        assert (np.abs(labels - own) <= 0.5 * np.ptp(own) + 1e-4).all()  # less than half of the other
        assert (np.abs(labels - own) > 0.01).mean() > 0.2
        assert (images["padding_mask"] >= MASK[32 * place : 32 * place + 32]).all()
        np.testing.assert_array_equal(images["segment_ids"], 1)


def test_classes_become_shares():
    labels = np.arange(ROWS, dtype=np.int32) % 3
    for images, shares in mix(labels, 3):
        assert shares.shape == (32, 3)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
        assert images["hidden_states"].shape == (32, 2, 5, 3)
    assert [shares.argmax(axis=1).tolist() for _, shares in mix(labels, 3)] == labels.reshape(2, 32).tolist()


def test_a_seed_draws_the_same_and_batches_differ():
    one, again, other = (mix(VALUES, None, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one[0][1], again[0][1])
    assert not np.allclose(one[0][1], other[0][1])
    assert not np.allclose(one[0][1], one[1][1] - 32)


@pytest.mark.parametrize("kind", [kinds.CLASSIFICATION, kinds.REGRESSION, kinds.MULTILABEL])
def test_heads_learn_from_mixed_examples(kind):
    random = np.random.default_rng(0)
    states = random.normal(size=(96, 3, 4, 6)).astype(np.float32)
    signal = states[:, 1, :, 2].mean(axis=1)
    labels = {
        kinds.CLASSIFICATION: (signal > 0).astype(np.int32),
        kinds.REGRESSION: signal,
        kinds.MULTILABEL: np.stack([signal > 0, signal < 0], axis=1).astype(np.int32),
    }[kind]
    whole = tf.data.Dataset.from_tensor_slices(
        ({"hidden_states": states, "padding_mask": np.ones((96, 4), np.int32)}, labels)
    )
    config = FitConfig(epochs=15, patience=15, learning_rate=3e-2, mixup=0.4)
    outputs = 1 if kind is kinds.REGRESSION else 2
    result = fit_head(
        lambda: bv.build_head("adapter_8_shared", num_hidden_states=3, hidden_dim=6, num_outputs=outputs),
        whole.batch(16).repeat(15),
        whole.batch(32),
        lambda logits: float(np.corrcoef(logits[:, -1 if kind is kinds.CLASSIFICATION else 0], signal)[0, 1]),
        kind=kind,
        config=config,
    )
    assert result.selection_score > 0.7


def test_wrong_settings():
    with pytest.raises(RunError, match="`mixup` needs at least 0"):
        FitConfig(mixup=-1)
