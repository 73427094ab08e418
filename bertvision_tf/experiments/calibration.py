"""What results.json says of probabilities: how far they are off, and how right the surest rows are."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..kinds import LabelGold
from ..metrics.calibration import bin_rows, expect_calibration_error, measure_calibration_error
from ..training.averaging import Together
from ..training.trial import Outcome, Trial

COVERAGES = tuple(share / 100 for share in range(100, 0, -5))


def describe_calibration(trial: Trial, predictor: Outcome | Together) -> dict[str, Any] | None:
    """How far the probabilities of what predicts are from what happens on dev, and how right it is where it is surest.

    Args:
        trial: whose stores it reads.
        predictor: a head, or all together.

    Returns:
        None where there are no probabilities.
    """
    gold, kind = trial.dev_golds[0], trial.task.kind
    if not isinstance(gold, LabelGold) or kind.numeric:
        return None
    logits, calibration = predictor.logits[0], predictor.calibration
    shares, chosen = (kind.compute_probabilities(part) for part in (logits, predictor.selection_logits))
    confidence, right = kind.judge(shares, gold.labels)
    before = None  # of several heads together: they were scaled one by one before
    if calibration and isinstance(predictor, Outcome):
        before = kind.judge(kind.compute_probabilities(calibration.undo(logits)), gold.labels)
    rows_right = (kind.decode(logits) == gold.labels).reshape(len(gold), -1).all(axis=1)
    sure, selected = kind.measure_confidence(shares), kind.measure_confidence(chosen)
    coverage = []
    for share in COVERAGES:
        threshold = float(np.quantile(selected, 1 - share))
        kept = sure >= threshold
        part = float(rows_right[kept].mean()) if kept.any() else None
        coverage.append({"share": share, "threshold": threshold, "dev_share": float(kept.mean()), "dev_right": part})
    return {
        "scale": calibration and calibration.scale,
        "error": measure_calibration_error(confidence, right),
        "error_before": measure_calibration_error(*before) if before else None,
        "error_by_chance": expect_calibration_error(confidence),
        "bins": [dataclasses.asdict(one) for one in bin_rows(confidence, right)],
        "coverage": coverage,
    }
