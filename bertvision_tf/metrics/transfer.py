"""How well features suit a task, without training on them.

Both measures read features (examples, features), standardised here, and targets (examples, outputs): a column of 0 and
1 for each class or label, or scores.
"""

from __future__ import annotations

import numpy as np

MOST_STEPS = 100
SMALLEST = 1e-12


def log_me(features: np.ndarray, targets: np.ndarray) -> float:
    """LogME: the logarithm of the evidence that a linear model of the features has for the targets, by example.

    Weights and noise are Gaussian; the precision of both is the one with the most evidence, for each target. Targets
    are centred, and n examples then count as n − 1: else features that outnumber them would have evidence without end.
    The larger, the better; it compares features of the same examples alone.

    Source: You et al., 2021, arXiv 2102.11005.

    Returns:
        the mean over targets that are not all the same, in nats; nan where there is none.
    """
    scaled = _standardize(features)
    vectors, values, _ = np.linalg.svd(scaled, full_matrices=False)
    values = values**2  # of the matrix of products, as many as there are directions
    centred = np.asarray(targets, np.float64) - np.mean(targets, axis=0)
    centred = centred[:, (np.abs(centred) > SMALLEST).any(axis=0)]  # a class without examples says nothing
    if not centred.size:
        return float("nan")
    return float(np.mean([_find_evidence(vectors, values, column, scaled.shape[1]) for column in centred.T]))


def h_score(features: np.ndarray, targets: np.ndarray) -> float:
    """H-score: how much of the features' variance lies between the classes, with Ledoit and Wolf's covariance.

    The larger, the better; at most the number of classes − 1.

    Source: Bao et al., 2019; with the covariance of Ibrahim et al., 2021, arXiv 2110.06893.

    Args:
        targets: of classes, one column each.
    """
    from sklearn.covariance import ledoit_wolf

    scaled = _standardize(features)
    covariance, shrinkage = ledoit_wolf(scaled, assume_centered=True)
    counts = np.maximum(np.sum(targets, axis=0), 1)[:, None]
    means = (np.asarray(targets, np.float64).T @ scaled) / counts  # of each class
    between = means.T @ (means * counts) / len(scaled)
    return float((1 - shrinkage) * np.trace(np.linalg.pinv(covariance, hermitian=True) @ between))


def _standardize(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    deviation = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(deviation > SMALLEST, deviation, 1)


def _find_evidence(vectors: np.ndarray, values: np.ndarray, target: np.ndarray, width: int) -> float:
    """The evidence at its best precisions of weights and noise, found in turn until their ratio stays."""
    count = len(target) - 1
    along = (vectors.T @ target) ** 2
    outside = max(float(target @ target - along.sum()), 0.0)
    weights = noise = 1.0
    for _ in range(MOST_STEPS):
        ratio = weights / noise
        fitted = (values / (values + ratio)).sum()  # directions that the model uses
        size = (values * along / (values + ratio) ** 2).sum()  # of the weights, squared
        rest = (along * (ratio / (values + ratio)) ** 2).sum() + outside  # what is left, squared
        weights = max(fitted, SMALLEST) / max(size, SMALLEST)
        noise = max(count - fitted, SMALLEST) / max(rest, SMALLEST)
        if abs(weights / noise - ratio) <= 1e-6 * ratio:
            break
    ratio = weights / noise
    size = (values * along / (values + ratio) ** 2).sum()
    rest = (along * (ratio / (values + ratio)) ** 2).sum() + outside
    free = width - len(values)  # directions in which no example lies
    evidence = width * np.log(weights) + count * np.log(noise) - noise * rest - weights * size
    evidence -= np.log(weights + noise * values).sum() + free * np.log(weights) + count * np.log(2 * np.pi)
    return float(evidence) / 2 / count
