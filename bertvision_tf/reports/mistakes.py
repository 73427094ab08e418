"""The dev rows that runs get wrong, as the report's page sorts and filters them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..kinds.spans import NO_ANSWER
from .rows import DevRows

MOST_ROWS = 2000  # that a page lists
NAMED_LABELS = 50  # that a page lists to choose from


def collect_mistakes(runs: Mapping[str, DevRows]) -> dict[str, Any]:
    """The rows that one run or more gets wrong, the surest mistakes first where they are too many.

    Args:
        runs: by name, of the same dev rows.

    Returns:
        as JSON takes it: "runs", their names; "sure", what `DevRows.confidence` is here; "labels", to choose from;
        "texts", each second text once; "rows", each with its "id", "text", "pair" (index of "texts"), "label", and of
        each run what it "said", how "sure" it was, whether it is "wrong" and its "score"; "left_out", how many more
        there are.
    """
    every = list(runs.values())
    first, wrong = every[0], np.stack([rows.wrong for rows in every])  # (runs, rows)
    places = np.flatnonzero(wrong.any(axis=0))
    left_out = max(len(places) - MOST_ROWS, 0)
    if left_out:
        surest = np.max([np.where(rows.wrong, rows.weigh(), -np.inf) for rows in every], axis=0)[places]
        places = np.sort(places[np.argsort(-surest, kind="stable")[:MOST_ROWS]])
    texts: dict[str, int] = {}
    rows = [
        {
            "id": first.ids[place],
            "text": first.texts[place],
            "pair": None if first.text_pairs is None else texts.setdefault(first.text_pairs[place], len(texts)),
            "label": show_label(first, place),
            "said": [show_prediction(own, place) for own in every],
            "sure": [None if math.isnan(own.confidence[place]) else round(own.confidence[place], 4) for own in every],
            "wrong": [bool(own[place]) for own in wrong],
            "score": [round(float(own.scores[place]), 4) for own in every],
        }
        for place in places.tolist()
    ]
    labels = sorted(set(first.labels)) if first.kind.single else []
    return {
        "runs": list(runs),
        "kind": str(first.kind),
        "sure": first.kind.confidence_name,
        "labels": labels if len(labels) <= NAMED_LABELS else [],
        "texts": list(texts),
        "rows": rows,
        "left_out": left_out,
    }


def choose_examples(rows: DevRows, count: int) -> list[int]:
    """The rows to look at: the one that a run is most surely wrong about, the one it is most surely right about, the
    next of the first kind, and so on."""
    order = np.argsort(-rows.weigh(), kind="stable")
    kinds = [[int(place) for place in order if bool(rows.wrong[place]) is wrong] for wrong in (True, False)]
    if rows.kind.numeric:
        kinds[1] = [int(place) for place in np.argsort(-rows.scores, kind="stable")]  # the nearest
    mixed = [kind[rank] for rank in range(max(map(len, kinds))) for kind in kinds if rank < len(kind)]
    return mixed[:count]


def show_label(rows: DevRows, place: int) -> str:
    """A label as text; of a question its gold answers."""
    if rows.answers is None:
        return rows.labels[place] if rows.kind.numeric else rows.kind.display(rows.labels[place])
    return " | ".join(dict.fromkeys(rows.answers[place])) or NO_ANSWER


def show_prediction(rows: DevRows, place: int) -> str:
    """What is predicted of a row, as text."""
    return rows.kind.display(rows.predictions[place])
