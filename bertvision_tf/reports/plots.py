"""How things are drawn: figures, and their files.

Black is for text, axes and dots: a page in dark mode draws it in its own colour.
"""

from __future__ import annotations

import dataclasses
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#4c78a8", "#e4572e", "#888888"
ON_COLOUR = "#010101"  # text on a coloured cell, which stays dark
NAMED_TOKENS = 120  # of a picture; of a longer one every second or third has its name
PENALTY_TICKS = (0.8, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01)
MARKERS = "osD^vP*X<>h"


def draw_layer_weights(weights: np.ndarray, names: Sequence[str]) -> Figure:
    """The softmaxed weights that learned pooling gives each layer: mean over seeds, a dot for each seed.

    Args:
        weights: (seeds, layers), each row sums to 1.
        names: of the layers.
    """
    figure, axes = new_figure(max(5.0, 0.45 * len(names)), 3.2)
    places = np.arange(len(names))
    axes.bar(places, weights.mean(axis=0), color=BLUE, width=0.7)
    for row in weights:
        axes.plot(places, row, "o", color="black", markersize=3, alpha=0.6)
    axes.axhline(1 / len(names), color=GREY, linewidth=1, linestyle="--", label="equal weights")
    axes.set_xticks(places, names)
    axes.set_xlabel("hidden state (0 = embeddings)")
    axes.set_ylabel("layer weight")
    axes.set_title(f"What learned pooling reads ({len(weights)} seeds)")
    axes.legend(frameon=False)
    return figure


def draw_layer_losses(losses: Sequence[float], names: Sequence[str], metric: str) -> Figure:
    """What a head's score loses on the selection rows when one layer says nothing.

    Args:
        losses: (layers,), fractions.
        names: of the layers.
        metric: what the score is.
    """
    figure, axes = new_figure(max(5.0, 0.45 * len(names)), 3.2)
    places = np.arange(len(names))
    axes.bar(places, losses, color=RED, width=0.7)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.set_xticks(places, names)
    axes.set_xlabel("hidden state (0 = embeddings)")
    axes.set_ylabel(f"loss of {metric}")
    axes.set_title("What is lost without each layer")
    return figure


def draw_layer_path(path: Mapping[str, Any], names: Sequence[str]) -> Figure:
    """How much a sparse head reads of each layer as its penalty falls.

    Args:
        path: penalties, a share of the one that leaves no layer; of each layer the norms of its weights at these; and
            which of the penalties was chosen.
        names: of the layers.
    """
    from matplotlib import colormaps

    figure, axes = new_figure(7.0, 3.6)
    for place, (name, norms) in enumerate(zip(names, path["norms"], strict=True)):
        axes.plot(path["penalties"], norms, label=name, color=colormaps["viridis"](place / len(names)))
    axes.axvline(path["penalties"][path["chosen"]], color=RED, linewidth=1, linestyle="--", label="chosen")
    axes.set_xscale("log")
    axes.set_xticks([], minor=True)
    ticks = [tick for tick in PENALTY_TICKS if tick >= 0.9 * path["penalties"][-1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.invert_xaxis()
    axes.set_xlabel("penalty (1: no layer is left)")
    axes.set_ylabel("norm of the layer's weights")
    axes.set_title("Which layers survive")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), title="hidden state")
    return figure


@dataclasses.dataclass
class Line:
    """A curve: values with their deviations, where there are several of each."""

    places: list[float] = dataclasses.field(default_factory=list)
    means: list[float] = dataclasses.field(default_factory=list)
    deviations: list[float] = dataclasses.field(default_factory=list)

    def add(self, place: float, mean: float, deviation: float | None) -> None:
        self.places.append(place)
        self.means.append(mean)
        self.deviations.append(deviation or 0.0)


def draw_lines(lines: Mapping[str, Line], across: str, metric: str, title: str, logarithmic: bool = False) -> Figure:
    """Scores as lines with bars of one deviation.

    Args:
        lines: by what they are called.
        across: what the horizontal axis is.
        metric: what the score is.
        title: above it.
        logarithmic: whether each step to the right multiplies.
    """
    figure, axes = new_figure(8.0, 4.2)
    for place, (name, line) in enumerate(lines.items()):
        style = {"marker": MARKERS[place % len(MARKERS)], "markersize": 4, "linewidth": 1.3, "capsize": 2}
        axes.errorbar(line.places, line.means, line.deviations, label=name, **style)
    if logarithmic:
        places = sorted({place for line in lines.values() for place in line.places})
        axes.set_xscale("log")
        axes.set_xticks(places, [f"{place:g}" for place in places], rotation=45)
        axes.set_xticks([], minor=True)
    axes.set_xlabel(across)
    axes.set_ylabel(metric)
    axes.set_title(title)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_ridges(scores: Mapping[str, Mapping[float, Sequence[float]]], across: str, metric: str, title: str) -> Figure:
    """How scores are spread, one curve of their density above the other, a panel a group.

    Args:
        scores: by group and, in rising order, by what makes a ridge.
        across: what makes a ridge.
        metric: what the score is.
        title: above all panels.
    """
    from scipy.stats import gaussian_kde

    every = [score for rows in scores.values() for own in rows.values() for score in own]
    low, high = min(every), max(every)
    margin = 0.08 * (high - low) or 0.01
    places = np.linspace(low - margin, high + margin, 300)
    figure, panels = new_figure(2.6 * len(scores) + 1, 4.2, len(scores))
    for axes, (group, rows) in zip(np.atleast_1d(panels), scores.items(), strict=True):
        for height, own in enumerate(rows.values()):
            if len(own) > 1 and np.ptp(own) > 0:
                density = gaussian_kde(own)(places)
            else:  # one score, or all the same: a peak
                density = np.exp(-(((places - own[0]) / (margin / 8)) ** 2)) if len(own) else np.zeros_like(places)
            curve = height + 1.4 * density / (density.max() or 1)
            axes.fill_between(places, height, curve, color=BLUE, alpha=0.7, zorder=-height)
            axes.plot(places, curve, color="white", linewidth=0.8, zorder=-height)
        axes.set_yticks(range(len(rows)), [f"{name:g}" for name in rows])
        axes.set_title(group.replace("_", " "), fontsize=9)
        axes.set_xlabel(metric, fontsize=8)
    np.atleast_1d(panels)[0].set_ylabel(across)
    figure.suptitle(title)
    return figure


def draw_group_scores(
    scores: np.ndarray,
    groups: Sequence[str],
    columns: Sequence[str],
    title: str,
    metric: str,
    limits: tuple[float, float] = (0.4, 1.0),
) -> Figure:
    """A heat map of scores: one row a group of examples, one column a model or layer.

    Args:
        scores: (groups, columns), fractions; a cell that is no number stays empty.
        groups, columns: their names.
        title, metric: shown above and beside the colours.
        limits: the scores of the darkest and of the brightest colour.
    """
    figure, axes = new_figure(2.6 + 0.75 * len(columns), 1.2 + 0.42 * len(groups))
    picture = axes.imshow(scores, cmap="viridis", vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(groups)), [group.replace("_", " ") for group in groups])
    for row, column in np.argwhere(np.isfinite(scores)):
        colour = "white" if scores[row, column] < (0.47 * limits[0] + 0.53 * limits[1]) else ON_COLOUR
        axes.text(column, row, f"{scores[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(title)
    figure.colorbar(picture, ax=axes, label=metric)
    return figure


def draw_image(pictures: Mapping[str, np.ndarray], layers: Sequence[str], tokens: Sequence[str]) -> Figure:
    """Pictures of one text, one above the other: layers from the bottom up, tokens from left to right.

    Args:
        pictures: by title, each float (layers, tokens); one with numbers below 0 is drawn in two colours around 0.
        layers, tokens: their names.
    """
    step = -(-len(tokens) // NAMED_TOKENS)
    wide = max(1.8 + 0.26 * len(tokens) / step, 4.5)
    figure, panels = new_figure(wide, (0.75 + 0.17 * len(layers)) * len(pictures) + 0.7, rows=len(pictures))
    for axes, (title, cells) in zip(np.atleast_1d(panels), pictures.items(), strict=True):
        most = float(np.nanmax(np.abs(cells))) or 1.0 if np.isfinite(cells).any() else 1.0
        signed = {"cmap": "RdBu_r", "vmin": -most, "vmax": most} if np.any(cells < 0) else {"cmap": "viridis"}
        picture = axes.imshow(cells, origin="lower", aspect="auto", interpolation="nearest", **signed)
        axes.set_title(escape_math(title), fontsize=9, loc="left")
        axes.set_yticks(range(len(layers)), layers, fontsize=7)
        axes.set_xticks([])
        figure.colorbar(picture, ax=axes, pad=0.01, aspect=10).ax.tick_params(labelsize=7)
    last = np.atleast_1d(panels)[-1]
    named = range(0, len(tokens), step)
    last.set_xticks(named, [escape_math(tokens[place]) for place in named], rotation=90, fontsize=7)
    return figure


def new_figure(width: float, height: float, panels: int = 1, rows: int = 1) -> tuple[Figure, Any]:
    """A figure in inches, and its axes: one, or an array of those side by side, or one above the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")  # no pyplot: no state, no window
    FigureCanvasAgg(figure)
    axes = figure.subplots(nrows=rows, ncols=panels)
    for one in np.atleast_1d(axes):
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    return figure, axes


def escape_math(text: str) -> str:
    """A text in which dollars are dollars, where matplotlib would read a formula between them."""
    return text.replace("$", r"\$")


def write_png(figure: Figure, file: Path) -> None:
    """Writes a figure on white."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a script that matplotlib's own font lacks
        figure.savefig(file, dpi=150)


def to_svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element of a page: its text as text, its black in the page's colour, its ids its own.

    Args:
        figure: what is drawn.
        name: what no other figure of the page is called; letters and digits.
    """
    import matplotlib

    stream = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}),
    ):
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    drawn = stream.getvalue()
    drawn = drawn[drawn.index("<svg ") :].replace("#000000", "currentColor")
    drawn = re.sub(r' id="[a-z]+[\w.]*_\d+"', "", drawn)  # the others are referred to
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", drawn)
