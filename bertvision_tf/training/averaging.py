"""The trained heads of a run as one model, and what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..heads import MeanOfLogits, average_heads
from ..kinds import AnswerPredictions
from ..metrics.calibration import Calibration
from .trial import Outcome, Trial


@dataclasses.dataclass(frozen=True, eq=False)
class Together:
    """Several heads as one model, and what it says.

    Attributes:
        head: the model.
        selection_score: main metric on the selection rows; of folds what the heads come to on their own rows.
        selection_logits: of the selection rows; of folds those of each head on its own rows, one after the other.
        threshold: of questions, up to which null odds are answered, chosen on these rows. None of labels.
        calibration: as an `Outcome`'s, of the mean of heads that were scaled one by one. None of folds: some head was
            trained on each row.
        logits, predictions: of each dev split.
    """

    head: keras.Model
    selection_score: float
    selection_logits: np.ndarray
    threshold: float | None
    calibration: Calibration | None
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
    heads, mean, calibration = [one.head for one in outcomes], MeanOfLogits(str(kind)), None
    chosen = [one.selection_logits for one in outcomes]
    if folds:
        selected = AnswerPredictions.pool([one.selection for one in outcomes]) if kind.answers else None
        scores = [one.fit.selection_score for one in outcomes]
        score = float(np.mean(scores) if selected is None else 100 * selected.f1.mean())
        selection_logits = np.concatenate(chosen)
    else:
        selection_logits = np.asarray(mean(chosen))
        calibration = trial.selection_gold.fit_calibration(selection_logits)
        selection_logits = _apply(calibration, selection_logits)
        selected = trial.selection_gold.read(selection_logits)
        score = trial.selection_gold.score(selected)
    every = zip(*(one.logits for one in outcomes), strict=True)
    logits = [_apply(calibration, np.asarray(mean(list(parts)))) for parts in every]
    found = [gold.read(part, selected) for gold, part in zip(trial.dev_golds, logits, strict=True)]
    threshold = selected.threshold if isinstance(selected, AnswerPredictions) else None
    head = average_heads(heads, str(kind), calibration)
    return Together(head, score, selection_logits, threshold, calibration, logits, found)


def _apply(calibration: Calibration | None, logits: np.ndarray) -> np.ndarray:
    return logits if calibration is None else calibration.apply(logits)
