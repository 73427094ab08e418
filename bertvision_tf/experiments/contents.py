"""What stands in a run's folder beside its results: heads, predictions, curves, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from ..kinds import AnswerGold, AnswerPredictions, Gold
from ..reports.plots import draw_layer_losses, draw_layer_weights, write_png
from ..runs.folder import CONFIG, RESULTS, write_csv, write_json
from ..tasks import Examples, TaskSpec
from ..training.trial import Outcome

if TYPE_CHECKING:
    import keras

LISTED = 5  # spans of each question in nbest_predictions.json


def write_contents(
    folder: Path,
    task: TaskSpec,
    results: dict[str, Any],
    asked: dict[str, Any],
    outcomes: Sequence[Outcome],
    dev: Sequence[tuple[Examples, Gold]],
    export: bool,
) -> None:
    """Fills the folder of a run; results.json last.

    Args:
        folder: empty.
        task: of the run.
        results, asked: results.json and config.json.
        outcomes: one head a seed.
        dev: of each dev split its rows, and what they are scored by.
        export: whether the head chosen on the selection rows is saved as a SavedModel too.
    """
    best = int(np.argmax(results["selection_scores"]))
    (folder / "heads").mkdir()
    for seed, one in zip(results["seeds"], outcomes, strict=True):
        one.fit.head.save(folder / "heads" / f"seed-{seed}.keras")
    suffixes = ("", *(f"_{name}" for name in task.extra_dev))
    for place, (suffix, (rows, gold)) in enumerate(zip(suffixes, dev, strict=True)):
        every = {
            f"prediction_seed_{seed}": one.predictions[place]
            for seed, one in zip(results["seeds"], outcomes, strict=True)
        }
        write_predictions(
            folder, suffix, rows, gold, outcomes[best].predictions[place], outcomes[best].logits[place], every
        )
    _write_curves(folder / "curves.csv", results["seeds"], outcomes)
    layers = results["layers"]
    names = [str(name) for name in layers["names"]]
    if layers["weights"]:
        write_png(draw_layer_weights(np.array(layers["weights"]), names), folder / "layer_weights.png")
    write_png(draw_layer_losses(layers["losses"], names, results["metric"]), folder / "layer_losses.png")
    if export:
        _export(outcomes[best].fit.head, folder / "saved_model")
    write_json(folder / CONFIG, asked)
    write_json(folder / RESULTS, results)


def write_predictions(
    folder: Path,
    suffix: str,
    rows: Examples,
    gold: Gold,
    predictions: Any,
    logits: np.ndarray,
    every: Mapping[str, Any],
) -> None:
    """Writes what was predicted of a split.

    Args:
        folder, suffix: `predictions<suffix>.csv` in it; of questions also predictions, null_odds and nbest_predictions
            as .json, in the official format.
        rows, gold: the split, and what it is scored by.
        predictions, logits: those that count.
        every: further columns of predictions by name.
    """
    columns: dict[str, Sequence[Any]] = {"id": rows.ids, "text": rows.texts}
    columns |= {} if rows.text_pairs is None else {"text_pair": rows.text_pairs}
    columns |= {**rows.columns, "label": gold.show(), "prediction": gold.show(predictions)}
    for name, values in gold.show_confidence(predictions, logits).items():
        columns[name] = [f"{value:.6f}" for value in values]
    columns |= {name: gold.show(part) for name, part in every.items()}
    write_csv(folder / f"predictions{suffix}.csv", list(columns), zip(*columns.values(), strict=True))
    if isinstance(predictions, AnswerPredictions) and isinstance(gold, AnswerGold):
        odds = dict(zip(rows.ids, map(float, predictions.null_odds), strict=True))
        best = {
            name: [{"text": text, "score": score} for text, score, *_ in answer.list_texts(context, LISTED)]
            for name, context, answer in zip(rows.ids, gold.contexts, gold.decode(logits), strict=True)
        }
        write_json(folder / f"predictions{suffix}.json", dict(zip(rows.ids, predictions.final, strict=True)))
        write_json(folder / f"null_odds{suffix}.json", odds)
        write_json(folder / f"nbest_predictions{suffix}.json", best)


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
        raise RunError(f"the SavedModel cannot be written: {str(error).splitlines()[0]}") from None
