"""What fits a readout at once: regularised regression, group-sparse regression, and kernel ridge regression.

Each gives a few readouts, for the selection rows to choose from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from ..heads.config import Solver
from ..kinds import Kind

PENALTIES = np.geomspace(0.8, 0.02, 16)  # of the smallest that leaves no group
STEPS, TOLERANCE = 1000, 0.03  # of each penalty: at most, and how far from its optimum a group's slope may be
GAMMAS, ALPHAS = (0.03, 0.1, 0.3, 1.0), (10.0, 1.0, 0.1)  # widths of the kernel, and its regularisation


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a readout is fitted on.

    Attributes:
        kind: the task's.
        features: float32 (rows, features), each of mean 0 and on one scale.
        labels: of the same rows.
        chosen: features of the selection rows.
        outputs: logits of a row.
        counts: what each row counts, (rows,); 1 with None.
        groups: how many features each group has, in the order of the features.
    """

    kind: Kind
    features: np.ndarray
    labels: np.ndarray
    chosen: np.ndarray
    outputs: int
    counts: np.ndarray | None
    groups: Sequence[int]

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and deviation of scores; 0 and 1 of classes."""
        return self.kind.choose_scale(self.labels) or (0.0, 1.0)

    def list_targets(self) -> np.ndarray:
        """float32 (rows, outputs): 0 and 1 for classes, scores of mean 0 and deviation 1."""
        mean, deviation = self.scale
        labels = (self.labels - mean) / deviation if self.kind.numeric else self.labels
        return self.kind.list_targets(labels, self.outputs).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Readout:
    """A fitted readout.

    Attributes:
        weights: of the head's last layer.
        fitted, chosen: logits of the rows that it was fitted on, and of the selection rows.
        gamma: of a kernel.
        norms: of the weights of each group.
    """

    weights: list[np.ndarray]
    fitted: np.ndarray
    chosen: np.ndarray
    gamma: float | None = None
    norms: np.ndarray | None = None


def solve_regression(problem: Problem) -> Iterator[Readout]:
    """Logistic or ridge regression, by scikit-learn, the most regularised first."""
    for strength in problem.kind.layer_strengths:
        given = problem.features, problem.labels, problem.outputs, strength, problem.counts
        kernel, bias = problem.kind.fit_linear(*given)
        yield _read(problem, kernel, bias)


def solve_groups(problem: Problem) -> Iterator[Readout]:
    """Regression that drops whole groups of features, for falling penalties: a group's penalty is the norm of its
    weights times the square root of its size. Accelerated proximal steps, from each penalty's weights on.

    Sources: Yuan and Lin, 2006, "Model selection and estimation in regression with grouped variables"; Beck and
    Teboulle, 2009, FISTA; O'Donoghue and Candes, 2015, arXiv 1204.3982, for the restart.
    """
    kind, features, targets = problem.kind, problem.features, problem.list_targets()
    shares = np.ones(len(features)) if problem.counts is None else problem.counts
    counts = (shares / shares.sum()).astype(np.float32)[:, None]
    starts = np.cumsum([0, *problem.groups[:-1]])
    roots = np.sqrt(np.array(problem.groups, np.float32))

    def measure(weights: np.ndarray) -> np.ndarray:
        """The norm of each group's."""
        return np.sqrt(np.add.reduceat(np.square(weights).sum(axis=1), starts))

    def differentiate(weights: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        errors = counts * (kind.expect(features @ weights + bias).astype(np.float32) - targets)
        return features.T @ errors, errors.sum(axis=0)

    weights: np.ndarray = np.zeros((features.shape[1], targets.shape[1]), np.float32)
    bias: np.ndarray = kind.find_logits((counts * targets).sum(axis=0)).astype(np.float32)
    largest = max(float((measure(differentiate(weights, bias)[0]) / roots).max()), 1e-12)
    step = np.float32(1 / (kind.curvature * _measure_spread(features, counts)))
    mean, deviation = problem.scale
    for share in PENALTIES:
        shrink = step * np.float32(share * largest) * roots
        ahead, ahead_bias, pace = weights, bias, 1.0
        for _ in range(STEPS):
            slope, bias_slope = differentiate(ahead, ahead_bias)
            moved = ahead - step * slope
            norms = measure(moved)
            kept = np.maximum(1 - shrink / np.maximum(norms, 1e-12), 0).astype(np.float32)
            moved *= np.repeat(kept, problem.groups)[:, None]
            moved_bias = ahead_bias - np.float32(1 / kind.curvature) * bias_slope
            change = moved - weights
            left = max(float((measure(ahead - moved) / roots).max() / step), float(np.abs(bias_slope).max()))
            if float(((ahead - moved) * change).sum()) > 0:  # too far: without momentum from here
                pace = 1.0
            following = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
            momentum = np.float32((pace - 1) / following)
            ahead, ahead_bias = moved + momentum * change, moved_bias + momentum * (moved_bias - bias)
            weights, bias, pace = moved, moved_bias, following
            if left <= TOLERANCE * share * largest:
                break
        found = _read(problem, weights * np.float32(deviation), bias * np.float32(deviation) + np.float32(mean))
        yield dataclasses.replace(found, norms=measure(weights))


def solve_kernel(problem: Problem) -> Iterator[Readout]:
    """Ridge regression on likenesses to the training rows, exp(-gamma / features * squared distance): the widest
    kernels first, of each the most regularised first."""
    from scipy.linalg import solve

    features, chosen, targets = problem.features, problem.chosen, problem.list_targets().astype(np.float64)
    if not problem.kind.numeric:
        targets = 2 * targets - 1
    counts = np.ones(len(features)) if problem.counts is None else problem.counts
    bias = np.average(targets, axis=0, weights=counts)
    mean, deviation = problem.scale
    near, far = (_measure_distances(one, features) / features.shape[1] for one in (features, chosen))
    for gamma in GAMMAS:
        likeness, seen = np.exp(-gamma * near), np.exp(-gamma * far)
        for alpha in ALPHAS:
            regularised = likeness.copy()
            regularised.flat[:: len(features) + 1] += alpha / counts
            kernel = solve(regularised, targets - bias, assume_a="pos", overwrite_a=True)
            weights = [deviation * kernel, deviation * bias + mean, features]
            fitted, found = (deviation * (one @ kernel + bias) + mean for one in (likeness, seen))
            weights = [part.astype(np.float32, copy=False) for part in weights]
            yield Readout(weights, fitted, found.astype(np.float32), gamma)


def _read(problem: Problem, kernel: np.ndarray, bias: np.ndarray) -> Readout:
    fitted, chosen = (part @ kernel + bias for part in (problem.features, problem.chosen))
    return Readout([kernel, bias], fitted, chosen.astype(np.float32))


def _measure_spread(features: np.ndarray, counts: np.ndarray) -> float:
    """A little more than the largest eigenvalue of the features' weighted products, by power iteration."""
    vector, spread = np.random.default_rng(0).normal(size=(features.shape[1], 1)).astype(np.float32), 1.0
    for _ in range(30):
        vector = features.T @ (counts * (features @ vector))
        spread = float(np.linalg.norm(vector)) or 1.0
        vector /= np.float32(spread)
    return 1.05 * spread


def _measure_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances, float64 (rows, others)."""
    own, theirs = (np.square(part).sum(axis=1, dtype=np.float64) for part in (rows, others))
    return np.maximum(own[:, None] + theirs - 2.0 * (rows @ others.T), 0)


SOLVERS = {Solver.REGRESSION: solve_regression, Solver.GROUPS: solve_groups, Solver.KERNEL: solve_kernel}
