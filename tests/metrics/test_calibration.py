"""Probabilities on the right scale, and how far they are off."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from bertvision_tf.kinds import find_kind
from bertvision_tf.metrics.calibration import (
    Calibration,
    bin_rows,
    expect_calibration_error,
    fit_temperature,
    fit_temperatures,
    measure_calibration_error,
)

ROWS = 4000


def draw_classes(classes=3, rows=ROWS):
    """Logits, and labels that are drawn from their very probabilities."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(rows, classes), scale=2).astype(np.float32)
    shares = softmax(logits, axis=1)
    return logits, (random.random(rows)[:, None] > shares.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_a_temperature_is_found_again(factor):
    logits, labels = draw_classes()
    found = fit_temperature(factor * logits, labels)
    assert found.scale == pytest.approx(1 / factor, rel=0.08)
    np.testing.assert_array_equal(found.apply(factor * logits).argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(found.undo(found.apply(logits)), logits, atol=1e-4)


def test_few_rows_that_are_all_right_are_not_certain():
    logits, labels = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]]), np.array([0, 1, 0])
    found = fit_temperature(logits, labels)
    assert 0.5 < softmax(found.apply(logits), axis=1).max(axis=1).min() < 0.9
    wrong = fit_temperature(logits, np.array([1, 0, 1]))  # the wronger, the less sure; never the other way
    assert softmax(wrong.apply(logits), axis=1).max() < 0.6 and wrong.scale > 0


def test_the_scale_of_each_class_is_found_again():
    random = np.random.default_rng(0)
    logits = random.normal(size=(ROWS, 2), scale=2)
    labels = (random.random((ROWS, 2)) < expit(logits * [0.5, 2.0])).astype(np.int32)
    found, kind = fit_temperatures(logits, labels), find_kind("multilabel")
    np.testing.assert_allclose(found.scale, [0.5, 2.0], rtol=0.1)
    np.testing.assert_array_equal(kind.decode(found.apply(logits)), kind.decode(logits))


def test_a_class_that_never_holds_changes_no_prediction():
    logits = np.random.default_rng(0).normal(size=(20, 1))
    found = fit_temperatures(logits, np.zeros((20, 1), np.int32))
    assert 0 < found.scale[0] < 1
    assert ((found.apply(logits) > 0) == (logits > 0)).all()


def test_the_error_is_that_of_its_bins():
    confidence, right = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55]), np.array([1, 1, 1, 0, 1, 0], bool)
    assert [(one.rows, one.right) for one in bin_rows(confidence, right, 10)] == [(2, 0.5), (4, 0.75)]
    assert measure_calibration_error(confidence, right, 10) == pytest.approx((2 * 0.05 + 4 * 0.2) / 6)
    assert bin_rows(np.array([1.0]), np.array([True]))[0].rows == 1


def test_exact_probabilities_have_the_error_that_is_expected():
    for rows in (100, ROWS):
        logits, labels = draw_classes(rows=rows)
        confidence, right = find_kind("classification").judge(softmax(logits, axis=1), labels)
        expected = expect_calibration_error(confidence)
        assert measure_calibration_error(confidence, right) == pytest.approx(expected, rel=0.6)
    assert expected < 0.02


def test_what_each_kind_is_sure_of():
    sets, classes = find_kind("multilabel"), find_kind("classification")
    shares, labels = np.array([[0.9, 0.4], [0.2, 0.7]]), np.array([[1, 1], [0, 1]])
    confidence, right = sets.judge(shares, labels)
    np.testing.assert_allclose(confidence, [0.9, 0.6, 0.8, 0.7])
    assert right.tolist() == [True, False, True, True]
    np.testing.assert_allclose(sets.measure_confidence(shares), [0.6, 0.7])
    np.testing.assert_allclose(classes.measure_confidence(shares), [0.9, 0.7])
    assert sets.read_confidence({"p_a": ["0.9", "0.2"], "p_b": ["0.4", "0.7"]}, ["a", "b"]).tolist() == [0.6, 0.7]


@pytest.mark.parametrize("kind", ["regression", "span"])
def test_kinds_without_probabilities(kind):
    assert find_kind(kind).fit_calibration(np.zeros((3, 1)), np.zeros(3)) is None


def test_rows_without_a_label_do_not_count():
    logits, labels = draw_classes()
    with_more = np.concatenate([logits, 100 * logits]), np.concatenate([labels, np.full(ROWS, -1)])
    kind = find_kind("classification")
    assert kind.fit_calibration(*with_more) == kind.fit_calibration(logits, labels)
    assert kind.fit_calibration(logits, np.full(ROWS, -1)) is None
    assert isinstance(kind.fit_calibration(logits, labels), Calibration)
