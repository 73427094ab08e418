"""The dev rows of a finished run, as its predictions.csv has them, and how well each was predicted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checksums import check_file
from ..errors import RunError
from ..kinds import Kind, find_kind
from ..metrics.significance import Difference
from ..metrics.squad import score_answers
from ..runs.folder import read_csv

PREDICTIONS, BEST_SPANS = "predictions.csv", "nbest_predictions.json"
GIVEN = ("id", "text", "text_pair", "label", "prediction", "null_odds")
ADDED = ("p_", "prediction_")  # what further columns of a run begin with; the others are a task's own


@dataclasses.dataclass(frozen=True, eq=False)
class DevRows:
    """Dev rows, and what the head that the selection rows chose says of them.

    Attributes:
        kind: of the task.
        metric: the task's main one.
        ids, texts: of each row.
        text_pairs: second texts, or contexts; None where there are none.
        labels, predictions: as predictions.csv has them; several classes with ";" between, "" for none and no answer.
        answers: of questions the gold answers; None of other rows.
        scores, confidence: float, (rows,), as the kind's `score_cells` and `read_confidence` give them.
        sources: of each row the task's own columns, by name.
        spans_right: of questions bool, (rows, 2), whether the best and the second-best span are right, word by word;
            None of other rows.
    """

    kind: Kind
    metric: str
    ids: Sequence[str]
    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    labels: Sequence[str]
    predictions: Sequence[str]
    answers: Sequence[Sequence[str]] | None
    scores: np.ndarray
    confidence: np.ndarray
    sources: Mapping[str, Sequence[str]]
    spans_right: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def wrong(self) -> np.ndarray:
        """bool, (rows,); of a regression the tenth of the rows that are furthest off."""
        return self.kind.find_wrong(self.scores)

    def weigh(self) -> np.ndarray:
        """float, (rows,): the higher, the surer a wrong prediction was."""
        return self.kind.weigh(self.scores, self.confidence, self.predictions)

    def has_rows_of(self, other: DevRows) -> bool:
        """Whether both are of the same rows."""
        return (self.ids, self.texts, self.labels) == (other.ids, other.texts, other.labels)

    def compare(self, other: DevRows) -> Difference:
        """Whether two runs differ on the same rows: McNemar's exact test of classes, the paired bootstrap of scores."""
        found, scores = (self.predictions, other.predictions), (self.scores, other.scores)
        return self.kind.compare_cells(self.metric, self.labels, found, scores)


def read_dev_rows(path: Path, config: Mapping[str, Any], metric: str) -> DevRows:
    """Reads the dev rows of a finished run.

    Args:
        path: its folder.
        config: its config.json.
        metric: its main metric.

    Raises:
        RunError: its predictions cannot be read.
    """
    file = path / PREDICTIONS
    try:
        table = read_csv(file)
        columns = {name: [row[name] for row in table] for name in table[0]}
        return _score_rows(columns, path / BEST_SPANS, find_kind(config["kind"]), config["label_names"], metric)
    except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
        raise RunError(f"{file} cannot be read: {error}.") from None


def _score_rows(
    columns: Mapping[str, Sequence[str]], best_spans: Path, kind: Kind, names: Sequence[str], metric: str
) -> DevRows:
    labels, predictions, ids = (columns[name] for name in ("label", "prediction", "id"))
    gold = kind.read_gold(labels)
    answers = gold if kind.answers else None
    own = {name: cells for name, cells in columns.items() if name not in GIVEN and not name.startswith(ADDED)}
    return DevRows(
        kind=kind,
        metric=metric,
        ids=ids,
        texts=columns["text"],
        text_pairs=columns.get("text_pair"),
        labels=labels,
        predictions=predictions,
        answers=answers,
        scores=kind.score_cells(gold, predictions),
        confidence=kind.read_confidence(columns, names),
        sources=own,
        spans_right=None if answers is None else _read_spans(best_spans, ids, answers),
    )


def _read_spans(file: Path, ids: Sequence[str], answers: Sequence[Sequence[str]]) -> np.ndarray:
    check_file(file, RunError)
    listed = json.loads(file.read_text(encoding="utf-8"))
    texts = [[span["text"] for span in listed[one][:2]] + ["", ""] for one in ids]
    return np.stack([score_answers(answers, [own[rank] for own in texts]).exact == 1 for rank in (0, 1)], axis=1)
