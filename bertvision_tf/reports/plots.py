"""Pictures of a run, as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


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


def plot_group_scores(
    file: Path, scores: np.ndarray, groups: Sequence[str], columns: Sequence[str], title: str, metric: str
) -> None:
    """A heat map of scores: one row a group of examples, one column a model or layer.

    Args:
        file: the PNG.
        scores: (groups, columns), fractions.
        groups, columns: their names.
        title, metric: shown above and beside the colours.
    """
    figure, axes = _new_figure(2.6 + 0.75 * len(columns), 1.2 + 0.42 * len(groups))
    picture = axes.imshow(scores, cmap="viridis", vmin=0.4, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(groups)), [group.replace("_", " ") for group in groups])
    for row, column in np.ndindex(*scores.shape):
        colour = "white" if scores[row, column] < 0.72 else "black"
        axes.text(column, row, f"{scores[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_title(title)
    figure.colorbar(picture, ax=axes, label=metric)
    _save(figure, file)


def _new_figure(width: float, height: float):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")  # no pyplot: no state, no window
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure, file: Path) -> None:
    figure.savefig(file, dpi=150)
