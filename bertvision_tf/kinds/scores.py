"""Tasks whose rows have a number each."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TaskError
from ..metrics.ensembles import fit_score_weights
from ..metrics.glue import compute_metric
from ..metrics.significance import Difference, compare_scores
from .cells import Place, read_number
from .kind import Kind, Labels

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

FURTHEST = 0.1  # of the rows count as wrong: those furthest off


class Scores(Kind):
    """A number a row: labels are float32 (rows,), nan where there is none; logits are (rows, 1)."""

    metrics = ("pearson", "spearman")
    main_metric = "pearson_and_spearman"
    numeric = True
    head = "regression"
    modes = ("mean", "weighted")
    linear = "ridge regression"
    layer_strengths = (0.00003, 0.0001, 0.001, 0.01, 1.0)
    score_name = "mean distance"
    score_factor = -1
    confidence_name = ""

    def count_outputs(self, names: Sequence[str]) -> int:
        return 1

    def find_lack(self, labels: Labels, names: Sequence[str]) -> str:
        known = labels[~np.isnan(labels)]
        return f"have one score, {known[0]:g}: there is nothing to tell apart" if len(set(known.tolist())) == 1 else ""

    def read_labels(self, cells: Sequence[str | None], classes: Mapping[str, int], place: Place) -> Labels:
        def read(cell: str | None, row: int) -> float:
            number = float("nan") if cell is None else read_number(cell)
            if number is None:
                raise TaskError(f"{place(row)}: expected a number as label, got {cell!r}.")
            return number

        return np.fromiter((read(cell, row) for row, cell in enumerate(cells)), np.float32, len(cells))

    def show(self, label: Any, names: Sequence[str]) -> str:
        return "" if np.isnan(label) else self.write(label)

    def decode(self, logits: np.ndarray) -> Labels:
        return logits[:, 0]

    def tell(self, logits: np.ndarray, names: Sequence[str]) -> list[float]:
        return [float(score) for score in self.decode(logits)]

    def write(self, told: Any) -> str:
        """The shortest number that is the same float32."""
        return str(np.float32(told))

    def tell_one(self, told: Any) -> str:
        return f"{told:.3f}"

    def display(self, cell: str) -> str:
        return f"{float(cell):.3f}"

    def combine(
        self, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
    ) -> np.ndarray:
        """The mean, with the weights if there are any."""
        return np.average(logits, axis=0, weights=weights)

    def fit_weights(self, logits: Sequence[np.ndarray], labels: Labels) -> np.ndarray:
        return fit_score_weights(np.stack([part[:, 0] for part in logits]), labels)

    def compare(self, metric: str, labels: Labels, first: Labels, second: Labels) -> Difference:
        return compare_scores(functools.partial(compute_metric, metric), labels, first, second)

    def build_loss(self, mixed: bool = False) -> keras.losses.Loss:
        import keras

        return keras.losses.MeanSquaredError()

    def choose_scale(self, labels: Labels) -> tuple[float, float]:
        return float(labels.mean()), float(labels.std()) or 1.0

    def decide(self, logits: Any, target: Any) -> tf.Tensor:
        """The score."""
        return logits[0, 0]

    def fit_constant(self, labels: Labels) -> tuple[str, Any]:
        return "mean", labels.mean()

    def build_linear(self, strength: float) -> Any:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=1 / strength)

    def fit_linear(
        self, features: np.ndarray, labels: Labels, outputs: int, strength: float, counts: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        model = self.build_linear(strength).fit(features.astype(np.float64), labels)  # it squares them
        return model.coef_.reshape(-1, 1), np.reshape(model.intercept_, 1)

    def list_targets(self, labels: Labels, outputs: int) -> np.ndarray:
        return labels.reshape(-1, 1)

    def expect(self, logits: np.ndarray) -> np.ndarray:
        return logits

    def find_logits(self, means: np.ndarray) -> np.ndarray:
        return means

    def serve(self, logits: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        return {"score": logits[:, 0]}

    def score_cells(self, gold: Sequence[Any], predictions: Sequence[str]) -> np.ndarray:
        """Minus the distance from the label."""
        return -np.abs(np.array(gold, float) - np.array(predictions, float))

    def find_wrong(self, scores: np.ndarray) -> np.ndarray:
        """The tenth of the rows that are furthest off."""
        return scores < np.quantile(scores, FURTHEST)

    def read_confidence(self, columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> np.ndarray:
        """Not a number: a score says nothing of how sure it is."""
        return np.full(len(columns["id"]), np.nan)

    def weigh(self, scores: np.ndarray, confidence: np.ndarray, predictions: Sequence[str]) -> np.ndarray:
        """How far off each row is."""
        return -scores

    def compare_cells(
        self, metric: str, labels: Sequence[str], found: Sequence[Sequence[str]], scores: Sequence[np.ndarray]
    ) -> Difference:
        return self.compare(metric, *(np.array(part, float) for part in (labels, *found)))
