"""Heads trained side by side come to what each comes to alone."""

import dataclasses

import numpy as np
import pytest

from bertvision_tf.errors import RunError
from bertvision_tf.training import FitConfig
from bertvision_tf.training.fit import Candidate, fit_heads
from tests.training.test_fit import as_datasets, build, rows  # noqa: F401

CONFIGS = (
    FitConfig(epochs=4, learning_rate=3e-2, patience=9),
    FitConfig(epochs=2, learning_rate=1e-2, patience=9),
    FitConfig(epochs=4, learning_rate=3e-3, weight_decay=0.1, patience=1),
    FitConfig(epochs=4, learning_rate=3e-2, clip_norm=0.01, patience=9),
)


def fit(rows, candidates):  # noqa: F811
    labels = rows[1]
    epochs = max(one.config.epochs for one in candidates)
    score = lambda logits: float((logits.argmax(axis=1) == labels).mean())  # noqa: E731
    seen = []
    found = fit_heads(
        candidates,
        *as_datasets(rows, epochs),
        score,
        class_weights={0: 0.5, 1: 1.5},
        progress=lambda *done: seen.append(done),
    )
    assert seen[-1] == (epochs, epochs)
    return found


def test_each_comes_to_what_it_comes_to_alone(rows, tmp_path):  # noqa: F811
    candidates = [Candidate(build, config, seed, tmp_path / str(seed)) for seed, config in enumerate(CONFIGS)]
    together = fit(rows, candidates)
    assert all(any((tmp_path / str(seed)).rglob("events*")) for seed in range(len(CONFIGS)))
    for found, candidate in zip(together, candidates, strict=True):
        (alone,) = fit(rows, [dataclasses.replace(candidate, logs=None)])
        assert len(found.history["loss"]) == len(alone.history["loss"])
        assert found.history["selection_score"] == alone.history["selection_score"]
        assert found.best_epoch == alone.best_epoch
        np.testing.assert_allclose(found.history["loss"], alone.history["loss"], rtol=1e-4)
        np.testing.assert_allclose(found.selection_logits, alone.selection_logits, atol=1e-3)
        for one, two in zip(found.head.get_weights(), alone.head.get_weights(), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-3)


def test_one_whose_loss_is_no_number_leaves_the_others_alone(rows):  # noqa: F811
    wild = dataclasses.replace(CONFIGS[0], learning_rate=1e30, clip_norm=1e30)
    failed, found = fit(rows, [Candidate(build, wild), Candidate(build, CONFIGS[0], 1)])
    assert isinstance(failed, RunError) and "try a lower learning rate" in str(failed)
    assert len(found.history["loss"]) == 4 and found.selection_score == pytest.approx(
        fit(rows, [Candidate(build, CONFIGS[0], 1)])[0].selection_score
    )
