"""Pictures of a run, as PNG files."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

MARKERS = "osD^vP*X<>h"


def plot_layer_weights(file: Path, weights: np.ndarray, names: Sequence[str]) -> None:
    """The softmaxed weights that learned pooling gives each layer: mean over seeds, a dot for each seed.

    Args:
        file: the PNG.
        weights: (seeds, layers), each row sums to 1.
        names: of the layers.
    """
    figure, axes = _new_figure(max(5.0, 0.45 * len(names)), 3.2)
    places = np.arange(len(names))
    axes.bar(places, weights.mean(axis=0), color="#4c78a8", width=0.7)
    for row in weights:
        axes.plot(places, row, "o", color="#222222", markersize=3, alpha=0.6)
    axes.axhline(1 / len(names), color="#888888", linewidth=1, linestyle="--", label="equal weights")
    axes.set_xticks(places, names)
    axes.set_xlabel("hidden state (0 = embeddings)")
    axes.set_ylabel("layer weight")
    axes.set_title(f"What learned pooling reads ({len(weights)} seeds)")
    axes.legend(frameon=False)
    _save(figure, file)


def plot_layer_losses(file: Path, losses: Sequence[float], names: Sequence[str], metric: str) -> None:
    """What a head's score loses on the selection rows when one layer says nothing.

    Args:
        file: the PNG.
        losses: (layers,), fractions.
        names: of the layers.
        metric: what the score is.
    """
    figure, axes = _new_figure(max(5.0, 0.45 * len(names)), 3.2)
    places = np.arange(len(names))
    axes.bar(places, losses, color="#e4572e", width=0.7)
    axes.axhline(0, color="#888888", linewidth=1)
    axes.set_xticks(places, names)
    axes.set_xlabel("hidden state (0 = embeddings)")
    axes.set_ylabel(f"loss of {metric}")
    axes.set_title("What is lost without each layer")
    _save(figure, file)


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


def plot_lines(
    file: Path, lines: Mapping[str, Line], across: str, metric: str, title: str, logarithmic: bool = False
) -> None:
    """Scores as lines with bars of one deviation.

    Args:
        file: the PNG.
        lines: by what they are called.
        across: what the horizontal axis is.
        metric: what the score is.
        title: above it.
        logarithmic: whether each step to the right multiplies.
    """
    figure, axes = _new_figure(8.0, 4.2)
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
    _save(figure, file)


def plot_ridges(
    file: Path, scores: Mapping[str, Mapping[float, Sequence[float]]], across: str, metric: str, title: str
) -> None:
    """How scores are spread, one curve of their density above the other, a panel a group.

    Args:
        file: the PNG.
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
    figure, panels = _new_figure(2.6 * len(scores) + 1, 4.2, len(scores))
    for axes, (group, rows) in zip(np.atleast_1d(panels), scores.items(), strict=True):
        for height, own in enumerate(rows.values()):
            if len(own) > 1 and np.ptp(own) > 0:
                density = gaussian_kde(own)(places)
            else:  # one score, or all the same: a peak
                density = np.exp(-(((places - own[0]) / (margin / 8)) ** 2)) if len(own) else np.zeros_like(places)
            curve = height + 1.4 * density / (density.max() or 1)
            axes.fill_between(places, height, curve, color="#4c78a8", alpha=0.7, zorder=-height)
            axes.plot(places, curve, color="white", linewidth=0.8, zorder=-height)
        axes.set_yticks(range(len(rows)), [f"{name:g}" for name in rows])
        axes.set_title(group.replace("_", " "), fontsize=9)
        axes.set_xlabel(metric, fontsize=8)
    np.atleast_1d(panels)[0].set_ylabel(across)
    figure.suptitle(title)
    _save(figure, file)


def plot_group_scores(
    file: Path,
    scores: np.ndarray,
    groups: Sequence[str],
    columns: Sequence[str],
    title: str,
    metric: str,
    limits: tuple[float, float] = (0.4, 1.0),
) -> None:
    """A heat map of scores: one row a group of examples, one column a model or layer.

    Args:
        file: the PNG.
        scores: (groups, columns), fractions; a cell that is no number stays empty.
        groups, columns: their names.
        title, metric: shown above and beside the colours.
        limits: the scores of the darkest and of the brightest colour.
    """
    figure, axes = _new_figure(2.6 + 0.75 * len(columns), 1.2 + 0.42 * len(groups))
    picture = axes.imshow(scores, cmap="viridis", vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(groups)), [group.replace("_", " ") for group in groups])
    for row, column in np.argwhere(np.isfinite(scores)):
        colour = "white" if scores[row, column] < (0.47 * limits[0] + 0.53 * limits[1]) else "black"
        axes.text(column, row, f"{scores[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(title)
    figure.colorbar(picture, ax=axes, label=metric)
    _save(figure, file)


def _new_figure(width: float, height: float, panels: int = 1):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")  # no pyplot: no state, no window
    FigureCanvasAgg(figure)
    axes = figure.subplots(ncols=panels)
    for one in np.atleast_1d(axes):
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    return figure, axes


def _save(figure, file: Path) -> None:
    figure.savefig(file, dpi=150)
