"""Fills the folder of a run: results, heads, predictions, curves and plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError, find_reason
from ..kinds import Gold
from ..reports.plots import draw_layer_losses, draw_layer_path, draw_layer_weights, write_png
from ..runs.folder import CONFIG, CURVES, MEAN_FILE, RESULTS, write_csv, write_json
from ..tasks import Examples, TaskSpec
from ..training.averaging import Together
from ..training.trial import Outcome
from .predictions import write_predictions

if TYPE_CHECKING:
    import keras


def write_contents(
    folder: Path,
    task: TaskSpec,
    results: dict[str, Any],
    asked: dict[str, Any],
    outcomes: Sequence[Outcome],
    predictor: Outcome | Together,
    dev: Sequence[tuple[Examples, Gold]],
    export: bool,
) -> None:
    """Fills the folder of a run; results.json last.

    Args:
        folder: empty.
        task: of the run.
        results, asked: results.json and config.json.
        outcomes: one head a seed.
        predictor: what predicts: one of them, or all together.
        dev: of each dev split its rows, and what they are scored by.
        export: whether what predicts is saved as a SavedModel too.
    """
    (folder / "heads").mkdir()
    for seed, one in zip(results["seeds"], outcomes, strict=True):
        one.head.save(folder / "heads" / f"seed-{seed}.keras")
    if results["together"]:
        predictor.head.save(folder / "heads" / MEAN_FILE)
    suffixes = ("", *(f"_{name}" for name in task.extra_dev))
    for place, (suffix, (rows, gold)) in enumerate(zip(suffixes, dev, strict=True)):
        every = {
            f"prediction_seed_{seed}": one.predictions[place]
            for seed, one in zip(results["seeds"], outcomes, strict=True)
        }
        write_predictions(folder, suffix, rows, gold, predictor.predictions[place], predictor.logits[place], every)
    _write_curves(folder / CURVES, results["seeds"], outcomes)
    layers = results["layers"]
    names = [str(name) for name in layers["names"]]
    if layers["weights"]:
        write_png(draw_layer_weights(np.array(layers["weights"]), names), folder / "layer_weights.png")
    write_png(draw_layer_losses(layers["losses"], names, results["metric"]), folder / "layer_losses.png")
    if "path" in layers:
        write_png(draw_layer_path(layers["path"], names), folder / "layer_path.png")
    if export:
        _export(predictor.head, folder / "saved_model")
    write_json(folder / CONFIG, asked)
    write_json(folder / RESULTS, results)


def _write_curves(file: Path, seeds: Sequence[int], outcomes: Sequence[Outcome]) -> None:
    curves = (
        (seed, epoch, loss, score)
        for seed, one in zip(seeds, outcomes, strict=True)
        for epoch, (loss, score) in enumerate(
            zip(one.fit.history["loss"], one.fit.history["selection_score"], strict=True), start=1
        )
    )
    write_csv(file, ("seed", "epoch", "loss", "selection_score"), curves)


def _export(head: keras.Model, folder: Path) -> None:
    from tensorflow.errors import OpError

    try:
        head.export(folder, verbose=False)
    except OpError as error:
        raise RunError(f"the SavedModel cannot be written: {find_reason(error)}") from None
