import itertools
import warnings

import numpy as np
import pytest

from bertvision_tf import kinds
from bertvision_tf.tasks import take_shots

LOGITS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32) * 3
LABELLED = [kind for kind in kinds.KINDS if not kind.answers]


def compute_loss(kind, labels, logits):
    return float(kind.build_loss()(labels, logits))


# Losses


def test_loss_of_classes():
    labels = np.array([0, 3, 2, 1, 1, 0, 2, 3, 3])
    shares = np.exp(LOGITS.astype(float))
    shares /= shares.sum(axis=1, keepdims=True)
    expected = -np.log(shares[np.arange(9), labels]).mean()
    assert compute_loss(kinds.CLASSIFICATION, labels, LOGITS) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(9,), (9, 1)])
def test_loss_of_scores(shape):
    labels = np.linspace(-2, 4, 9).astype(np.float32)
    expected = np.square(labels - LOGITS[:, 0]).mean()
    assert compute_loss(kinds.REGRESSION, labels.reshape(shape), LOGITS[:, :1]) == pytest.approx(expected, rel=1e-5)


def test_loss_of_several_classes():
    labels = (np.arange(36).reshape(9, 4) % 3 == 0).astype(np.int32)
    shares = 1 / (1 + np.exp(-LOGITS.astype(float)))
    expected = -np.where(labels, np.log(shares), np.log(1 - shares)).mean()
    assert compute_loss(kinds.MULTILABEL, labels, LOGITS) == pytest.approx(expected, rel=1e-5)


# Predictions


def test_predictions_have_the_form_of_labels():
    classes = kinds.CLASSIFICATION.decode(LOGITS)
    assert classes.tolist() == [max(range(4), key=row.__getitem__) for row in LOGITS]
    np.testing.assert_array_equal(kinds.REGRESSION.decode(LOGITS[:, :1]), LOGITS[:, 0])
    several = kinds.MULTILABEL.decode(LOGITS)
    assert several.dtype == np.int32
    assert several.tolist() == [[int(logit > 0) for logit in row] for row in LOGITS]
    assert kinds.MULTILABEL.decode(np.zeros((1, 2))).tolist() == [[0, 0]]  # even odds: no


def test_probabilities():
    shares = kinds.CLASSIFICATION.compute_probabilities(LOGITS)
    expected = [[np.exp(logit) / sum(np.exp(row)) for logit in row] for row in LOGITS.astype(float)]
    np.testing.assert_allclose(shares, expected, rtol=1e-5)
    several = kinds.MULTILABEL.compute_probabilities(LOGITS)
    np.testing.assert_allclose(several, [[1 / (1 + np.exp(-logit)) for logit in row] for row in LOGITS], rtol=1e-5)
    assert shares.dtype == several.dtype == np.float32


@pytest.mark.parametrize("kind", [kinds.CLASSIFICATION, kinds.MULTILABEL])
def test_probabilities_of_large_logits(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = kind.compute_probabilities(np.array([[500, -500], [-100, 100]], np.float32))
    np.testing.assert_allclose(shares, [[1, 0], [0, 1]], atol=1e-30)


@pytest.mark.parametrize("kind", [kinds.CLASSIFICATION, kinds.MULTILABEL])
def test_what_is_likely_is_what_is_predicted(kind):
    found, shares = kind.decode(LOGITS), kind.compute_probabilities(LOGITS)
    likely = shares.argmax(axis=1) if kind is kinds.CLASSIFICATION else shares > 0.5
    np.testing.assert_array_equal(found, likely)


def test_what_a_user_is_told():
    logits = np.array([[1, 2, -3], [0.5, -1, -2], [-1, -2, -3]], np.float32)
    names = ("red", "green", "blue")
    labels, shares = kinds.CLASSIFICATION.tell(logits, names), kinds.CLASSIFICATION.compute_probabilities(logits)
    assert labels == ["green", "red", "red"]
    np.testing.assert_array_equal(shares, kinds.CLASSIFICATION.compute_probabilities(logits))
    labels, shares = kinds.MULTILABEL.tell(logits, names), kinds.MULTILABEL.compute_probabilities(logits)
    assert labels == [("red", "green"), ("red",), ()]
    np.testing.assert_array_equal(shares, kinds.MULTILABEL.compute_probabilities(logits))
    scores, shares = kinds.REGRESSION.tell(logits[:, :1], ()), kinds.REGRESSION.compute_probabilities(logits[:, :1])
    assert scores == [1.0, 0.5, -1.0] and {type(score) for score in scores} == {float}
    assert shares.shape == (3, 0)


@pytest.mark.parametrize("kind", LABELLED)
def test_of_no_rows_nothing_is_told(kind):
    outputs, names = (1, ()) if kind is kinds.REGRESSION else (2, ("a", "b"))
    labels, shares = (
        kind.tell(np.zeros((0, outputs), np.float32), names),
        kind.compute_probabilities(np.zeros((0, outputs), np.float32)),
    )
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
