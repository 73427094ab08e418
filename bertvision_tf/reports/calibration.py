"""How far the probabilities of a run are from what happens on dev: a line, and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .plots import BLUE, GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tell_calibration(calibration: Mapping[str, Any]) -> str:
    """One line on how far probabilities are from what happens on dev."""
    before = calibration["error_before"]
    return (
        f"Calibration error on dev {calibration['error']:.3f}"
        + (f", {before:.3f} before the logits were scaled" if before is not None else "")
        + f"; exact probabilities would have {calibration['error_by_chance']:.3f} on so many rows."
    )


def draw_calibration(calibration: Mapping[str, Any]) -> Figure:
    """Of results.json's calibration: the share of right predictions by how sure they are, a dot's area by its rows; and
    the share of right rows by the share of rows that are predicted, the surest ones."""
    figure, (left, right) = new_figure(8.0, 3.4, 2)
    bins, steps = calibration["bins"], [one for one in calibration["coverage"] if one["dev_right"] is not None]
    sizes = np.array([one["rows"] for one in bins], float)
    low = min(one[name] for one in bins for name in ("confidence", "right"))
    left.plot([low, 1], [low, 1], color=GREY, linewidth=1, linestyle="--")
    points = [[one[name] for one in bins] for name in ("confidence", "right")]
    left.scatter(*points, s=8 + 120 * sizes / sizes.max(), color=BLUE, alpha=0.8, linewidths=0)
    left.set_xlabel("probability of the prediction")
    left.set_ylabel("share of right predictions")
    shares, found = ([one[name] for one in steps] for name in ("dev_share", "dev_right"))
    right.plot(shares, found, "o-", color=BLUE, markersize=3)
    right.set_xlabel("share of dev that is predicted")
    right.set_ylabel("share of right rows among them")
    return figure
