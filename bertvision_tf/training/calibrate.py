"""Heads whose probabilities mean what they say on the selection rows."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..heads.model import scale_logits
from ..kinds import Gold
from ..metrics.calibration import Calibration
from .fit import FitResult


def calibrate_fit(fit: FitResult, selection: Gold) -> tuple[FitResult, Calibration | None]:
    """Brings the logits of a trained head to another scale, by the weights of its last layer. No prediction changes.

    Args:
        fit: its head is changed.
        selection: what the selection rows are scored by.

    Returns:
        the fit with logits as the head gives them now, and what was done; None where there are no probabilities.
    """
    found = selection.fit_calibration(fit.selection_logits)
    if found is None:
        return fit, None
    scale_logits(fit.head, np.asarray(found.scale))
    return dataclasses.replace(fit, selection_logits=found.apply(fit.selection_logits)), found
