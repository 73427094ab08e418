"""Heads trained side by side come to what each comes to alone."""

import dataclasses

import numpy as np
import pytest

from bertvision_tf.errors import RunError
from bertvision_tf.heads import build_head
from bertvision_tf.tasks import get_task
from bertvision_tf.training import FitConfig, predict_logits
from bertvision_tf.training.fit import Candidate, fit_heads
from bertvision_tf.training.passes import TrainingSet
from tests.training.test_fit import as_datasets, build, rows  # noqa: F401

CONFIGS = (
    FitConfig(epochs=4, learning_rate=3e-2, patience=9),
    FitConfig(epochs=2, learning_rate=1e-2, patience=9),
    FitConfig(epochs=4, learning_rate=3e-3, weight_decay=0.1, patience=1),
    FitConfig(epochs=4, learning_rate=3e-2, clip_norm=0.01, patience=9),
)


def make_candidate(rows, config, seed=0, logs=None):  # noqa: F811
    """One that is trained on all rows."""
    training = TrainingSet(as_datasets(rows, config.epochs)[0], class_weights={0: 0.5, 1: 1.5})
    return Candidate(build, training, config, seed, logs)


def fit(rows, candidates):  # noqa: F811
    labels = rows[1]
    epochs = max(one.config.epochs for one in candidates)
    score = lambda logits: float((logits.argmax(axis=1) == labels).mean())  # noqa: E731
    seen = []
    found = fit_heads(
        candidates,
        as_datasets(rows, 1)[1],
        score,
        progress=lambda *done: seen.append(done),
    )
    assert seen[-1] == (epochs, epochs)
    return found


def test_each_comes_to_what_it_comes_to_alone(rows, tmp_path):  # noqa: F811
    candidates = [make_candidate(rows, config, seed, tmp_path / str(seed)) for seed, config in enumerate(CONFIGS)]
    together = fit(rows, [dataclasses.replace(one, training=candidates[0].training) for one in candidates])
    assert all(any((tmp_path / str(seed)).rglob("events*")) for seed in range(len(CONFIGS)))
    for found, candidate in zip(together, candidates, strict=True):
        (alone,) = fit(rows, [dataclasses.replace(candidate, logs=None)])
        check_equal(found, alone)


def check_equal(found, alone):
    """Two results of one head are the same within float32's noise."""
    assert len(found.history["loss"]) == len(alone.history["loss"])
    assert found.history["selection_score"] == alone.history["selection_score"]
    assert found.best_epoch == alone.best_epoch
    np.testing.assert_allclose(found.history["loss"], alone.history["loss"], rtol=1e-4)
    np.testing.assert_allclose(found.selection_logits, alone.selection_logits, atol=1e-3)
    for one, two in zip(found.head.get_weights(), alone.head.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-3)


def test_one_whose_loss_is_no_number_leaves_the_others_alone(rows):  # noqa: F811
    wild = dataclasses.replace(CONFIGS[0], learning_rate=1e30, clip_norm=1e30)
    failed, found = fit(rows, [make_candidate(rows, wild), make_candidate(rows, CONFIGS[0], 1)])
    assert isinstance(failed, RunError) and "try a lower learning rate" in str(failed)
    assert len(found.history["loss"]) == 4 and found.selection_score == pytest.approx(
        fit(rows, [make_candidate(rows, CONFIGS[0], 1)])[0].selection_score
    )


def test_each_on_rows_of_its_own(rows):  # noqa: F811
    """Three heads on two training sets, each with its own class weights."""
    images, labels = rows
    sets = []
    for start, weights in ((0, {0: 0.5, 1: 1.5}), (48, None)):
        part = {name: array[start : start + 48] for name, array in images.items()}, labels[start : start + 48]
        sets.append(TrainingSet(as_datasets(part, 4)[0], class_weights=weights))
    candidates = [Candidate(build, sets[place], CONFIGS[0], seed) for seed, place in enumerate((0, 1, 0))]
    alone = [fit(rows, [one])[0] for one in candidates]
    for found, expected in zip(fit(rows, candidates), alone, strict=True):
        check_equal(found, expected)
    assert alone[0].history["loss"] != pytest.approx(alone[1].history["loss"], rel=0.01)


def test_each_regression_on_its_own_scale(rows):  # noqa: F811
    images, labels = rows
    sets = [
        TrainingSet(as_datasets((images, (spread * labels + mean).astype(np.float32)), 4)[0], scale=(mean, spread))
        for mean, spread in ((10.0, 2.0), (-3.0, 0.5))
    ]
    candidates = [
        Candidate(lambda: build_head("adapter_8_shared", num_hidden_states=3, hidden_dim=6, num_outputs=1), one)
        for one in sets
    ]
    found = fit_heads(candidates, as_datasets(rows, 1)[1], lambda logits: 0.0, kind=get_task("stsb").kind)
    standard = [
        (one.selection_logits - mean) / spread for one, mean, spread in zip(found, (10, -3), (2, 0.5), strict=True)
    ]
    np.testing.assert_allclose(standard[0], standard[1], atol=1e-3)
    for one, expected in zip(found, (10.0, -3.0), strict=True):
        assert np.abs(one.selection_logits - expected).mean() < 4
        np.testing.assert_allclose(predict_logits(one.head, as_datasets(rows, 1)[1]), one.selection_logits, atol=1e-4)
