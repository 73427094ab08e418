"""Tasks whose rows have any number of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.calibration import Calibration, fit_temperatures
from ..metrics.ensembles import combine_log_probabilities, fit_weights
from .cells import SEPARATOR, Place, find_class, list_names, split_classes
from .kind import Kind, Labels

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

NO_LABEL = "no label"
CERTAIN = 20.0  # the logit of a class that always holds


class LabelSets(Kind):
    """Any number of classes a row: labels are int32 (rows, classes) of 0 and 1, −1 where there is no label; logits are
    (rows, classes)."""

    metrics = ("f1_micro", "f1_macro", "accuracy")
    main_metric = "f1_micro"
    several = True
    least_classes = 1
    curvature = 0.25
    score_name = "all labels right"

    def read_labels(self, cells: Sequence[str | None], classes: Mapping[str, int], place: Place) -> Labels:
        table = np.zeros((len(cells), len(set(classes.values()))), np.int32)
        for row, cell in enumerate(cells):
            if cell is None:
                table[row] = -1
            else:
                table[row, [find_class(classes, name, place, row) for name in split_classes(cell)]] = 1
        return table

    def find_lack(self, labels: Labels, names: Sequence[str]) -> str:
        known = labels[(labels >= 0).all(axis=1)]
        if not len(known):
            return ""
        found = []
        for word, side in (("never", known.max(axis=0) == 0), ("always", known.min(axis=0) == 1)):
            missing = [names[int(place)] for place in np.flatnonzero(side)]
            found += [f"{word} hold {list_names(missing)}"] * bool(missing)
        return "; ".join(found)

    def show(self, label: Any, names: Sequence[str]) -> str:
        return self.write([names[int(place)] for place in np.flatnonzero(label > 0)])

    def decode(self, logits: np.ndarray) -> Labels:
        """1 where a class is more likely to hold than not."""
        return (logits > 0).astype(np.int32)

    def compute_probabilities(self, logits: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        return expit(logits)

    def fit_calibration(self, logits: np.ndarray, labels: Labels) -> Calibration | None:
        known = (labels >= 0).all(axis=1)
        return fit_temperatures(logits[known], labels[known]) if known.any() else None

    def judge(self, shares: np.ndarray, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        return np.maximum(shares, 1 - shares).ravel(), ((shares > 0.5) == (labels > 0)).ravel()

    def measure_confidence(self, shares: np.ndarray) -> np.ndarray:
        """The probability of what is said of the least sure class."""
        return np.maximum(shares, 1 - shares).min(axis=1)

    def tell(self, logits: np.ndarray, names: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(name for name, holds in zip(names, row, strict=True) if holds) for row in self.decode(logits)]

    def write(self, told: Any) -> str:
        return SEPARATOR.join(told)

    def display(self, cell: str) -> str:
        return ", ".join(split_classes(cell)) or NO_LABEL

    def combine(
        self, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
    ) -> np.ndarray:
        """The logarithms of probabilities of each class and of its absence, so that the surest model of each class
        decides by the maximum."""
        from scipy.special import log_expit

        sides = ([log_expit(sign * part) for part in logits] for sign in (1, -1))
        holds, fails = (combine_log_probabilities(side, mode, weights) for side in sides)
        return holds - fails

    def fit_weights(self, logits: Sequence[np.ndarray], labels: Labels) -> np.ndarray:
        from scipy.special import log_expit

        return fit_weights(np.stack([log_expit(np.where(labels > 0, part, -part)).ravel() for part in logits]))

    def build_loss(self, mixed: bool = False) -> keras.losses.Loss:
        import keras

        return keras.losses.BinaryCrossentropy(from_logits=True)

    def decide(self, logits: Any, target: Any) -> tf.Tensor:
        """The log-probability of the classes that hold and of the others' absence."""
        import tensorflow as tf

        return tf.reduce_sum(tf.math.log_sigmoid(tf.where(np.asarray(target) > 0, logits[0], -logits[0])))

    def fit_constant(self, labels: Labels) -> tuple[str, Any]:
        return "majority", (labels.mean(axis=0) > 0.5).astype(np.int32)

    def build_linear(self, strength: float) -> Any:
        from sklearn.multiclass import OneVsRestClassifier

        return OneVsRestClassifier(super().build_linear(strength))

    def fit_linear(
        self, features: np.ndarray, labels: Labels, outputs: int, strength: float, counts: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A regression for each class; one that always or never holds has a logit that says so."""
        kernel, bias = np.zeros((features.shape[1], outputs)), np.zeros(outputs)
        for place, holds in enumerate(labels.T > 0):
            if holds.all() or not holds.any():
                bias[place] = CERTAIN if holds.all() else -CERTAIN
                continue
            model = super().build_linear(strength).fit(features, holds)
            kernel[:, place], bias[place] = model.coef_[0], model.intercept_[0]
        return kernel, bias

    def list_targets(self, labels: Labels, outputs: int) -> np.ndarray:
        return labels.astype(float)

    def expect(self, logits: np.ndarray) -> np.ndarray:
        from scipy.special import expit

        return expit(logits)

    def find_logits(self, means: np.ndarray) -> np.ndarray:
        from scipy.special import logit

        return np.clip(logit(means), -CERTAIN, CERTAIN)

    def serve(self, logits: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        every = tf.tile(tf.constant(list(names))[None], [tf.shape(logits)[0], 1])
        label = tf.strings.reduce_join(tf.ragged.boolean_mask(every, logits > 0), axis=1, separator=SEPARATOR)
        return {"label": label, "probabilities": tf.sigmoid(logits)}
