"""LogME and H-score against what they are defined as."""

import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from bertvision_tf.metrics.transfer import h_score, log_me


def make_features(rows, width, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)) * np.arange(1, width + 1) + 3


def standardize(features):
    return (features - features.mean(0)) / features.std(0)


def find_evidence(features, target):
    """The logarithm of the density of the targets, by example, at its best precisions, in all directions but that of
    their mean."""
    rest = null_space(np.ones((1, len(target))))
    features, target = rest.T @ features, rest.T @ target

    def negative(logarithms):
        weights, noise = np.exp(np.clip(logarithms, -15, 15))
        covariance = features @ features.T / weights + np.eye(len(features)) / noise
        return -multivariate_normal.logpdf(target, np.zeros(len(target)), covariance) / len(target)

    return -min(minimize(negative, start, method="Nelder-Mead").fun for start in ([0, 0], [3, 1], [-2, 2]))


@pytest.mark.parametrize(("rows", "width"), [(40, 3), (30, 40), (60, 20)])
def test_log_me_is_the_largest_evidence(rows, width):
    random, features = np.random.default_rng(1), make_features(rows, width)
    scores = standardize(features)[:, :2].sum(axis=1) + random.normal(size=rows)
    wanted = find_evidence(standardize(features), scores - scores.mean())
    assert log_me(features, scores[:, None]) == pytest.approx(wanted, abs=1e-4)
    classes = np.eye(2)[(scores > scores.mean()).astype(int)]
    columns = [find_evidence(standardize(features), column - column.mean()) for column in classes.T]
    assert log_me(features, classes) == pytest.approx(np.mean(columns), abs=1e-4)


def test_features_that_say_more_have_more_of_both():
    random = np.random.default_rng(2)
    classes = random.integers(0, 3, 300)
    targets = np.eye(3)[classes]
    noise = random.normal(size=(300, 6))
    found = []
    for share in (0, 0.5, 1, 2):
        features = noise + share * np.pad(targets, ((0, 0), (0, 3)))
        found.append((log_me(features, targets), h_score(features, targets)))
    assert found == sorted(found)
    assert sorted(one for _, one in found) == [one for _, one in found]


def test_a_class_without_examples_changes_nothing():
    features, targets = make_features(60, 4), np.eye(2)[np.arange(60) % 2]
    more = np.column_stack([targets, np.zeros(60)])
    for measure in (log_me, h_score):
        assert measure(features, more) == pytest.approx(measure(features, targets), abs=1e-9)


def test_scale_and_place_of_features_do_not_count():
    features, targets = make_features(60, 4), np.eye(2)[np.arange(60) % 2]
    for measure in (log_me, h_score):
        assert measure(features * [1, 10, 0.1, 5] - 7, targets) == pytest.approx(measure(features, targets), abs=1e-9)


def test_h_score_of_two_points_by_hand():
    """One feature, −1 and 1, that is the class: its variance is 1, all of it between the classes."""
    features, targets = np.repeat([[-1.0], [1.0]], 50, axis=0), np.repeat(np.eye(2), 50, axis=0)
    assert h_score(features, targets) == pytest.approx(1.0)
    assert h_score(features, np.tile(np.eye(2), (50, 1))) == pytest.approx(0.0, abs=1e-9)


def test_h_score_is_the_trace_of_its_definition():
    features, classes = make_features(80, 5), np.arange(80) % 3
    scaled = standardize(features)
    covariance, shrinkage = ledoit_wolf(scaled, assume_centered=True)
    means = np.stack([scaled[classes == one].mean(axis=0) for one in classes])  # of each row's class
    wanted = (1 - shrinkage) * np.trace(np.linalg.inv(covariance) @ np.cov(means.T, bias=True))
    assert h_score(features, np.eye(3)[classes]) == pytest.approx(wanted, abs=1e-9)


def test_features_without_variance_and_targets_that_they_give_exactly():
    targets = np.eye(2)[np.arange(20) % 2]
    features = np.column_stack([np.ones(20), targets[:, 0]])
    assert np.isfinite([log_me(features, targets), h_score(features, targets), log_me(np.ones((20, 3)), targets)]).all()
