import hashlib
import random

import numpy as np
import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.tasks import get_task, split_selection


def make_labels(rows, classes=2, seed=0):
    return np.random.default_rng(seed).choice(classes, rows, p=[0.7, *[0.3 / (classes - 1)] * (classes - 1)])


@pytest.mark.parametrize(
    ("rows", "selected"),
    [(10_000, 1000), (3008, 301), (2490, 249), (2000, 200), (1999, 200), (800, 200), (400, 200), (399, 199), (10, 5)],
)
def test_a_tenth_at_least_200_at_most_half(rows, selected):
    training, selection = split_selection(make_labels(rows))
    assert (len(training), len(selection)) == (rows - selected, selected)
    assert sorted([*training, *selection]) == list(range(rows))
    for part in (training, selection):
        assert part.dtype == np.int64 and (np.diff(part) > 0).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_each_class_gives_its_share(classes):
    labels = make_labels(5000, classes)
    _, selection = split_selection(labels)
    for label in range(classes):
        assert abs((labels[selection] == label).sum() - 0.1 * (labels == label).sum()) < 1
    shares = [(labels[split_selection(labels, stratify=False)[1]] == label).sum() for label in range(classes)]
    assert shares != [(labels[selection] == label).sum() for label in range(classes)]


def test_no_seed_moves_a_row():
    labels = make_labels(3000)
    splits = []
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        splits.append(split_selection(labels)[1].tolist())
    assert splits[0] == splits[1]
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    split_selection(labels)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_the_split_is_fixed():
    """Runs of another year are compared with these: a change here makes old results incomparable."""
    labels = get_task("starter").load("train").labels
    _, selection = split_selection(labels)
    assert selection[:8].tolist() == [2, 14, 16, 30, 42, 58, 71, 83]
    assert hashlib.sha256(selection.astype("<i8").tobytes()).hexdigest()[:16] == "efc5b116f4bfe7c2"


def test_scores_are_split_without_classes():
    scores = np.random.default_rng(0).uniform(0, 5, 5749).astype(np.float32)
    training, selection = split_selection(scores, stratify=False)
    assert (len(training), len(selection)) == (5174, 575)
    assert abs(scores[selection].mean() - scores.mean()) < 0.2


def test_a_class_of_one_row_is_no_error():
    labels = np.array([0] * 20 + [1] * 9 + [2])
    training, selection = split_selection(labels)
    assert (len(training), len(selection)) == (15, 15)


def test_minimal_pairs_stay_on_one_side():
    examples = get_task("starter").load("train")
    training, selection = split_selection(examples.labels, examples.groups)
    assert set(examples.groups[training]).isdisjoint(examples.groups[selection])
    assert sorted([*training, *selection]) == list(range(len(examples)))
    assert len(selection) == 240  # a tenth
    assert examples.labels[selection].mean() == 0.5  # a pair has one of each


def test_groups_of_uneven_size_give_their_share():
    """A single draw of as many groups would give 90 rows of 4,800 where one group is large."""
    random = np.random.default_rng(3)
    sizes = [1200, *random.integers(1, 120, 60)]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for labels, stratify in ((np.ones(len(groups), np.int32), True), (random.uniform(0, 5, len(groups)), False)):
        training, selection = split_selection(labels, groups, stratify)
        assert set(groups[training]).isdisjoint(groups[selection])
        assert 0.8 < len(selection) / (0.1 * len(groups)) < 1.2


def test_one_group_alone_is_split_as_if_there_were_none():
    labels = np.arange(20) % 2
    assert [len(part) for part in split_selection(labels, np.zeros(20, np.int64))] == [10, 10]


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows(rows):
    with pytest.raises(TaskError, match=rf"^{rows} rows are too few to set selection rows aside\.$"):
        split_selection(np.zeros(rows, np.int32))
