"""Probabilities that mean what they say: of rows that are called 80% sure, 80% are right.

Temperature: Guo et al., On Calibration of Modern Neural Networks (2017). Targets for few rows: Platt, Probabilistic
Outputs for Support Vector Machines (1999); his shift is left out, since it would change what is predicted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

BINS = 15  # of equal width from 0 to 1, as Guo et al. have them
DRAWS = 500
LARGEST = 20.0  # what logits are multiplied with at most


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Logits on another scale: times `scale`, a number above 0 for all classes, or one for each."""

    scale: float | tuple[float, ...]

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Logits of a model → those whose probabilities mean what they say, float32."""
        return (logits * np.asarray(self.scale)).astype(np.float32)

    def undo(self, logits: np.ndarray) -> np.ndarray:
        """The other way."""
        return (logits / np.asarray(self.scale)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Bin:
    """Rows of like confidence.

    Attributes:
        confidence: the mean.
        right: the share that is right.
        rows: how many.
    """

    confidence: float
    right: float
    rows: int


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """One scale for all logits, under which the labels are most likely; no prediction changes.

    Few rows that are all right do not make a model certain: each counts for its label a little less than whole, as
    Laplace's rule has it.

    Args:
        logits: (rows, classes).
        labels: int, (rows,), classes.
    """
    from scipy.special import log_softmax

    rows, classes = logits.shape
    doubt = classes / (rows + classes)
    targets = np.full(logits.shape, doubt / classes)
    targets[np.arange(rows), labels] += 1 - doubt
    logits = logits.astype(np.float64)

    def measure(scale: float) -> float:
        return -float((targets * log_softmax(scale * logits, axis=1)).sum())

    return Calibration(_minimize(measure))


def fit_temperatures(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """A scale for the logits of each class, under which the labels are most likely; no prediction changes.

    Args:
        logits: (rows, classes).
        labels: 0 and 1, (rows, classes).
    """
    from scipy.special import log_expit

    scales = []
    for own, holds in zip(logits.T.astype(np.float64), labels.T > 0, strict=True):
        there, absent = int(holds.sum()), int((~holds).sum())
        targets = np.where(holds, (there + 1) / (there + 2), 1 / (absent + 2))

        def measure(scale: float, own: np.ndarray = own, targets: np.ndarray = targets) -> float:
            return -float((targets * log_expit(scale * own) + (1 - targets) * log_expit(-scale * own)).sum())

        scales.append(_minimize(measure))
    return Calibration(tuple(scales))


def _minimize(measure: Callable[[float], float]) -> float:
    """The scale of the least loss."""
    from scipy.optimize import minimize_scalar

    most = np.log(LARGEST)
    found = minimize_scalar(lambda power: measure(np.exp(power)), bounds=(-most, most), method="bounded")
    return float(np.exp(found.x))


def bin_rows(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Rows in bins of equal width, those that hold any.

    Args:
        confidence: (rows,), 0 to 1.
        right: (rows,), whether the prediction is.
        bins: from 0 to 1.
    """
    places = _find_bins(confidence, bins)
    return [
        Bin(float(confidence[own].mean()), float(right[own].mean()), int(own.sum()))
        for own in (places == place for place in np.unique(places))
    ]


def measure_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error: how far the confidence of a bin is from its share of right rows, in the mean over
    rows. Arguments as `bin_rows`'."""
    return _measure_error(_find_bins(confidence, bins), confidence, right)


def expect_calibration_error(confidence: np.ndarray, bins: int = BINS) -> float:
    """What `measure_calibration_error` gives in the mean where each confidence is the very probability of being right:
    of few rows it is far from 0. Arguments as `bin_rows`'."""
    random, places = np.random.default_rng(0), _find_bins(confidence, bins)
    drawn = (random.random(len(confidence)) < confidence for _ in range(DRAWS))
    return float(np.mean([_measure_error(places, confidence, right) for right in drawn]))


def _find_bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The place of the bin of each row."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def _measure_error(places: np.ndarray, confidence: np.ndarray, right: np.ndarray) -> float:
    """The error of rows whose bins are known: a bin's rows times the distance of its means is that of its sums."""
    return float(np.abs(np.bincount(places, right - confidence)).sum() / len(right))
