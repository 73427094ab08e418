import math
import warnings

import numpy as np
import pytest

from bertvision_tf.metrics import glue_metrics
from bertvision_tf.metrics.glue import FUNCTIONS, MEANS, METRICS, compute_metric
from bertvision_tf.tasks import TASKS, get_task
from bertvision_tf.tasks.known import ALIASES

# The definitions, in plain Python


def count_matthews(labels, predictions):
    """Matthews (1975): (tp · tn − fp · fn) / √((tp + fp)(tp + fn)(tn + fp)(tn + fn)); 0 where that is 0 / 0."""
    pairs = list(zip(labels, predictions, strict=True))
    tp, tn, fp, fn = (pairs.count(pair) for pair in ((1, 1), (0, 0), (0, 1), (1, 0)))
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / below if below else 0.0


def count_matthews_of_classes(labels, predictions):
    """Gorodkin (2004), equation 8, from counts of classes; 0 where it is 0 / 0."""
    rows, classes = len(labels), {*labels, *predictions}
    right = sum(a == b for a, b in zip(labels, predictions, strict=True))
    true, found = ([column.count(name) for name in classes] for column in (labels, predictions))
    above = right * rows - sum(t * p for t, p in zip(true, found, strict=True))
    below = math.sqrt((rows**2 - sum(p * p for p in found)) * (rows**2 - sum(t * t for t in true)))
    return above / below if below else 0.0


def count_accuracy(labels, predictions):
    return sum(a == b for a, b in zip(labels, predictions, strict=True)) / len(labels)


def count_hits(labels, predictions, name):
    """True positives of a class, and how often it is a label or a prediction."""
    hits = sum(a == b == name for a, b in zip(labels, predictions, strict=True))
    return hits, labels.count(name) + predictions.count(name)


def compute_f1(hits, total):
    """2 tp / (2 tp + fp + fn); 0 where that is 0 / 0."""
    return 2 * hits / total if total else 0.0


def compute_pearson(labels, predictions):
    """Covariance over the root of both variances; 0 where one of these is 0."""
    rows = len(labels)
    x = [value - math.fsum(labels) / rows for value in labels]
    y = [value - math.fsum(predictions) / rows for value in predictions]
    below = math.sqrt(math.fsum(a * a for a in x) * math.fsum(b * b for b in y))
    if len(set(labels)) == 1 or len(set(predictions)) == 1:
        return 0.0
    return math.fsum(a * b for a, b in zip(x, y, strict=True)) / below


def rank(values):
    """Places from 1; equal values share the mean of theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]


def draw_classes(seed, rows, classes=2):
    """Labels, and predictions that are right for about two rows of three."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    return labels, np.where(random.random(rows) < 1 / 3, random.integers(0, classes, rows), labels)


def draw_scores(seed, rows):
    random = np.random.default_rng(seed)
    labels = random.uniform(0, 5, rows)
    return labels, labels + random.normal(0, 2, rows)


SEEDS = pytest.mark.parametrize("seed", range(8))
ROWS = pytest.mark.parametrize("rows", [1, 2, 9, 1043])


@SEEDS
@ROWS
def test_cola_against_the_definitions(seed, rows):
    labels, predictions = draw_classes(seed, rows)
    found = glue_metrics("cola", labels, predictions)
    assert found["matthews"] == pytest.approx(count_matthews(labels.tolist(), predictions.tolist()), abs=1e-12)
    assert found["accuracy"] == pytest.approx(count_accuracy(labels, predictions), abs=1e-12)


@SEEDS
@ROWS
def test_mrpc_and_qqp_against_the_definitions(seed, rows):
    labels, predictions = draw_classes(seed, rows)
    f1 = compute_f1(*count_hits(labels.tolist(), predictions.tolist(), 1))
    for name in ("mrpc", "qqp"):
        found = glue_metrics(name, labels, predictions)
        assert found["accuracy"] == pytest.approx(count_accuracy(labels, predictions), abs=1e-12)
        assert found["f1"] == pytest.approx(f1, abs=1e-12)


@SEEDS
@ROWS
def test_stsb_against_the_definitions(seed, rows):
    labels, predictions = draw_scores(seed, rows)
    found = glue_metrics("stsb", labels, predictions)
    assert found["pearson"] == pytest.approx(compute_pearson(labels.tolist(), predictions.tolist()), abs=1e-12)
    ranks = rank(labels.tolist()), rank(predictions.tolist())
    assert found["spearman"] == pytest.approx(compute_pearson(*ranks), abs=1e-12)


@SEEDS
@pytest.mark.parametrize("rows", [2, 9, 300])
def test_equal_scores_share_their_ranks(seed, rows):
    labels, predictions = (np.round(column) for column in draw_scores(seed, rows))
    ranks = rank(labels.tolist()), rank(predictions.tolist())
    assert compute_metric("spearman", labels, predictions) == pytest.approx(compute_pearson(*ranks), abs=1e-12)
    assert compute_metric("pearson", labels, predictions) == pytest.approx(
        compute_pearson(labels.tolist(), predictions.tolist()), abs=1e-12
    )


@SEEDS
def test_correlations_of_float32(seed):
    labels, predictions = (column.astype(np.float32) for column in draw_scores(seed, 1500))
    found = glue_metrics("stsb", labels, predictions)
    assert found["pearson"] == pytest.approx(compute_pearson(labels.tolist(), predictions.tolist()), abs=1e-6)
    ranks = rank(labels.tolist()), rank(predictions.tolist())
    assert found["spearman"] == pytest.approx(compute_pearson(*ranks), abs=1e-12)


@SEEDS
@pytest.mark.parametrize(("rows", "classes"), [(1, 3), (5, 3), (40, 7), (1000, 3)])
def test_several_classes_against_the_definitions(seed, rows, classes):
    labels, predictions = draw_classes(seed, rows, classes)
    gold, found = labels.tolist(), predictions.tolist()
    hits = [count_hits(gold, found, name) for name in {*gold, *found}]
    expected = {
        "accuracy": count_accuracy(gold, found),
        "matthews": count_matthews_of_classes(gold, found),
        "f1_macro": sum(compute_f1(*row) for row in hits) / len(hits),
        "f1_micro": compute_f1(*map(sum, zip(*hits, strict=True))),
    }
    for name, score in expected.items():
        assert compute_metric(name, labels, predictions) == pytest.approx(score, abs=1e-12), name
    assert expected["f1_micro"] == pytest.approx(expected["accuracy"], abs=1e-12)


@SEEDS
@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (3, 5), (200, 2), (200, 9)])
def test_sets_of_classes_against_the_definitions(seed, rows, classes):
    random = np.random.default_rng(seed)
    labels = (random.random((rows, classes)) < 0.4).astype(np.int32)
    predictions = np.where(random.random((rows, classes)) < 0.2, 1 - labels, labels)
    hits = [count_hits(a, b, 1) for a, b in zip(labels.T.tolist(), predictions.T.tolist(), strict=True)]
    expected = {
        "accuracy": count_accuracy(labels.tolist(), predictions.tolist()),
        "f1_macro": sum(compute_f1(*row) for row in hits) / classes,
        "f1_micro": compute_f1(*map(sum, zip(*hits, strict=True))),
    }
    for name, score in expected.items():
        assert compute_metric(name, labels, predictions) == pytest.approx(score, abs=1e-12), name


def test_known_values_of_sets_of_classes():
    labels = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    predictions = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert compute_metric("accuracy", labels, predictions) == pytest.approx(2 / 3)
    assert compute_metric("f1_macro", labels, predictions) == pytest.approx(2 / 3)
    assert compute_metric("f1_micro", labels, predictions) == pytest.approx(4 / 5)
    nothing = np.zeros((3, 3), np.int32)
    assert compute_metric("accuracy", labels, nothing) == pytest.approx(1 / 3)
    assert compute_metric("f1_macro", labels, nothing) == compute_metric("f1_micro", nothing, nothing) == 0


def test_sets_of_a_single_class_count_as_sets():
    labels, nothing = np.array([[1], [0], [0], [0]]), np.zeros((4, 1), np.int32)
    assert compute_metric("accuracy", labels, nothing) == 0.75
    assert compute_metric("f1_macro", labels, nothing) == 0
    assert compute_metric("f1_micro", labels, nothing) == 0


# Values


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


@pytest.mark.parametrize(
    ("labels", "predictions", "accuracy", "f1"),
    [
        ([1, 0, 1, 1], [1, 0, 1, 0], 0.75, 0.8),
        ([1, 0, 1, 1], [0, 1, 0, 0], 0, 0),
        ([1, 0, 1, 1], [1, 1, 1, 1], 0.75, 6 / 7),
        ([1, 0, 1, 1], [0, 0, 0, 0], 0.25, 0),
        ([0, 0], [0, 0], 1, 0),
        ([1, 1], [1, 1], 1, 1),
    ],
)
def test_known_f1_without_a_warning(labels, predictions, accuracy, f1):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = glue_metrics("mrpc", labels, predictions)
    assert found == {"accuracy": pytest.approx(accuracy), "f1": pytest.approx(f1)}
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize(
    ("labels", "predictions", "pearson", "spearman"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1, 1),
        ([1, 2, 3, 4], [8, 6, 4, 2], -1, -1),
        ([1, 2, 3, 4], [1, 4, 9, 16], 25 / math.sqrt(645), 1),
        ([1, 2, 3, 4], [1, 2, 2, 3], 3 / math.sqrt(10), 3 / math.sqrt(10)),  # ranks 1, 2½, 2½, 4
        ([1, 2, 3, 4], [2.5, 2.5, 2.5, 2.5], 0, 0),
        ([5, 5, 5], [1, 2, 3], 0, 0),
        ([0.1, 0.1, 0.1], [0.7, 0.7, 0.7], 0, 0),
        ([3.5], [1.5], 0, 0),
        ([1, 2], [5, 4], -1, -1),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_known_correlations_without_a_warning(labels, predictions, pearson, spearman, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = glue_metrics("stsb", np.array(labels, dtype), np.array(predictions, dtype))
    assert found == {"pearson": pytest.approx(pearson, abs=1e-6), "spearman": pytest.approx(spearman, abs=1e-6)}
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("value", [0, 1])
def test_constant_predictions_give_no_warning_and_no_nan(name, value):
    labels = np.array([0, 1, 0, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = compute_metric(name, labels, np.full(5, value))
    share = np.mean(labels == value)
    f1 = 2 * share / (share + 1)
    expected = {"accuracy": share, "f1_micro": share, "f1_macro": f1 / 2, "f1": f1 if value else 0}
    assert score == pytest.approx(expected.get(name, 0), abs=1e-12)


@SEEDS
def test_means_of_two(seed):
    labels, predictions = draw_classes(seed, 50)
    parts = glue_metrics("qqp", labels, predictions)
    assert compute_metric("accuracy_and_f1", labels, predictions) == pytest.approx(
        (parts["accuracy"] + parts["f1"]) / 2
    )
    labels, predictions = draw_scores(seed, 50)
    parts = glue_metrics("stsb", labels, predictions)
    found = compute_metric("pearson_and_spearman", labels, predictions)
    assert found == pytest.approx((parts["pearson"] + parts["spearman"]) / 2) and type(found) is float
    assert compute_metric("accuracy_and_f1", np.array([1, 0, 1, 1]), np.array([1, 0, 1, 0])) == pytest.approx(0.775)


# Tasks

LABELLED = {name: task for name, task in TASKS.items() if not task.version}  # SQuAD's scores are its own


@pytest.mark.parametrize("name", LABELLED)
def test_tasks_and_metrics_say_the_same(name):
    task = TASKS[name]
    assert METRICS[name] == task.metrics
    assert MEANS.get(task.main_metric, task.metrics[:1]) == task.metrics[: 2 if task.main_metric in MEANS else 1]
    labels, wrong = np.array([0, 1, 1, 0]), np.array([1, 0, 1, 0])
    assert tuple(glue_metrics(name, labels, wrong)) == task.metrics
    assert compute_metric(task.main_metric, labels, labels) == pytest.approx(1)
    assert compute_metric(task.main_metric, labels, wrong) < 0.6


def test_every_task_has_metrics():
    assert set(METRICS) == set(LABELLED)
    assert {name: task.main_metric for name, task in LABELLED.items()} == {
        **dict.fromkeys(LABELLED, "accuracy"),
        "cola": "matthews",
        "mrpc": "accuracy_and_f1",
        "qqp": "accuracy_and_f1",
        "stsb": "pearson_and_spearman",
    }


@pytest.mark.parametrize(
    "name",
    [
        *LABELLED,
        *(task.title for task in LABELLED.values()),
        "sts_b",
        "SST2",
        "MSR",
        *(name for name, task in ALIASES.items() if task in LABELLED),
    ],
)
def test_names_in_any_spelling(name):
    labels, predictions = [1, 0, 1, 1], [1, 0, 0, 1]
    expected = glue_metrics(get_task(name).name, labels, predictions)
    assert glue_metrics(name, labels, predictions) == expected


def test_mnli_mismatched_is_scored_as_mnli():
    for name in ("MNLI", "mnli_matched", "mnli_mismatched", "MNLI-mismatched"):
        assert glue_metrics(name, [0, 1, 2, 2], [0, 2, 2, 2]) == {"accuracy": 0.75}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("squad", [1], [1]),
            "`task_name` needs one of cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, starter, got 'squad'.",
        ),
        (("cola", [1, 0], [1]), "need one axis and equal length, got (2,) and (1,)."),
        (("stsb", [0.5], [0.5, 1]), "need one axis and equal length, got (1,) and (2,)."),
        (("cola", [], []), "need one axis and equal length, got (0,) and (0,)."),
        (("cola", [[1]], [[1]]), "need one axis and equal length, got (1, 1) and (1, 1)."),
    ],
)
def test_errors(arguments, complaint):
    with pytest.raises(ValueError, match="one") as raised:
        glue_metrics(*arguments)
    assert str(raised.value).endswith(complaint)
