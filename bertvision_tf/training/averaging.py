"""The trained heads of a run as one model, and what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..heads import MeanOfLogits, average_heads
from ..kinds import AnswerPredictions
from .trial import Outcome, Trial


@dataclasses.dataclass(frozen=True, eq=False)
class Together:
    """Several heads as one model, and what it says.

    Attributes:
        head: the model.
        selection_score: main metric on the selection rows; of folds what the heads come to on their own rows.
        threshold: of questions, up to which null odds are answered, chosen on these rows. None of labels.
        logits, predictions: of each dev split.
    """

    head: keras.Model
    selection_score: float
    threshold: float | None
    logits: list[np.ndarray]
    predictions: list[Any]


def average_outcomes(trial: Trial, outcomes: Sequence[Outcome], folds: bool) -> Together:
    """Makes one model of heads, and of what they say what it says: no row is read again.

    Args:
        trial: one whose stores they all read.
        outcomes: of the heads.
        folds: whether each was selected on rows of its own, or all on those of the trial.
    """
    kind = trial.task.kind
    head, mean = average_heads([one.head for one in outcomes], str(kind)), MeanOfLogits(str(kind))
    if folds:
        selected = AnswerPredictions.pool([one.selection for one in outcomes]) if kind.answers else None
        scores = [one.fit.selection_score for one in outcomes]
        score = float(np.mean(scores) if selected is None else 100 * selected.f1.mean())
    else:
        selected = trial.selection_gold.read(np.asarray(mean([one.fit.selection_logits for one in outcomes])))
        score = trial.selection_gold.score(selected)
    logits = [np.asarray(mean(list(parts))) for parts in zip(*(one.logits for one in outcomes), strict=True)]
    found = [gold.read(part, selected) for gold, part in zip(trial.dev_golds, logits, strict=True)]
    threshold = selected.threshold if isinstance(selected, AnswerPredictions) else None
    return Together(head, score, threshold, logits, found)
