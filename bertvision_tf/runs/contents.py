"""What stands in a run's folder beside its results: heads, predictions, curves, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from ..reports.plots import plot_layer_losses, plot_layer_weights
from ..tasks import Examples, TaskSpec
from ..tasks.labels import show_label
from ..training import FitResult, compute_probabilities, read_predictions
from .folder import CONFIG, RESULTS, write_csv, write_json

if TYPE_CHECKING:
    import keras


def write_contents(
    folder: Path,
    task: TaskSpec,
    results: dict[str, Any],
    asked: dict[str, Any],
    fitted: Sequence[FitResult],
    dev: Sequence[tuple[Examples, Sequence[np.ndarray]]],
    export: bool,
) -> None:
    """Fills the folder of a run; results.json last.

    Args:
        folder: empty.
        task: of the run.
        results, asked: results.json and config.json.
        fitted: one head a seed.
        dev: of each dev split its rows, and their logits for each seed.
        export: whether the head chosen on the selection rows is saved as a SavedModel too.
    """
    best = int(np.argmax(results["selection_scores"]))
    (folder / "heads").mkdir()
    for seed, result in zip(results["seeds"], fitted, strict=True):
        result.head.save(folder / "heads" / f"seed-{seed}.keras")
    for suffix, (rows, logits) in zip(("", *(f"_{name}" for name in task.extra_dev)), dev, strict=True):
        _write_predictions(folder / f"predictions{suffix}.csv", task, results["seeds"], logits, best, rows)
    _write_curves(folder / "curves.csv", results["seeds"], fitted)
    layers = results["layers"]
    names = [str(name) for name in layers["names"]]
    if layers["weights"]:
        plot_layer_weights(folder / "layer_weights.png", np.array(layers["weights"]), names)
    plot_layer_losses(folder / "layer_losses.png", layers["losses"], names, results["metric"])
    if export:
        _export(fitted[best].head, folder / "saved_model")
    write_json(folder / CONFIG, asked)
    write_json(folder / RESULTS, results)


def _write_predictions(file: Path, task: TaskSpec, seeds, logits: Sequence[np.ndarray], best: int, rows: Examples):
    found = [read_predictions(task.kind, part) for part in logits]
    probabilities = compute_probabilities(task.kind, logits[best])
    pairs = [] if rows.text_pairs is None else ["text_pair"]
    header = ["id", "text", *pairs, *rows.columns, "label", "prediction"]
    header += [f"p_{name}" for name in task.label_names] + [f"prediction_seed_{seed}" for seed in seeds]

    def lines():
        for row in range(len(rows)):
            pair = [] if rows.text_pairs is None else [rows.text_pairs[row]]
            columns = [column[row] for column in rows.columns.values()]
            yield [
                *(rows.ids[row], rows.texts[row], *pair, *columns),
                *(show_label(task, rows.labels[row]), show_label(task, found[best][row])),
                *(f"{probability:.6f}" for probability in probabilities[row]),
                *(show_label(task, part[row]) for part in found),
            ]

    write_csv(file, header, lines())


def _write_curves(file: Path, seeds: Sequence[int], fitted: Sequence[FitResult]) -> None:
    curves = (
        (seed, epoch, loss, score)
        for seed, result in zip(seeds, fitted, strict=True)
        for epoch, (loss, score) in enumerate(
            zip(result.history["loss"], result.history["selection_score"], strict=True), start=1
        )
    )
    write_csv(file, ("seed", "epoch", "loss", "selection_score"), curves)


def _export(head: keras.Model, folder: Path) -> None:
    from tensorflow.errors import OpError

    try:
        head.export(folder, verbose=False)
    except OpError as error:
        raise RunError(f"the SavedModel cannot be written: {str(error).splitlines()[0]}") from None
