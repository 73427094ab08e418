import math
import warnings

import numpy as np
import pytest

from bertvision_tf.metrics import glue_metrics
from bertvision_tf.metrics.glue import METRICS
from bertvision_tf.tasks import TASKS


def count_matthews(labels, predictions):
    """Matthews (1975): (tp · tn − fp · fn) / √((tp + fp)(tp + fn)(tn + fp)(tn + fn)); 0 where that is 0 / 0."""
    pairs = list(zip(labels, predictions, strict=True))
    tp, tn, fp, fn = (pairs.count(pair) for pair in ((1, 1), (0, 0), (0, 1), (1, 0)))
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / below if below else 0.0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rows", [1, 2, 9, 1043])
def test_against_the_definitions(seed, rows):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    predictions = np.where(random.random(rows) < 0.3, 1 - labels, labels)
    found = glue_metrics("cola", labels, predictions)
    assert found["matthews"] == pytest.approx(count_matthews(labels.tolist(), predictions.tolist()), abs=1e-12)
    right = sum(int(a == b) for a, b in zip(labels, predictions, strict=True))
    assert found["accuracy"] == pytest.approx(right / rows, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "predictions", "matthews", "accuracy"),
    [
        ([1, 0, 1, 1], [1, 0, 1, 0], 1 / math.sqrt(3), 0.75),
        ([1, 0, 1, 0], [1, 0, 1, 0], 1, 1),
        ([1, 0, 1, 0], [0, 1, 0, 1], -1, 0),
        ([1, 0, 1, 0], [1, 1, 1, 1], 0, 0.5),
        ([1, 0, 1, 1], [0, 0, 0, 0], 0, 0.25),
        ([1, 1, 1], [1, 1, 1], 0, 1),
        ([1, 1, 1], [1, 0, 1], 0, 2 / 3),
        ([0], [0], 0, 1),
    ],
)
def test_known_values_without_a_warning(labels, predictions, matthews, accuracy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = glue_metrics("cola", labels, predictions)
    assert found == {"matthews": pytest.approx(matthews), "accuracy": pytest.approx(accuracy)}
    assert all(type(value) is float for value in found.values())  # so that they can go into JSON


def test_tasks_and_metrics_say_the_same():
    assert {name: set(task.metrics) for name, task in TASKS.items()} == {
        name: set(row) for name, row in METRICS.items()
    }
    for name, task in TASKS.items():
        assert METRICS[name] == task.metrics
        assert METRICS[name][0] == task.main_metric
        assert next(iter(glue_metrics(name, [0, 1], [0, 1]))) == task.main_metric


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("squad", [1], [1]), "`task_name` needs one of cola, starter, got 'squad'."),
        (("cola", [1, 0], [1]), "need one axis and equal length, got (2,) and (1,)."),
        (("cola", [], []), "need one axis and equal length, got (0,) and (0,)."),
        (("cola", [[1]], [[1]]), "need one axis and equal length, got (1, 1) and (1, 1)."),
    ],
)
def test_errors(arguments, complaint):
    with pytest.raises(ValueError, match="one") as raised:
        glue_metrics(*arguments)
    assert str(raised.value).endswith(complaint)
