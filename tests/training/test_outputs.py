import itertools
import warnings

import numpy as np
import pytest

from bertvision_tf.tasks import TaskKind, take_shots
from bertvision_tf.training.outputs import build_loss, compute_probabilities, describe_predictions, read_predictions

LOGITS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32) * 3
KINDS = list(TaskKind)


def compute_loss(kind, labels, logits):
    return float(build_loss(kind)(labels, logits))


# Losses


def test_loss_of_classes():
    labels = np.array([0, 3, 2, 1, 1, 0, 2, 3, 3])
    shares = np.exp(LOGITS.astype(float))
    shares /= shares.sum(axis=1, keepdims=True)
    expected = -np.log(shares[np.arange(9), labels]).mean()
    assert compute_loss(TaskKind.CLASSIFICATION, labels, LOGITS) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(9,), (9, 1)])
def test_loss_of_scores(shape):
    labels = np.linspace(-2, 4, 9).astype(np.float32)
    expected = np.square(labels - LOGITS[:, 0]).mean()
    assert compute_loss(TaskKind.REGRESSION, labels.reshape(shape), LOGITS[:, :1]) == pytest.approx(expected, rel=1e-5)


def test_loss_of_several_classes():
    labels = (np.arange(36).reshape(9, 4) % 3 == 0).astype(np.int32)
    shares = 1 / (1 + np.exp(-LOGITS.astype(float)))
    expected = -np.where(labels, np.log(shares), np.log(1 - shares)).mean()
    assert compute_loss(TaskKind.MULTILABEL, labels, LOGITS) == pytest.approx(expected, rel=1e-5)


# Predictions


def test_predictions_have_the_form_of_labels():
    classes = read_predictions(TaskKind.CLASSIFICATION, LOGITS)
    assert classes.tolist() == [max(range(4), key=row.__getitem__) for row in LOGITS]
    np.testing.assert_array_equal(read_predictions(TaskKind.REGRESSION, LOGITS[:, :1]), LOGITS[:, 0])
    several = read_predictions(TaskKind.MULTILABEL, LOGITS)
    assert several.dtype == np.int32
    assert several.tolist() == [[int(logit > 0) for logit in row] for row in LOGITS]
    assert read_predictions(TaskKind.MULTILABEL, np.zeros((1, 2))).tolist() == [[0, 0]]  # even odds: no


def test_probabilities():
    shares = compute_probabilities(TaskKind.CLASSIFICATION, LOGITS)
    expected = [[np.exp(logit) / sum(np.exp(row)) for logit in row] for row in LOGITS.astype(float)]
    np.testing.assert_allclose(shares, expected, rtol=1e-5)
    several = compute_probabilities(TaskKind.MULTILABEL, LOGITS)
    np.testing.assert_allclose(several, [[1 / (1 + np.exp(-logit)) for logit in row] for row in LOGITS], rtol=1e-5)
    assert shares.dtype == several.dtype == np.float32


@pytest.mark.parametrize("kind", [TaskKind.CLASSIFICATION, TaskKind.MULTILABEL])
def test_probabilities_of_large_logits(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = compute_probabilities(kind, np.array([[500, -500], [-100, 100]], np.float32))
    np.testing.assert_allclose(shares, [[1, 0], [0, 1]], atol=1e-30)


@pytest.mark.parametrize("kind", [TaskKind.CLASSIFICATION, TaskKind.MULTILABEL])
def test_what_is_likely_is_what_is_predicted(kind):
    found, shares = read_predictions(kind, LOGITS), compute_probabilities(kind, LOGITS)
    likely = shares.argmax(axis=1) if kind is TaskKind.CLASSIFICATION else shares > 0.5
    np.testing.assert_array_equal(found, likely)


def test_what_a_user_is_told():
    logits = np.array([[1, 2, -3], [0.5, -1, -2], [-1, -2, -3]], np.float32)
    names = ("red", "green", "blue")
    labels, shares = describe_predictions(TaskKind.CLASSIFICATION, names, logits)
    assert labels == ["green", "red", "red"]
    np.testing.assert_array_equal(shares, compute_probabilities(TaskKind.CLASSIFICATION, logits))
    labels, shares = describe_predictions(TaskKind.MULTILABEL, names, logits)
    assert labels == [("red", "green"), ("red",), ()]
    np.testing.assert_array_equal(shares, compute_probabilities(TaskKind.MULTILABEL, logits))
    scores, shares = describe_predictions(TaskKind.REGRESSION, (), logits[:, :1])
    assert scores == [1.0, 0.5, -1.0] and {type(score) for score in scores} == {float}
    assert shares.shape == (3, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_of_no_rows_nothing_is_told(kind):
    outputs, names = (1, ()) if kind is TaskKind.REGRESSION else (2, ("a", "b"))
    labels, shares = describe_predictions(kind, names, np.zeros((0, outputs), np.float32))
    assert (labels, shares.shape) == ([], (0, len(names)))


# Few rows a class

LABELS = np.random.default_rng(1).choice(3, 200, p=[0.6, 0.37, 0.03])
ROWS = np.arange(20, 200)


def test_so_many_rows_of_each_class_are_drawn():
    drawn = take_shots(LABELS, ROWS, 8, seed=0)
    few = (LABELS[ROWS] == 2).sum()
    assert few < 8
    assert np.bincount(LABELS[drawn]).tolist() == [8, 8, few]  # a class with fewer gives all
    assert set(drawn) <= set(ROWS) and (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(take_shots(LABELS, ROWS, 1000, seed=0), ROWS)


def test_fewer_shots_are_part_of_more():
    for seed in range(5):
        draws = [set(take_shots(LABELS, ROWS, shots, seed)) for shots in (1, 2, 4, 16, 64)]
        assert all(fewer < more for fewer, more in itertools.pairwise(draws))


def test_the_seed_draws():
    draws = [take_shots(LABELS, ROWS, 4, seed).tolist() for seed in (0, 1, 2, 0)]
    assert draws[0] == draws[3]
    assert len({tuple(draw) for draw in draws}) == 3


def test_a_class_outside_the_rows_gives_none():
    labels = np.array([0, 1, 2] * 10)
    drawn = take_shots(labels, np.flatnonzero(labels < 2), 3, seed=0)
    assert np.bincount(labels[drawn], minlength=3).tolist() == [3, 3, 0]
