"""What the labels of a task are, and all that follows from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.ensembles import MODES
from ..metrics.significance import Difference, compare_classes
from .cells import Place
from .gold import Gold, LabelGold

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ..metrics.calibration import Calibration
    from ..tasks import Examples, TaskSpec

Labels = np.ndarray  # int32 classes (rows,); float32 scores (rows,); int32 0 and 1 (rows, classes)
FindWindows = Callable[[], Sequence[np.ndarray]]  # offsets, questions, char_offsets, spans, as `AnswerGold` has them


class Kind(str, ABC):
    """A kind of task. It is its name, as config.json and tables have it, and knows what differs between kinds.

    Each kind is one object of this room; code elsewhere calls it, or asks for one of its attributes. A kind with
    `answers` has no labels and logits of rows: `AnswerGold` reads the logits of tokens.

    Attributes:
        metrics, main_metric: of a table of the user's.
        single: whether a row has exactly one class.
        several: whether a row has any number of classes.
        numeric: whether labels are numbers.
        answers: whether what is predicted is a part of the second text, which is read window by window.
        stratified: whether rows are split so that each part has the same share of each label.
        least_classes: with fewer there is nothing to tell apart.
        head: the kind of head, as `build_head` takes it.
        modes: how several models may be combined.
        linear: what the linear model of the baselines is called.
        curvature: of a row's loss in its logits, at most.
        layer_strengths: scikit-learn's C to choose from, on standardised states; a ridge regression's alpha is 1 / C.
        score_name: what the mean of `score_cells`, times `score_factor`, is called.
        confidence_name: what `read_confidence` is called; "" where there is none.
    """

    metrics: tuple[str, ...]
    main_metric: str
    single = several = numeric = answers = stratified = False
    least_classes = 0
    head = "classification"
    modes: tuple[str, ...] = MODES
    linear = "logistic regression"
    curvature = 1.0
    layer_strengths: tuple[float, ...] = (0.0003, 0.001, 0.01, 0.1)
    score_name = "accuracy"
    score_factor = 1
    confidence_name = "probability"

    def __reduce__(self) -> tuple[Any, ...]:
        from . import find_kind

        return find_kind, (str(self),)

    # Labels in files

    def count_outputs(self, names: Sequence[str]) -> int:
        """Numbers that a head gives a row, or a token of an answer's text."""
        return len(names)

    def read_labels(self, cells: Sequence[str | None], classes: Mapping[str, int], place: Place) -> Labels:
        """Labels as they stand in files → numbers; None where there is no label.

        Raises:
            TaskError: a label is no class, or no number.
        """
        raise NotImplementedError

    def show(self, label: Any, names: Sequence[str]) -> str:
        """One row's label as it stands in a file: what `read_labels` reads; "" where there is none."""
        raise NotImplementedError

    def find_lack(self, labels: Labels, names: Sequence[str]) -> str:
        """What is not to be learned or scored from rows with these labels, said of the rows; "" where nothing is
        missing, or no label is known."""
        return ""

    # Predictions

    def decode(self, logits: np.ndarray) -> Labels:
        """Predictions in the form of labels, of logits (rows, outputs)."""
        raise NotImplementedError

    def compute_probabilities(self, logits: np.ndarray) -> np.ndarray:
        """float, (rows, classes) of logits (rows, classes); (rows, 0) where there are no classes."""
        return np.zeros((len(logits), 0), np.float32)

    def fit_calibration(self, logits: np.ndarray, labels: Labels) -> Calibration | None:
        """The scale of logits on which probabilities mean what they say, found on rows that were not trained on; None
        where there are no probabilities, or no labels.

        Args:
            logits: (rows, classes).
            labels: of the same rows.
        """
        return None

    def judge(self, shares: np.ndarray, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        """How sure each decision is, and whether it is right; a row of several labels is a decision for each class.

        Args:
            shares: as `compute_probabilities` gives them.
            labels: of the same rows.
        """
        raise NotImplementedError

    def measure_confidence(self, shares: np.ndarray) -> np.ndarray:
        """How sure each row is, (rows,), of what `compute_probabilities` gives."""
        return shares.max(axis=1)

    def tell(self, logits: np.ndarray, names: Sequence[str]) -> list[Any]:
        """What a user is told of each row: the name of its class, its score, or a tuple of names."""
        raise NotImplementedError

    def write(self, told: Any) -> str:
        """What `tell` gives of a row, as it stands in a file of predictions."""
        return str(told)

    def tell_one(self, told: Any) -> str:
        """What `tell` gives of a row, as pictures and the demo show it."""
        return self.display(self.write(told))

    def display(self, cell: str) -> str:
        """A label or a prediction of a file, as reports show it."""
        return cell

    # Several models

    def combine(
        self, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Logits of several models as one, (rows, outputs).

        Args:
            logits: of each model, (rows, outputs).
            mode, weights: as `combine_log_probabilities`'.
        """
        raise NotImplementedError

    def fit_weights(self, logits: Sequence[np.ndarray], labels: Labels) -> np.ndarray:
        """What each of several models counts in a weighted mean, float (models,)."""
        raise NotImplementedError

    def compare(self, metric: str, labels: Labels, first: Labels, second: Labels) -> Difference:
        """Whether two models' predictions differ by more than chance."""
        return compare_classes(labels, first, second)

    # Training

    @abstractmethod
    def build_loss(self, mixed: bool = False) -> keras.losses.Loss | dict[str, keras.losses.Loss]:
        """What training makes small, of logits against labels; `mixed` ones are shares of each class."""

    def choose_scale(self, labels: Labels) -> tuple[float, float] | None:
        """Mean and deviation by which labels are put on one scale in training; None where they stay as they are."""
        return None

    def scale_labels(self, labels: Labels, rows: np.ndarray) -> tuple[Labels, tuple[float, float]]:
        """Labels on the scale of some rows, and its mean and deviation; 0 and 1 where they stay as they are."""
        scale = self.choose_scale(labels[rows])
        return (labels, (0.0, 1.0)) if scale is None else ((labels - scale[0]) / scale[1], scale)

    def arrange(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Batches of (inputs, labels) with labels as the loss takes them."""
        return batches

    @abstractmethod
    def decide(self, logits: Any, target: Any) -> tf.Tensor:
        """The number that speaks for a decision on one image, which saliency divides among its cells.

        Args:
            logits: of a head, of one image.
            target: what was decided, in the form of a label; of an answer its first and its last token.
        """

    def fit_constant(self, labels: Labels) -> tuple[str, Any]:
        """What always predicting the same means here: its name, and the label."""
        raise NotImplementedError

    def build_linear(self, strength: float) -> Any:
        """The linear model of the baselines, unfitted.

        Args:
            strength: scikit-learn's C.
        """
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=strength, max_iter=200, tol=1e-3)

    def fit_linear(
        self, features: np.ndarray, labels: Labels, outputs: int, strength: float, counts: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The weights of a dense layer that is fitted at once: float, (features, outputs) and (outputs,).

        Args:
            features: (rows, features), each on one scale.
            labels: of the same rows.
            outputs: numbers that the layer gives.
            strength: as `build_linear`'s.
            counts: what each row counts, of single classes; 1 with None.
        """
        raise NotImplementedError

    def list_targets(self, labels: Labels, outputs: int) -> np.ndarray:
        """What `expect` of a row's logits should be: float (rows, outputs)."""
        raise NotImplementedError

    def expect(self, logits: np.ndarray) -> np.ndarray:
        """What logits (rows, outputs) say of the targets; the loss's slope is its difference from them."""
        raise NotImplementedError

    def find_logits(self, means: np.ndarray) -> np.ndarray:
        """The logits of which `expect` gives the means of targets, (outputs,)."""
        raise NotImplementedError

    def measure_loss(self, logits: np.ndarray, labels: Labels) -> float:
        """The mean loss of rows."""
        loss: Any = self.build_loss()
        return float(loss(labels, logits))

    def build_gold(self, task: TaskSpec, examples: Examples, find_windows: FindWindows) -> Gold:
        """What rows are scored by.

        Args:
            task: whose metrics count.
            examples: the rows.
            find_windows: called where the rows are read window by window.
        """
        return LabelGold(task, examples.labels)

    # Serving

    @abstractmethod
    def serve(self, logits: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        """What a client of a served model is told, by the names of outputs."""

    # Files of predictions

    def read_gold(self, labels: Sequence[str]) -> Sequence[Any]:
        """What predictions are held against, of the column of labels: the labels; of questions their gold answers."""
        return labels

    def score_cells(self, gold: Sequence[Any], predictions: Sequence[str]) -> np.ndarray:
        """float, (rows,), of what `read_gold` gives and a column of predictions.csv: 1 where right, 0 where wrong."""
        return np.array([one == other for one, other in zip(gold, predictions, strict=True)], float)

    def find_wrong(self, scores: np.ndarray) -> np.ndarray:
        """bool, (rows,), of what `score_cells` gives."""
        return scores < 1

    def read_confidence(self, columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> np.ndarray:
        """float, (rows,): how sure each prediction is."""
        return self.measure_confidence(np.array([columns[f"p_{name}"] for name in names], float).T)

    def weigh(self, scores: np.ndarray, confidence: np.ndarray, predictions: Sequence[str]) -> np.ndarray:
        """float, (rows,): the higher, the surer a wrong prediction was."""
        return confidence

    def compare_cells(
        self, metric: str, labels: Sequence[str], found: Sequence[Sequence[str]], scores: Sequence[np.ndarray]
    ) -> Difference:
        """Whether two runs' files of predictions differ by more than chance.

        Args:
            metric: the main one.
            labels: of the rows.
            found, scores: of each run the predictions, and what `score_cells` gives of them.
        """
        return compare_classes(np.ones(len(labels), int), *(part.astype(int) for part in scores))
