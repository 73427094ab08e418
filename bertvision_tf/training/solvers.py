"""What fits a readout at once: regularised regression, group-sparse regression, and kernel ridge regression.

Each gives a few readouts, for the selection rows to choose from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..heads.config import Solver
from ..kinds import Kind

PENALTIES = np.geomspace(0.8, 0.005, 16)  # of the smallest that leaves no group; the last take the longest
SWEEPS, TOLERANCE = 100, 0.1  # over all groups and over those kept: at most; how far a slope may be from its optimum
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
        return self._scale_labels()[1]

    @property
    def shares(self) -> np.ndarray:
        """What each row counts, (rows,)."""
        return np.ones(len(self.features)) if self.counts is None else self.counts

    def list_targets(self) -> np.ndarray:
        """float32 (rows, outputs): 0 and 1 for classes, scores of mean 0 and deviation 1."""
        return self.kind.list_targets(self._scale_labels()[0], self.outputs).astype(np.float32)

    def _scale_labels(self) -> tuple[np.ndarray, tuple[float, float]]:
        return self.kind.scale_labels(self.labels, np.arange(len(self.labels)))


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
    weights times the square root of its size.

    Source: Yuan and Lin, 2006, "Model selection and estimation in regression with grouped variables".
    """
    descent = _Descent(problem)
    largest = descent.find_largest()
    mean, deviation = problem.scale
    for share in PENALTIES:
        descent.solve(share * largest)
        weights, bias = descent.weights * np.float32(deviation), descent.bias * np.float32(deviation) + np.float32(mean)
        yield dataclasses.replace(_read(problem, weights, bias), norms=descent.measure())


def solve_kernel(problem: Problem) -> Iterator[Readout]:
    """Ridge regression on likenesses to the training rows, exp(-gamma / features * squared distance): the widest
    kernels first, of each the most regularised first."""
    from scipy.linalg import solve

    features, chosen, targets = problem.features, problem.chosen, problem.list_targets().astype(np.float64)
    if not problem.kind.numeric:
        targets = 2 * targets - 1
    bias = np.average(targets, axis=0, weights=problem.shares)
    mean, deviation = problem.scale
    near, far = (_measure_distances(one, features) / features.shape[1] for one in (features, chosen))
    for gamma in GAMMAS:
        likeness, seen = np.exp(-gamma * near), np.exp(-gamma * far)
        for alpha in ALPHAS:
            regularised = likeness.copy()
            regularised.flat[:: len(features) + 1] += alpha / problem.shares
            kernel = solve(regularised, targets - bias, assume_a="pos", overwrite_a=True)
            weights = [deviation * kernel, deviation * bias + mean, features]
            fitted, found = (deviation * (one @ kernel + bias) + mean for one in (likeness, seen))
            weights = [part.astype(np.float32, copy=False) for part in weights]
            yield Readout(weights, fitted, found.astype(np.float32), gamma)


class _Descent:
    """Weights of groups on their way to the optimum of a penalty. One group moves at a time, by a step that its own
    features allow; those without weights wait until the others have come to rest.

    Source: Yang and Zou, 2015, "A fast unified algorithm for solving group-lasso penalized learning problems".

    Attributes:
        weights: float32 (features, outputs).
        bias: float32 (outputs,).
    """

    def __init__(self, problem: Problem):
        self._kind, self._features, self._targets = problem.kind, problem.features, problem.list_targets()
        self._counts = (problem.shares / problem.shares.sum()).astype(np.float32)[:, None]
        ends = np.cumsum(problem.groups)
        self._parts = [slice(end - size, end) for end, size in zip(ends, problem.groups, strict=True)]
        self._roots = np.sqrt(problem.groups)
        self._bounds = [
            self._kind.curvature * _measure_spread(self._features[:, part], self._counts) for part in self._parts
        ]
        self.weights = np.zeros((self._features.shape[1], self._targets.shape[1]), np.float32)
        self.bias = self._kind.find_logits((self._counts * self._targets).sum(axis=0)).astype(np.float32)
        self._set_logits(np.tile(self.bias, (len(self._features), 1)))

    def measure(self) -> np.ndarray:
        """The norm of each group's weights."""
        return np.array([np.linalg.norm(self.weights[part]) for part in self._parts])

    def find_largest(self) -> float:
        """The smallest penalty that leaves no group."""
        slopes = [np.linalg.norm(self._find_slope(part)) for part in self._parts]
        return max(float((slopes / self._roots).max()), 1e-12)

    def solve(self, penalty: float) -> None:
        """Goes on until no group's slope is further from what the penalty asks than a TOLERANCE of it."""
        limit, every = TOLERANCE * penalty, range(len(self._parts))
        for _ in range(SWEEPS):
            kept = np.flatnonzero(self.measure())
            for _ in range(SWEEPS):
                if self._sweep(penalty, kept) <= limit:
                    break
            if self._sweep(penalty, every) <= limit:
                break
        self._set_logits(self._features @ self.weights + self.bias)  # without what the steps have rounded

    def _sweep(self, penalty: float, places: Iterable[int]) -> float:
        """Moves some groups and the bias once; how far the farthest was from its optimum, as a penalty."""
        left = 0.0
        for place in places:
            part, bound, root = self._parts[place], self._bounds[place], self._roots[place]
            moved = self.weights[part] - self._find_slope(part) / np.float32(bound)
            norm = float(np.linalg.norm(moved))
            moved *= np.float32(max(1 - penalty * root / (bound * norm), 0) if norm else 0)
            change = moved - self.weights[part]
            if change.any():
                self.weights[part] = moved
                self._set_logits(self._logits + self._features[:, part] @ change)
                left = max(left, bound * float(np.linalg.norm(change)) / root)
        slope = self._errors.sum(axis=0)
        step = slope / np.float32(self._kind.curvature)
        self.bias = self.bias - step
        self._set_logits(self._logits - step)
        return max(left, float(np.abs(slope).max()))

    def _set_logits(self, logits: np.ndarray) -> None:
        """What all groups say together, and how far that is from the targets, which the groups' slopes share."""
        self._logits = logits
        self._errors = self._counts * (self._kind.expect(logits).astype(np.float32, copy=False) - self._targets)

    def _find_slope(self, part: slice) -> np.ndarray:
        return self._features[:, part].T @ self._errors


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
