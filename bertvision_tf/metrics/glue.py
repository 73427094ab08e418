"""GLUE's official metrics, through scikit-learn."""

from collections.abc import Callable, Sequence

import numpy as np

METRICS: dict[str, tuple[str, ...]] = {"cola": ("matthews", "accuracy"), "starter": ("accuracy", "matthews")}


def glue_metrics(task_name: str, labels: Sequence[int], predictions: Sequence[int]) -> dict[str, float]:
    """Scores predicted classes against labels.

    Args:
        task_name: "cola" or "starter".
        labels, predictions: class indices, (rows,).

    Returns:
        fractions by name; the task's main metric first. Matthews' correlation of constant predictions is 0.

    Raises:
        ValueError: the task is not known, or the two differ in length.

    Example:
        >>> glue_metrics("cola", [1, 0, 1, 1], [1, 0, 1, 0])
        {'matthews': 0.5773502691896258, 'accuracy': 0.75}
    """
    if task_name not in METRICS:
        raise ValueError(f"`task_name` needs one of {', '.join(METRICS)}, got {task_name!r}.")
    gold, predicted = np.asarray(labels), np.asarray(predictions)
    if gold.shape != predicted.shape or gold.ndim != 1 or not gold.size:
        raise ValueError(
            f"`labels` and `predictions` need one axis and equal length, got {gold.shape} and {predicted.shape}."
        )
    return {name: compute_metric(name, gold, predicted) for name in METRICS[task_name]}


def compute_metric(name: str, labels: np.ndarray, predictions: np.ndarray) -> float:
    """One metric by its name; a fraction."""
    from sklearn import metrics

    functions: dict[str, Callable] = {
        "accuracy": metrics.accuracy_score,
        "matthews": metrics.matthews_corrcoef,
    }
    if name == "matthews" and len(np.union1d(labels, predictions)) == 1:
        return 0.0  # scikit-learn's answer too, with a warning
    return float(functions[name](labels, predictions))
