"""GLUE's official metrics and those of the user's own tasks, through scikit-learn and SciPy. All are fractions.

Where a formula divides by zero, as a correlation with constant predictions does, the score is 0.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

METRICS: dict[str, tuple[str, ...]] = {
    "cola": ("matthews", "accuracy"),
    "sst2": ("accuracy",),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
    "mnli": ("accuracy",),
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
    "starter": ("accuracy", "matthews"),
}
ALIASES = {"msr": "mrpc", "sst": "sst2", "sts": "stsb", "mnlimatched": "mnli", "mnlimismatched": "mnli"}
# Main metrics that are the mean of two.
MEANS = {"accuracy_and_f1": ("accuracy", "f1"), "pearson_and_spearman": ("pearson", "spearman")}


def glue_metrics(task_name: str, labels: Sequence[float], predictions: Sequence[float]) -> dict[str, float]:
    """Scores predictions against labels.

    Args:
        task_name: one of METRICS; GLUE's spelling ("SST-2", "MSR") is understood too.
        labels, predictions: class indices, or scores for "stsb", (rows,).

    Returns:
        fractions by name: accuracy, f1 (of class 1), matthews, pearson, spearman, as the task has them.

    Raises:
        ValueError: the task is not known, or the two differ in length.

    Example:
        >>> glue_metrics("cola", [1, 0, 1, 1], [1, 0, 1, 0])
        {'matthews': 0.5773502691896258, 'accuracy': 0.75}
    """
    name = task_name.lower().replace("-", "").replace("_", "")
    name = ALIASES.get(name, name)
    if name not in METRICS:
        raise ValueError(f"`task_name` needs one of {', '.join(METRICS)}, got {task_name!r}.")
    gold, predicted = np.asarray(labels), np.asarray(predictions)
    if gold.shape != predicted.shape or gold.ndim != 1 or not gold.size:
        raise ValueError(
            f"`labels` and `predictions` need one axis and equal length, got {gold.shape} and {predicted.shape}."
        )
    return {metric: compute_metric(metric, gold, predicted) for metric in METRICS[name]}


def compute_metric(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """One metric by its name, or the mean of two.

    Args:
        name: one of FUNCTIONS or MEANS.
        labels, predictions: (rows,) classes or scores; (rows, classes) of 0 and 1 where several labels may hold.

    Raises:
        ValueError: no such metric, or a prediction is not finite.
    """
    if name not in FUNCTIONS and name not in MEANS:
        raise ValueError(f"no metric is named {name!r}; known: {', '.join((*FUNCTIONS, *MEANS))}.")
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if not np.isfinite(predictions).all():
        raise ValueError("predictions need finite numbers, got NaN or infinity.")
    if name in MEANS:
        return float(np.mean([compute_metric(part, labels, predictions) for part in MEANS[name]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a score that is not defined comes back as nan or 0
        return float(np.nan_to_num(FUNCTIONS[name](labels, predictions)))


def _accuracy(labels, predictions):
    """The share of rows whose prediction is right, and right in every class where there are several."""
    from sklearn.metrics import accuracy_score

    return accuracy_score(labels, predictions)


def _f1(labels, predictions):
    from sklearn.metrics import f1_score

    return f1_score(labels, predictions, zero_division=0)


def _f1_macro(labels, predictions):
    return _f1_over_classes(labels, predictions, "macro")


def _f1_micro(labels, predictions):
    return _f1_over_classes(labels, predictions, "micro")


def _f1_over_classes(labels, predictions, average: str):
    from sklearn.metrics import f1_score

    if labels.ndim == 2 and labels.shape[1] == 1:  # scikit-learn would take it for two classes
        return _f1(labels[:, 0], predictions[:, 0])
    return f1_score(labels, predictions, average=average, zero_division=0)


def _matthews(labels, predictions):
    from sklearn.metrics import matthews_corrcoef

    return matthews_corrcoef(labels, predictions)


def _pearson(labels, predictions):
    from scipy.stats import pearsonr

    return pearsonr(labels.astype(float), predictions.astype(float))[0] if len(labels) > 1 else 0.0


def _spearman(labels, predictions):
    from scipy.stats import spearmanr

    return spearmanr(labels, predictions)[0] if len(labels) > 1 else 0.0


FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "f1_micro": _f1_micro,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
}
