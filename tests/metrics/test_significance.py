"""Whether two models differ: McNemar's test against hand counts, the bootstrap against one of plain numpy."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from bertvision_tf.metrics.significance import Difference, compare_classes, compare_scores


def count_p_value(one, other):
    """Two-sided, exact: how likely heads and tails of a fair coin differ as much as these counts or more."""
    flips, few = one + other, min(one, other)
    tail = sum(math.comb(flips, heads) for heads in range(few + 1)) / 2**flips
    return min(2 * tail, 1.0)


def make_rows(both, only_first, only_second, neither):
    """Labels and two models' classes, of which so many are right."""
    labels = np.arange(both + only_first + only_second + neither) % 3
    right = np.repeat(
        [[True, True], [True, False], [False, True], [False, False]], [both, only_first, only_second, neither], 0
    )
    return labels, *(np.where(right[:, place], labels, (labels + 1 + place) % 3) for place in (0, 1))


def lose(labels, predictions):
    return -float(np.abs(labels - predictions).mean())


@pytest.fixture(scope="module")
def scored():
    """Scores of 150 rows, and two models with a part of their errors in common, the first with smaller ones."""
    random = np.random.default_rng(3)
    labels, common = random.normal(size=150), random.normal(size=150)
    return (
        labels,
        labels + common + 0.1 * random.normal(size=150),
        labels + common * 1.1 + 0.1 * random.normal(size=150),
    )


@pytest.mark.parametrize("counts", [(5, 7, 1, 3), (0, 1, 7, 0), (40, 12, 30, 9), (3, 4, 4, 2), (90, 1, 0, 0)])
def test_mcnemar_is_a_fair_coin_over_the_rows_that_one_alone_has_right(counts):
    found = compare_classes(*make_rows(*counts))
    _, first, second, _ = counts
    assert (found.test, found.only_first, found.only_second) == ("mcnemar", first, second)
    assert found.difference == pytest.approx((first - second) / sum(counts))
    assert found.p_value == pytest.approx(count_p_value(first, second))
    assert found.p_value == pytest.approx(binomtest(first, first + second, 0.5).pvalue)
    assert (found.low, found.high) == (None, None)


def test_mcnemar_in_numbers():
    assert compare_classes(*make_rows(5, 7, 1, 3)).p_value == pytest.approx(2 * (1 + 8) / 256)
    assert compare_classes(*make_rows(0, 6, 0, 0)).p_value == pytest.approx(2 / 64)
    assert compare_classes(*make_rows(9, 5, 5, 9)).p_value == 1.0


def test_what_is_right_counts_and_not_what_is_said():
    """Models that are wrong in different ways do not differ."""
    labels = np.array([0, 1, 2, 0])
    for first, second in ((labels, labels), (np.array([1, 2, 0, 0]), np.array([2, 0, 1, 0]))):
        found = compare_classes(labels, first, second)
        assert (found.difference, found.p_value, found.only_first, found.only_second) == (0.0, 1.0, 0, 0)
        assert not found.significant


def test_mcnemar_of_the_models_in_turn():
    labels, first, second = make_rows(4, 20, 3, 2)
    one, other = compare_classes(labels, first, second), compare_classes(labels, second, first)
    assert other.p_value == pytest.approx(one.p_value)
    assert other.difference == -one.difference < 0
    assert (other.only_first, other.only_second) == (one.only_second, one.only_first)
    assert one.significant and other.significant


def test_a_row_of_several_labels_is_right_in_all_or_wrong():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
    first, second = labels.copy(), labels.copy()
    first[0, 1] = 1  # one class of three
    second[[1, 2]] = 1 - second[[1, 2]]  # all of them
    second[3, 0] = 1
    found = compare_classes(labels, first, second)
    assert (found.only_first, found.only_second) == (3, 1)
    assert found.difference == pytest.approx((3 - 1) / 4)
    assert found.p_value == pytest.approx(count_p_value(3, 1))


def test_the_interval_is_that_of_a_plain_bootstrap(scored):
    labels, first, second = scored
    found = compare_scores(lose, labels, first, second)
    random, differences = np.random.default_rng(1), []
    for _ in range(4000):
        rows = random.integers(0, len(labels), len(labels))
        differences.append(lose(labels[rows], first[rows]) - lose(labels[rows], second[rows]))
    low, high = np.percentile(differences, [2.5, 97.5])
    assert found.test == "bootstrap"
    assert found.difference == pytest.approx(lose(labels, first) - lose(labels, second))
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))
    assert found.low < found.difference < found.high
    assert (found.p_value, found.only_first, found.only_second) == (None, None, None)


def test_the_sign_says_which_is_better(scored):
    labels, first, second = scored
    one, other = compare_scores(lose, labels, first, second), compare_scores(lose, labels, second, first)
    assert one.significant and one.low > 0
    assert other.significant and other.high < 0
    assert other.difference == pytest.approx(-one.difference)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_the_same_rows_give_the_same_interval(scored):
    np.random.seed(0)  # noqa: NPY002
    one = compare_scores(lose, *scored)
    np.random.seed(1)  # noqa: NPY002
    assert compare_scores(lose, *scored) == one


def test_equal_predictions_do_not_differ(scored):
    labels, first, _ = scored
    found = compare_scores(lose, labels, first, first.copy())
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.significant


def test_one_row_says_nothing():
    found = compare_scores(lose, np.array([1.0]), np.array([1.0]), np.array([3.0]))
    assert (found.difference, found.low, found.high) == (2.0, None, None)
    assert not found.significant
    assert "cannot be told apart" in found.describe("head", "mean")


def test_scores_of_several_labels():
    """Rows are drawn whole: labels and both predictions stay together."""

    def score_f1(labels, predictions):
        return 2 * (labels & predictions).sum() / (labels.sum() + predictions.sum())

    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (80, 3))
    second = np.where(random.random((80, 3)) < 0.4, 1 - labels, labels)
    found = compare_scores(score_f1, labels, labels, second)
    assert found.difference == pytest.approx(1 - score_f1(labels, second))
    assert 0 < found.low < found.difference < found.high < 1
    assert found.significant


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            Difference("mcnemar", 0.12, 0.0312, 9, 1),
            "head is right more often than mean (alone right on 9 rows, and on 1 the other; McNemar p = 0.031).",
        ),
        (
            Difference("mcnemar", -0.12, 0.0001, 1, 30),
            "head is right less often than mean (alone right on 1 rows, and on 30 the other; McNemar p < 0.001).",
        ),
        (
            Difference("mcnemar", 0.02, 0.625, 3, 1),
            "head and mean cannot be told apart (alone right on 3 rows, and on 1 the other; McNemar p = 0.625).",
        ),
        (
            Difference("bootstrap", 0.1, low=0.01, high=0.2),
            "head is better than mean (by +0.100, 95% interval +0.010 to +0.200; paired bootstrap).",
        ),
        (
            Difference("bootstrap", -0.1, low=-0.2, high=-0.01),
            "head is worse than mean (by -0.100, 95% interval -0.200 to -0.010; paired bootstrap).",
        ),
        (
            Difference("bootstrap", 0.1, low=-0.01, high=0.21),
            "head and mean cannot be told apart (by +0.100, 95% interval -0.010 to +0.210; paired bootstrap).",
        ),
    ],
)
def test_words(found, words):
    assert found.describe("head", "mean") == words


def test_one_case_of_twenty_is_chance():
    assert Difference("mcnemar", 0.1, 0.0499, 9, 2).significant
    assert not Difference("mcnemar", 0.1, 0.05, 9, 2).significant
    assert not Difference("bootstrap", 0.1, low=0.0, high=0.2).significant
    assert not Difference("bootstrap", -0.1, low=-0.2, high=0.0).significant
