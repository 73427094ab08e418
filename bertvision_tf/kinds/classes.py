"""Tasks whose rows have one class each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.calibration import Calibration, fit_temperature
from ..metrics.ensembles import combine_log_probabilities, fit_weights
from .cells import Place, find_class, list_names
from .kind import Kind, Labels

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


ABSENT = -20.0  # the logit of a class that is not known


class Classes(Kind):
    """One class a row: labels are int32 (rows,), −1 where there is none; logits are (rows, classes)."""

    metrics = ("accuracy", "f1_macro", "matthews")
    main_metric = "accuracy"
    single = stratified = True
    least_classes = 2
    curvature = 0.5

    def read_labels(self, cells: Sequence[str | None], classes: Mapping[str, int], place: Place) -> Labels:
        found = (-1 if cell is None else find_class(classes, cell, place, row) for row, cell in enumerate(cells))
        return np.fromiter(found, np.int32, len(cells))

    def find_lack(self, labels: Labels, names: Sequence[str]) -> str:
        held = set(labels[labels >= 0].tolist())
        missing = [name for place, name in enumerate(names) if place not in held]
        if not held or not missing:
            return ""
        return f"hold {len(held)} of {len(names)} classes; missing: {list_names(missing)}"

    def show(self, label: Any, names: Sequence[str]) -> str:
        return names[label] if label >= 0 else ""

    def decode(self, logits: np.ndarray) -> Labels:
        """The most probable class of each row."""
        return logits.argmax(axis=1)

    def compute_probabilities(self, logits: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        return softmax(logits, axis=-1)

    def fit_calibration(self, logits: np.ndarray, labels: Labels) -> Calibration | None:
        known = labels >= 0
        return fit_temperature(logits[known], labels[known]) if known.any() else None

    def judge(self, shares: np.ndarray, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        return shares.max(axis=1), shares.argmax(axis=1) == labels

    def tell(self, logits: np.ndarray, names: Sequence[str]) -> list[str]:
        return [names[place] for place in self.decode(logits)]

    def combine(
        self, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
    ) -> np.ndarray:
        """The logarithms of probabilities, combined element by element."""
        from scipy.special import log_softmax

        return combine_log_probabilities([log_softmax(part, axis=-1) for part in logits], mode, weights)

    def fit_weights(self, logits: Sequence[np.ndarray], labels: Labels) -> np.ndarray:
        from scipy.special import log_softmax

        rows = np.arange(len(labels))
        return fit_weights(np.stack([log_softmax(part, axis=-1)[rows, labels] for part in logits]))

    def build_loss(self, mixed: bool = False) -> keras.losses.Loss:
        import keras

        if mixed:
            return keras.losses.CategoricalCrossentropy(from_logits=True)
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def decide(self, logits: Any, target: Any) -> tf.Tensor:
        """The log odds of a class against all others."""
        import tensorflow as tf

        others = tf.where(tf.range(logits.shape[-1]) == target, -np.inf, logits[0])
        return logits[0, target] - tf.reduce_logsumexp(others)

    def fit_constant(self, labels: Labels) -> tuple[str, Any]:
        return "majority", np.bincount(labels).argmax()

    def fit_linear(
        self, features: np.ndarray, labels: Labels, outputs: int, strength: float, counts: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A class that no row has gets the logit ABSENT, whatever the features."""
        kernel, bias = np.zeros((features.shape[1], outputs)), np.full(outputs, ABSENT)
        held = np.unique(labels)
        if len(held) == 1:
            bias[held] = 0
            return kernel, bias
        model = self.build_linear(strength).fit(features, labels, counts)
        if len(held) == 2:  # one row of weights, for the second
            kernel[:, held[1]], bias[held] = model.coef_[0], [0, model.intercept_[0]]
        else:
            kernel[:, held], bias[held] = model.coef_.T, model.intercept_
        return kernel, bias

    def list_targets(self, labels: Labels, outputs: int) -> np.ndarray:
        return np.eye(outputs)[labels]

    def expect(self, logits: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        return softmax(logits, axis=1)

    def find_logits(self, means: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(means, np.exp(ABSENT)))

    def serve(self, logits: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        label = tf.gather(tf.constant(list(names)), tf.argmax(logits, axis=1))
        return {"label": label, "probabilities": tf.nn.softmax(logits)}
