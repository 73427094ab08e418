"""What rows are scored by: their labels, or the answers to their questions.

Both have the same methods, so that whatever trains, compares or describes models need not know which it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..metrics.calibration import Calibration
from ..metrics.glue import compute_metric
from ..metrics.significance import Difference

if TYPE_CHECKING:
    from ..tasks import TaskSpec


class Gold(Protocol):
    """What some rows are scored by. Predictions are of a kind that only it looks into."""

    def __len__(self) -> int: ...

    def read(self, logits: np.ndarray, selected: Any = None) -> Any:
        """The predictions that logits are.

        Args:
            logits: of the rows, as `build_predictor` gives them.
            selected: what the same model says of the selection rows, whose threshold is taken, where there is one; with
                None that which suits these rows best.
        """

    def score(self, predictions: Any, rows: np.ndarray | None = None) -> float:
        """The main metric, of all rows or of some, which may be repeated."""

    def describe(self, predictions: Any) -> dict[str, float]:
        """All metrics."""

    def compare(self, first: Any, second: Any) -> Difference:
        """Whether two models' predictions differ by more than chance."""

    def combine(
        self, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Logits of several models as one; modes are those of `combine_log_probabilities`."""

    def fit_weights(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        """What each of several models counts for the mode "weighted"."""

    def fit_calibration(self, logits: np.ndarray) -> Calibration | None:
        """The scale of logits on which probabilities mean what they say; None where there are none."""

    def differ(self, predictions: Any) -> bool:
        """Whether something else is said of some row than of another."""

    def show(self, predictions: Any = None) -> list[str]:
        """Predictions as text; with None what is right."""

    def show_confidence(self, predictions: Any, logits: np.ndarray) -> dict[str, np.ndarray]:
        """Columns, by name, of how sure the predictions are."""


@dataclasses.dataclass(frozen=True, eq=False)
class LabelGold:
    """Labels; predictions have their form.

    Attributes:
        task: whose they are.
        labels: as `Examples` has them.
    """

    task: TaskSpec
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, logits: np.ndarray, selected: np.ndarray | None = None) -> np.ndarray:
        return self.task.kind.decode(logits)

    def score(self, predictions: np.ndarray, rows: np.ndarray | None = None) -> float:
        rows = np.arange(len(self)) if rows is None else rows
        return compute_metric(self.task.main_metric, self.labels[rows], predictions[rows])

    def describe(self, predictions: np.ndarray) -> dict[str, float]:
        names = dict.fromkeys((*self.task.metrics, self.task.main_metric))
        return {name: compute_metric(name, self.labels, predictions) for name in names}

    def compare(self, first: np.ndarray, second: np.ndarray) -> Difference:
        return self.task.kind.compare(self.task.main_metric, self.labels, first, second)

    def combine(
        self, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
    ) -> np.ndarray:
        return self.task.kind.combine(logits, mode, weights)

    def fit_weights(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        return self.task.kind.fit_weights(logits, self.labels)

    def fit_calibration(self, logits: np.ndarray) -> Calibration | None:
        return self.task.kind.fit_calibration(logits, self.labels)

    def differ(self, predictions: np.ndarray) -> bool:
        return bool((np.ptp(predictions, axis=0) > 0).any())

    def show(self, predictions: np.ndarray | None = None) -> list[str]:
        found = self.labels if predictions is None else predictions
        return [self.task.kind.show(one, self.task.label_names) for one in found]

    def show_confidence(self, predictions: np.ndarray, logits: np.ndarray) -> dict[str, np.ndarray]:
        shares = self.task.kind.compute_probabilities(logits)
        return {f"p_{name}": share for name, share in zip(self.task.label_names, shares.T, strict=False)}
