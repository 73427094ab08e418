"""Tasks whose rows are questions, answered by a part of the second text. Gold answers and decoding: `answers.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics.significance import Difference, compare_scores
from ..metrics.squad import score_answers
from .answers import AnswerGold
from .gold import Gold
from .kind import FindWindows, Kind, Labels

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ..tasks import Examples, TaskSpec

SPAN_LOGITS = ("start_logits", "end_logits")
NO_ANSWER = "(no answer)"


class Spans(Kind):
    """An answer a question: labels say whether there is one, int32 (rows,); those of windows are the first and the
    last token of the answer, int32 (windows, 2); logits are (tokens, 2), of starts and ends."""

    metrics = ("exact", "f1")
    main_metric = "f1"
    answers = stratified = True
    head = "span"
    score_name = "F1"
    score_factor = 100
    confidence_name = "odds of no answer"

    def count_outputs(self, names: Sequence[str]) -> int:
        return 2

    def find_lack(self, labels: Labels, names: Sequence[str]) -> str:
        return "have no answer, none of them" if len(labels) and not labels.any() else ""

    def tell_one(self, told: Any) -> str:
        return told or "no answer"

    def display(self, cell: str) -> str:
        return cell or NO_ANSWER

    def build_loss(self, mixed: bool = False) -> dict[str, keras.losses.Loss]:
        """Of the tokens at which an answer starts and ends."""
        import keras

        return {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in SPAN_LOGITS}

    def arrange(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Labels by the names of the logits: int (batch,) of starts and of ends."""
        import tensorflow as tf

        def name(inputs: Any, span: Any) -> tuple[Any, dict[str, tf.Tensor]]:
            sides = span.values() if isinstance(span, Mapping) else tf.unstack(span, axis=1)
            return inputs, dict(zip(SPAN_LOGITS, sides, strict=True))

        return batches.map(name)

    def decide(self, logits: Any, target: Any) -> tf.Tensor:
        """The logits of the span's start and of its end together, both at the first token for "no answer"."""
        import tensorflow as tf

        return tf.add_n([logits[name][0, place] for name, place in zip(SPAN_LOGITS, target, strict=True)])

    def build_gold(self, task: TaskSpec, examples: Examples, find_windows: FindWindows) -> Gold:
        return AnswerGold(examples, *find_windows())

    def serve(self, logits: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        """The logits of starts and ends, of which `find_answers` makes texts."""
        return {name: logits[..., place] for place, name in enumerate(SPAN_LOGITS)}

    def read_gold(self, labels: Sequence[str]) -> list[list[str]]:
        """The gold answers of each question, which `AnswerGold.show` writes as JSON."""
        return [json.loads(cell) for cell in labels]

    def score_cells(self, gold: Sequence[Any], predictions: Sequence[str]) -> np.ndarray:
        """F1, 0 to 1, of the best gold answer."""
        return score_answers(gold, predictions).f1

    def read_confidence(self, columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> np.ndarray:
        """The odds of "no answer"."""
        return np.array(columns["null_odds"], float)

    def weigh(self, scores: np.ndarray, confidence: np.ndarray, predictions: Sequence[str]) -> np.ndarray:
        silent = np.array([not text for text in predictions])
        return np.where(silent, confidence, -confidence)

    def compare_cells(
        self, metric: str, labels: Sequence[str], found: Sequence[Sequence[str]], scores: Sequence[np.ndarray]
    ) -> Difference:
        first, second = (100 * part for part in scores)
        return compare_scores(lambda _, f1: float(f1.mean()), first, first, second)
