"""What a head's logits mean, by the kind of its task."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..metrics.ensembles import combine_log_probabilities
from ..tasks import TaskKind

SPAN_LOGITS = ("start_logits", "end_logits")


def build_loss(kind: TaskKind, mixed: bool = False) -> keras.losses.Loss | dict[str, keras.losses.Loss]:
    """What is made small: of logits against classes, scores, classes of which several may hold, or the tokens at which
    an answer starts and ends; mixed ones are shares of each class."""
    if kind is TaskKind.REGRESSION:
        return keras.losses.MeanSquaredError()
    if kind is TaskKind.MULTILABEL:
        return keras.losses.BinaryCrossentropy(from_logits=True)
    if kind is TaskKind.SPAN:
        return {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in SPAN_LOGITS}
    if mixed:
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def choose_scale(kind: TaskKind, labels: np.ndarray) -> tuple[float, float] | None:
    """Mean and deviation by which a regression's labels are put on one scale in training; None for classes."""
    return (float(labels.mean()), float(labels.std()) or 1.0) if kind is TaskKind.REGRESSION else None


def scale_labels(kind: TaskKind, labels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Labels on the scale of some rows, and its mean and deviation; 0 and 1 for classes, which stay as they are."""
    scale = choose_scale(kind, labels[rows])
    return (labels, (0.0, 1.0)) if scale is None else ((labels - scale[0]) / scale[1], scale)


def read_predictions(kind: TaskKind, logits: np.ndarray) -> np.ndarray:
    """Predictions in the form of the task's labels.

    Args:
        kind: the task's.
        logits: float, (rows, outputs).

    Returns:
        classes (rows,), the most probable; scores (rows,); or 0 and 1 (rows, classes), 1 where it is more likely.
    """
    if kind is TaskKind.REGRESSION:
        return logits[:, 0]
    if kind is TaskKind.MULTILABEL:
        return (logits > 0).astype(np.int32)
    return logits.argmax(axis=1)


def compute_probabilities(kind: TaskKind, logits: np.ndarray) -> np.ndarray:
    """float, (rows, classes): softmax, or the logistic function of each class where several may hold; a regression
    has no classes."""
    if kind is TaskKind.REGRESSION:
        return np.zeros((len(logits), 0), np.float32)
    from scipy.special import expit, softmax

    return expit(logits) if kind is TaskKind.MULTILABEL else softmax(logits, axis=-1)


def combine_logits(
    kind: TaskKind, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
) -> np.ndarray:
    """Logits of several models as one, (rows, outputs).

    Probabilities are combined element by element; where several classes may hold, those of each class and of its
    absence, so that the surest model of each class decides by the maximum. Scores have their mean, with the weights if
    there are any.

    Args:
        kind: the task's.
        logits: of each model, (rows, outputs).
        mode, weights: as `combine_log_probabilities`'.
    """
    from scipy.special import log_expit, log_softmax

    if kind is TaskKind.REGRESSION:
        return np.average(logits, axis=0, weights=weights)
    if kind is TaskKind.MULTILABEL:
        sides = ([log_expit(sign * part) for part in logits] for sign in (1, -1))
        holds, fails = (combine_log_probabilities(side, mode, weights) for side in sides)
        return holds - fails
    return combine_log_probabilities([log_softmax(part, axis=-1) for part in logits], mode, weights)


def compute_log_likelihoods(kind: TaskKind, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The logarithm of what a model gives to each label, float (rows,), or (rows * classes,) where several may hold."""
    from scipy.special import log_expit, log_softmax

    if kind is TaskKind.MULTILABEL:
        return log_expit(np.where(labels > 0, logits, -logits)).ravel()
    return log_softmax(logits, axis=-1)[np.arange(len(labels)), labels]


def describe_predictions(kind: TaskKind, names: Sequence[str], logits: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """What a user is told of logits: of each row a name, a score, or a tuple of names; and the probabilities."""
    found, probabilities = read_predictions(kind, logits), compute_probabilities(kind, logits)
    if kind is TaskKind.REGRESSION:
        return [float(score) for score in found], probabilities
    if kind is TaskKind.MULTILABEL:
        return [tuple(name for name, holds in zip(names, row, strict=True) if holds) for row in found], probabilities
    return [names[place] for place in found], probabilities
