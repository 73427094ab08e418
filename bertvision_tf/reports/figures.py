"""Pictures of finished runs: one run alone, and several on the same task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from ..runs.folder import CURVES, read_csv
from .calibration import draw_calibration, tell_calibration
from .plots import (
    BLUE,
    GREY,
    MARKERS,
    ON_COLOUR,
    RED,
    Line,
    draw_layer_losses,
    draw_layer_path,
    draw_layer_weights,
    draw_lines,
    escape_math,
    new_figure,
)
from .rows import DevRows
from .table import TableRow, build_rows, choose_most_rows, group_by_draw, is_fitted_at_once, name_blocks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 20  # of a confusion matrix


def draw_run(path: Path, results: Mapping[str, Any], rows: DevRows) -> Iterator[tuple[str, str, Figure]]:
    """The pictures of one run: (name, caption, figure).

    Args:
        path: its folder.
        results: results.json.
        rows: its dev rows.

    Raises:
        RunError: its learning curves cannot be read.
    """
    if is_fitted_at_once(results):
        caption = "Loss and selection score by regularisation, the strongest first; a dot the one kept."
        if results["head_config"].get("solver") == "kernel":
            caption = "Loss and selection score: the widest kernel first, each by regularisation; a dot the one kept."
    else:
        caption = "Learning curves: thin a seed, thick their mean, a dot the epoch kept."
        caption += " No dot: none was better than the head as it was." if 0 in results["best_epochs"] else ""
    yield "curves", caption, draw_curves(path, results)
    layers = results["layers"]
    names = [str(name) for name in layers["names"]]
    if layers["weights"]:
        yield "layer-weights", "What learned pooling reads.", draw_layer_weights(np.array(layers["weights"]), names)
    yield (
        "layer-losses",
        "What the head loses on the selection rows when a layer says nothing.",
        draw_layer_losses(layers["losses"], names, results["metric"]),
    )
    if "path" in layers:
        caption = "Which layers a sparse head keeps as its penalty falls; dashed the one that the selection rows chose."
        yield "layer-path", caption, draw_layer_path(layers["path"], names)
    calibration = results.get("calibration")  # older runs have none
    if calibration:
        yield "calibration", tell_calibration(calibration), draw_calibration(calibration)
    confusion = draw_confusion(rows)
    if confusion is not None:
        caption = "Label and prediction on dev" + (": shares of each label, and rows." if _has_cells(rows) else ".")
        yield "confusion", caption, confusion


def draw_runs(
    results: Sequence[Mapping[str, Any]], names: Sequence[str], table: Sequence[TableRow]
) -> Iterator[tuple[str, str, Figure]]:
    """The pictures of some runs on one task: (name, caption, figure).

    Args:
        results, names: of each run.
        table: their rows and their rivals'.
    """
    yield (
        "seeds",
        "Scores on dev: a dot a seed, their mean with one deviation, rivals as lines.",
        draw_seeds(results, names, table),
    )
    for what, cost in (("weights", "trained weights"), ("seconds", "seconds of training")):
        caption = f"Score by {cost}; no cheaper model beats those on the line. Dashed: what costs nothing."
        yield what, caption, draw_trade_off(table, what, results[0]["metric"])
    if len(group_by_draw(results)) > 1:
        yield "training-rows", "Score by training rows.", draw_by_rows(results)
    if len({_read_epochs(one) for one in results}) > 1:
        yield "epochs", "Score by epochs of fine-tuning.", draw_by_epochs(results)


def draw_curves(path: Path, results: Mapping[str, Any]) -> Figure:
    """Loss and selection score of every seed after each epoch, and the means of the seeds that were still trained."""
    curves = _read_curves(path / CURVES)
    figure, panels = new_figure(8.0, 3.2, 2)
    for axes, what in zip(panels, ("loss", f"{results['metric']} on selection rows"), strict=True):
        column = int(what != "loss")
        longest = max(map(len, curves.values()))
        for (_, curve), best in zip(curves.items(), results["best_epochs"], strict=True):
            epochs = np.arange(1, len(curve) + 1)
            axes.plot(epochs, curve[:, column], color=BLUE, linewidth=0.8, alpha=0.5)
            if best:  # 0 is a head that had been trained before
                axes.plot(best, curve[best - 1, column], "o", color=RED, markersize=4)
        means = [
            np.mean([curve[epoch, column] for curve in curves.values() if epoch < len(curve)])
            for epoch in range(longest)
        ]
        axes.plot(np.arange(1, longest + 1), means, color=BLUE, linewidth=2)
        axes.set_xlabel("regularisation" if is_fitted_at_once(results) else "epoch")
        axes.set_ylabel(what)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _read_curves(file: Path) -> dict[str, np.ndarray]:
    """By seed, (epochs, 2): loss and selection score."""
    curves: dict[str, list[tuple[float, float]]] = {}
    try:
        for row in read_csv(file):
            curves.setdefault(row["seed"], []).append((float(row["loss"]), float(row["selection_score"])))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file} cannot be read: {error}.") from None
    return {seed: np.array(curve) for seed, curve in curves.items()}


def draw_seeds(results: Sequence[Mapping[str, Any]], names: Sequence[str], table: Sequence[TableRow]) -> Figure:
    """The score of every seed of some runs, their means and deviations, and the means of their rivals."""
    figure, axes = new_figure(8.0, 1.6 + 0.34 * len(results))
    rivals = {row.name: row.mean for row in table if row.rival}
    for place, run in enumerate(reversed(results)):
        axes.plot(run["scores"], np.full(len(run["scores"]), place), "o", color=BLUE, markersize=4, alpha=0.6)
        axes.errorbar(run["mean"], place, xerr=run["std"] or 0.0, fmt="D", color=RED, markersize=5, capsize=3)
    for place, (name, score) in enumerate(rivals.items()):
        style = ("--", ":", "-.", (0, (6, 2)), (0, (1, 3)))[place % 5]
        axes.axvline(score, color=GREY, linewidth=1, linestyle=style, label=escape_math(name))
    axes.set_yticks(range(len(results)), [escape_math(name) for name in reversed(names)])
    axes.set_ylim(-0.6, len(results) - 0.4)
    axes.set_xlabel(f"{results[0]['metric']} on dev")
    if rivals:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_trade_off(table: Sequence[TableRow], what: str, metric: str) -> Figure:
    """Scores of models by what they cost, and the line of those that no cheaper one reaches.

    Args:
        table: the models; the best of those that cost nothing is a line across.
        what: "weights" or "seconds", of training.
        metric: what the score is.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    costs = {row.name: row.trainable_parameters if what == "weights" else row.seconds - row.extraction for row in table}
    free = max((row.mean for row in table if costs[row.name] <= 0), default=-np.inf)
    models = sorted((row for row in table if costs[row.name] > 0), key=lambda row: (costs[row.name], -row.mean))
    figure, axes = new_figure(8.0, 4.0)
    front: list[TableRow] = []
    for place, row in enumerate(models):
        style = {"marker": MARKERS[place % len(MARKERS)], "markersize": 6, "capsize": 2, "linestyle": "none"}
        axes.errorbar(costs[row.name], row.mean, row.std or 0.0, label=escape_math(row.name), **style)
        if row.mean > (front[-1].mean if front else free):
            front.append(row)
    if np.isfinite(free):
        axes.axhline(free, color=GREY, linewidth=1, linestyle="--", zorder=0)
    axes.step(
        [costs[row.name] for row in front], [row.mean for row in front], where="post", color=GREY, linewidth=1, zorder=0
    )
    axes.set_xscale("log", subs=range(2, 10))
    wide = bool(models) and costs[models[-1].name] > 100 * costs[models[0].name]
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda cost, _: f"{cost:,.0f}" if cost >= 1 else f"{cost:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelrotation=30)
    axes.set_xlabel("trained weights" if what == "weights" else "seconds of training a seed; states are there")
    axes.set_ylabel(f"{metric} on dev")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_by_rows(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Scores of one task's models by training rows."""
    lines: dict[str, Line] = {}
    for group in sorted(group_by_draw(results).values(), key=lambda group: group[0]["rows"]["training"]):
        for row in build_rows(group):
            lines.setdefault(escape_math(row.name), Line()).add(group[0]["rows"]["training"], row.mean, row.std)
    task, metric = results[0]["task"], results[0]["metric"]
    return draw_lines(lines, "training rows", metric, f"{task}: score by training rows", logarithmic=True)


def draw_by_epochs(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Scores of one task's heads, encoders and ensembles by epochs of fine-tuning; of the most training rows."""
    lines: dict[str, Line] = {}
    for run in sorted(choose_most_rows(results), key=_read_epochs):
        tuned, epochs = run["fine_tune"], _read_epochs(run)
        name = name_blocks(run["head"], (tuned or {}).get("parts", "all"))
        lines.setdefault(escape_math(name), Line()).add(epochs, run["mean"], run["std"])
        if tuned and "from" not in tuned:
            lines.setdefault("encoder's own head", Line()).add(epochs, tuned["mean"], tuned["std"])
            ensemble = tuned["ensemble"]
            lines.setdefault("ensemble", Line()).add(epochs, ensemble["mean"], ensemble["std"])
    task, metric = results[0]["task"], results[0]["metric"]
    return draw_lines(lines, "epochs of fine-tuning", metric, f"{task}: score by epochs of fine-tuning")


def _read_epochs(run: Mapping[str, Any]) -> float:
    return run["fine_tune"]["epochs"] if run["fine_tune"] else 0.0


def draw_confusion(rows: DevRows) -> Figure | None:
    """Labels by predictions: of classes, and of questions with and without an answer, a table; of a regression a dot a
    row; None of several classes a row, or of too many."""
    if rows.kind.numeric:
        return _draw_dots(np.array(rows.labels, float), np.array(rows.predictions, float))
    if not _has_cells(rows):
        return None
    labels, found = rows.labels, rows.predictions
    if rows.answers is not None:
        labels = ["answer" if answers else "no answer" for answers in rows.answers]
        found = ["answer" if text else "no answer" for text in found]
    names = sorted({*labels, *found})
    counts = np.zeros((len(names), len(names)), int)
    for label, prediction in zip(labels, found, strict=True):
        counts[names.index(label), names.index(prediction)] += 1
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = new_figure(2.6 + 0.75 * len(names), 1.6 + 0.5 * len(names))
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    shown = [escape_math(name) for name in names]
    axes.set_xticks(
        range(len(names)), shown, rotation=30 * (len(names) > 3), ha="right" if len(names) > 3 else "center"
    )
    axes.set_yticks(range(len(names)), shown)
    for place in np.ndindex(counts.shape):
        colour = "white" if shares[place] > 0.6 else ON_COLOUR
        axes.text(place[1], place[0], f"{counts[place]:,}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    figure.colorbar(picture, ax=axes, label="share of the label")
    return figure


def _has_cells(rows: DevRows) -> bool:
    if rows.answers is not None:
        return True
    return rows.kind.single and len({*rows.labels, *rows.predictions}) <= MOST_CLASSES


def _draw_dots(labels: np.ndarray, predictions: np.ndarray) -> Figure:
    figure, axes = new_figure(4.4, 4.0)
    low, high = min(labels.min(), predictions.min()), max(labels.max(), predictions.max())
    axes.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle="--")
    axes.plot(labels, predictions, "o", color=BLUE, markersize=3, alpha=0.35, markeredgewidth=0)
    axes.set_xlabel("label")
    axes.set_ylabel("prediction")
    return figure
