"""Whether two models differ on the same rows, or whether their difference is what chance makes of so few."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

LEVEL = 0.05
RESAMPLES = 999


@dataclasses.dataclass(frozen=True)
class Difference:
    """How one model's score differs from another's on the same rows.

    Attributes:
        test: "mcnemar" or "bootstrap".
        difference: of the score, first minus second: of accuracy for McNemar's test.
        p_value: of McNemar's test; how likely so great a difference is where there is none.
        only_first, only_second: rows that one alone has right, for McNemar's test.
        low, high: the 95% interval of the difference, for the bootstrap; None where one row gives none.
    """

    test: str
    difference: float
    p_value: float | None = None
    only_first: int | None = None
    only_second: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def significant(self) -> bool:
        """Whether chance would make so great a difference in fewer than one case of twenty."""
        if self.p_value is not None:
            return self.p_value < LEVEL
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def describe(self, first: str, second: str) -> str:
        """One sentence, with the names of the models."""
        if self.p_value is not None:
            shown = f"p = {self.p_value:.3f}" if self.p_value >= 0.001 else "p < 0.001"
            why = f"alone right on {self.only_first} rows, and on {self.only_second} the other; McNemar {shown}"
            how = "right more often" if self.difference > 0 else "right less often"
        elif self.low is None:
            return f"{first} and {second} cannot be told apart (by {self.difference:+.3f}, on a single row)."
        else:
            how = "better" if self.difference > 0 else "worse"
            why = f"by {self.difference:+.3f}, 95% interval {self.low:+.3f} to {self.high:+.3f}; paired bootstrap"
        if not self.significant:
            return f"{first} and {second} cannot be told apart ({why})."
        return f"{first} is {how} than {second} ({why})."


def compare_classes(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference:
    """McNemar's exact test of two models' classes.

    Args:
        labels, first, second: classes, (rows,); or 0 and 1, (rows, classes), where a row is right in all or wrong.

    Source: McNemar, 1947; the exact form is a binomial test of the rows on which one alone is right.
    """
    from scipy.stats import binomtest

    right = [(np.asarray(found) == labels).reshape(len(labels), -1).all(axis=1) for found in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    disagreements = only_first + only_second
    p_value = float(binomtest(only_first, disagreements).pvalue) if disagreements else 1.0
    return Difference("mcnemar", (only_first - only_second) / len(labels), p_value, only_first, only_second)


def compare_scores(
    score: Callable[[np.ndarray, np.ndarray], float], labels: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Difference:
    """The paired bootstrap of the difference of two models' scores: 95% percentile interval over resampled rows.

    Args:
        score: labels and predictions → the score; higher is better.
        labels, first, second: (rows, …).

    Source: Efron, 1979.
    """
    from scipy.stats import bootstrap

    def differ(rows: np.ndarray) -> float:
        return score(labels[rows], first[rows]) - score(labels[rows], second[rows])

    rows = np.arange(len(labels))
    if len(rows) < 2:
        return Difference("bootstrap", differ(rows))
    found = bootstrap(
        (rows,), differ, n_resamples=RESAMPLES, vectorized=False, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Difference("bootstrap", differ(rows), low=float(found.low), high=float(found.high))
