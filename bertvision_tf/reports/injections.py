"""Injections as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .plots import Line, draw_group_scores, draw_lines, draw_ridges, write_png

if TYPE_CHECKING:
    from ..experiments.injection.layers import LayerCell
    from ..experiments.injection.weights import WeightCell


def plot_weight_injection(cells: Sequence[WeightCell], lines: Path, ridges: Path) -> None:
    """The score by the share that was put back: a line a group, and ridges of all draws and seeds.

    Args:
        cells: of one table.
        lines, ridges: the PNGs.
    """
    groups = list(dict.fromkeys(cell.group for cell in cells))
    shares = sorted({cell.share for cell in cells})
    scores = {
        group: {share: [cell.score for cell in cells if (cell.group, cell.share) == (group, share)] for share in shares}
        for group in groups
    }
    drawn: dict[str, Line] = {group: Line() for group in groups}
    for group, share in ((group, share) for group in groups for share in shares if scores[group][share]):
        found = scores[group][share]
        drawn[group].add(share, float(np.mean(found)), float(np.std(found, ddof=1)) if len(found) > 1 else None)
    title = f"{cells[0].task}: fine-tuned weights put back"
    write_png(draw_lines(drawn, "share of the group put back", cells[0].metric, title), lines)
    write_png(draw_ridges(scores, "share put back", cells[0].metric, title), ridges)


def plot_layer_injection(cells: Sequence[LayerCell], file: Path) -> None:
    """A heat map of scores: a row a block, a column a number of layers and a bottleneck; means over seeds."""
    blocks = sorted({cell.block for cell in cells})
    columns = sorted({(cell.layers or math.inf, cell.bottleneck) for cell in cells})
    scores = np.full((len(blocks), len(columns)), np.nan)
    for place in np.ndindex(scores.shape):
        wanted = (blocks[place[0]], *columns[place[1]])
        found = [cell.score for cell in cells if (cell.block, cell.layers or math.inf, cell.bottleneck) == wanted]
        scores[place] = np.mean(found) if found else np.nan
    names = [f"{'all' if layers == math.inf else layers} to {bottleneck}" for layers, bottleneck in columns]
    title = f"{cells[0].task}: last layers (columns) fed through a bottleneck"
    limits = float(np.nanmin(scores)), float(np.nanmax(scores))
    rows = [f"before block {block}" for block in blocks]
    write_png(draw_group_scores(scores, rows, names, title, cells[0].metric, limits), file)
