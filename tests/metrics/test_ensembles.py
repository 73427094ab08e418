"""Probabilities of several models as one, against numpy; weights where the best ones are known."""

import numpy as np
import pytest

from bertvision_tf.metrics.ensembles import combine_log_probabilities, fit_score_weights, fit_weights

ONE, TWO = np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([[0.1, 0.9], [0.6, 0.4]])


@pytest.mark.parametrize(
    ("mode", "weights", "expected"),
    [
        ("maximum", None, np.maximum(ONE, TWO)),
        ("mean", None, (ONE + TWO) / 2),
        ("geometric_mean", None, np.sqrt(ONE * TWO)),
        ("weighted", np.array([0.25, 0.75]), 0.25 * ONE + 0.75 * TWO),
    ],
)
def test_modes(mode, weights, expected):
    found = combine_log_probabilities([np.log(ONE), np.log(TWO)], mode, weights)
    np.testing.assert_allclose(np.exp(found), expected)


def test_a_mode_that_is_not_known():
    with pytest.raises(ValueError, match="'median' is not known; known: maximum, mean"):
        combine_log_probabilities([np.log(ONE)], "median")


def test_probabilities_of_nothing_are_no_error():
    certain = np.log(np.array([[1.0, 1e-300]]))
    with np.errstate(all="raise"):
        found = combine_log_probabilities([certain, certain], "weighted", np.array([1.0, 0.0]))
    np.testing.assert_allclose(found, certain)


def test_weights_are_those_of_the_mixture_that_the_rows_come_from():
    """Rows of two coins, drawn seven times of ten from the first."""
    random = np.random.default_rng(0)
    heads = np.where(random.random(20_000) < 0.7, random.random(20_000) < 0.9, random.random(20_000) < 0.2)
    likelihoods = np.stack([np.where(heads, 0.9, 0.1), np.where(heads, 0.2, 0.8)])
    found = fit_weights(np.log(likelihoods))
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(0.7, abs=0.02)


def test_a_model_that_is_always_righter_counts_alone():
    found = fit_weights(np.log(np.stack([np.full(50, 0.9), np.full(50, 0.5)])))
    assert found[0] > 0.999


def test_weights_of_scores():
    random = np.random.default_rng(0)
    scores = random.normal(size=(3, 200))
    found = fit_score_weights(scores, 0.2 * scores[0] + 0.8 * scores[2])
    np.testing.assert_allclose(found, [0.2, 0, 0.8], atol=1e-3)
    worse = fit_score_weights(np.stack([scores[0], -scores[0]]), scores[0])
    np.testing.assert_allclose(worse, [1, 0], atol=1e-6)  # none counts less than nothing
