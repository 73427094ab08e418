"""Heads whose probabilities mean what they say on the selection rows."""

from __future__ import annotations

import dataclasses

from ..heads.scale import scale_head
from ..kinds import Gold
from ..metrics.calibration import Calibration
from .fit import FitResult


def calibrate_fit(fit: FitResult, selection: Gold) -> tuple[FitResult, Calibration | None]:
    """Brings the logits of a trained head to another scale. Neither a weight nor a prediction changes.

    Args:
        fit: of the head.
        selection: what the selection rows are scored by.

    Returns:
        the fit with a head of the same weights, and its logits, and what was done; None where there are no
        probabilities.
    """
    found = selection.fit_calibration(fit.selection_logits)
    if found is None:
        return fit, None
    head, logits = scale_head(fit.head, found.scale), found.apply(fit.selection_logits)
    return dataclasses.replace(fit, head=head, selection_logits=logits), found
