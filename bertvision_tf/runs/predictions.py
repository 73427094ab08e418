"""What `Run.predict` and `Run.answer` return. The files of predictions are written by experiments/predictions.py."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..metrics.squad import stay_silent


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a run says of some texts.

    Attributes:
        labels: of each text the name of its class, or its score; where several classes may hold, a tuple of names. None
            where what predicts is not as sure as was asked for.
        probabilities: float32, (texts, classes), in the order of `label_names`; (texts, 0) for a regression.
        label_names: the classes.
    """

    labels: list[Any]
    probabilities: np.ndarray
    label_names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class FoundAnswer:
    """What a run answers to a question.

    Attributes:
        text: as it stands in the context; "" for no answer.
        start, end: the characters of the context where it begins and ends; None for no answer.
        score: of the best span, the logit of its start and that of its end together; None where there is no span.
        null_score: of "no answer", on the same scale.
        threshold: up to which `null_score` − `score` is answered; the selection rows chose it.
        candidates: the best spans, the best first, each (text, score, start, end).
    """

    text: str
    start: int | None
    end: int | None
    score: float | None
    null_score: float
    threshold: float
    candidates: list[tuple[str, float, int, int]]

    @property
    def null_odds(self) -> float | None:
        """`null_score` − `score`; None where there is no span."""
        return None if self.score is None else self.null_score - self.score

    @classmethod
    def choose(cls, candidates: list[tuple[str, float, int, int]], null_score: float, threshold: float) -> FoundAnswer:
        """The best candidate, or no answer."""
        if not candidates:
            return cls("", None, None, None, null_score, threshold, [])
        text, score, start, end = candidates[0]
        if stay_silent(null_score - score, threshold):
            return cls("", None, None, score, null_score, threshold, candidates)
        return cls(text, start, end, score, null_score, threshold, candidates)
