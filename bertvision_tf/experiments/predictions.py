"""Writes predictions.csv, and for questions predictions.json, null_odds.json and nbest_predictions.json.

What stands in a cell is for kinds/ to say: `LabelGold.show` and `AnswerGold.show`, with `Kind.show`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..kinds import AnswerGold, AnswerPredictions, Gold
from ..runs.folder import write_csv, write_json
from ..tasks import Examples

LISTED = 5  # spans of each question in nbest_predictions.json


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
