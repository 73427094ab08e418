"""What of the training rows a seed draws, and what its classes count."""

import itertools

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.tasks import get_task
from bertvision_tf.training.draw import Draw, balance, check_draw

LABELS = np.array([0, 1, 1, 2] * 50)
TRAINING = np.arange(200)[np.arange(200) % 5 != 0]  # 160, the others are selection rows
SHARES = (0.01, 0.1, 0.3, 0.77, 1.0)


def draw(seed, **options):
    return Draw(LABELS, TRAINING, **options).rows(seed)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_smaller_share_is_part_of_the_bigger(seed):
    drawn = [draw(seed, share=share) for share in SHARES]
    assert [len(rows) for rows in drawn] == [2, 16, 48, 123, 160]
    for few, more in itertools.pairwise(drawn):
        assert set(few) < set(more)
    for rows in drawn:
        assert set(rows) <= set(TRAINING)
        assert (np.diff(rows) > 0).all()  # sorted, each once


def test_the_whole_is_the_training_rows_of_every_seed():
    np.testing.assert_array_equal(draw(0), TRAINING)
    np.testing.assert_array_equal(draw(9, share=1.0), TRAINING)


def test_a_share_is_one_row_at_least():
    assert len(draw(0, share=1e-6)) == 1


def test_a_seed_draws_the_same_and_another_others():
    np.testing.assert_array_equal(draw(3, share=0.3), draw(3, share=0.3))
    assert set(draw(3, share=0.3)) != set(draw(4, share=0.3))
    np.testing.assert_array_equal(draw(3, shots=4), draw(3, shots=4))
    assert set(draw(3, shots=4)) != set(draw(4, shots=4))


def test_every_row_can_be_drawn():
    drawn = np.concatenate([draw(seed, share=0.1) for seed in range(80)])
    assert set(drawn) == set(TRAINING)


def test_shots_are_so_many_of_each_class():
    few, more = draw(2, shots=3), draw(2, shots=8)
    assert np.bincount(LABELS[few]).tolist() == [3, 3, 3]
    assert np.bincount(LABELS[more]).tolist() == [8, 8, 8]
    assert set(few) < set(more) < set(TRAINING)
    there = np.bincount(LABELS[TRAINING])
    assert np.bincount(LABELS[draw(2, shots=50)]).tolist() == np.minimum(there, 50).tolist()


def test_whether_seeds_differ():
    assert not Draw(LABELS, TRAINING).differs
    assert Draw(LABELS, TRAINING, share=0.999).differs
    assert Draw(LABELS, TRAINING, shots=8).differs


@pytest.mark.parametrize(
    ("share", "shots", "message"),
    [
        (0.0, None, "`train_share` needs more than 0 and at most 1, got 0.0"),
        (-0.5, None, "at most 1, got -0.5"),
        (1.5, None, "at most 1, got 1.5"),
        (float("nan"), None, "at most 1, got nan"),
        (1.0, 0, "`shots` needs 1 or more, got 0"),
        (0.5, 8, "`shots` and `train_share` both"),
    ],
)
def test_wrong_draws_are_one_line(share, shots, message):
    with pytest.raises(RunError, match=message) as caught:
        check_draw(get_task("starter"), share, shots)
    assert "\n" not in str(caught.value)


def test_what_can_be_drawn():
    scores = bv.task_from_table({"text": ["a cat"] * 20, "score": [0.5] * 20}, name="scores")
    check_draw(scores, 0.5, None)
    with pytest.raises(RunError, match="needs a task of single classes, scores is a regression"):
        check_draw(scores, 1.0, 8)
    for share, shots in ((1e-9, None), (1.0, None), (1.0, 1)):
        check_draw(get_task("starter"), share, shots)


def test_balanced_classes_count_the_same():
    labels = np.array([0] * 6 + [1] * 3 + [3])
    weights = balance(labels, 4)
    assert weights == pytest.approx({0: 10 / (3 * 6), 1: 10 / (3 * 3), 2: 1.0, 3: 10 / 3})
    sums = [weights[name] * (labels == name).sum() for name in (0, 1, 3)]
    assert sums == pytest.approx([10 / 3] * 3)
    assert np.mean([weights[name] for name in labels]) == pytest.approx(1)
