"""Predictions as columns beside the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import TaskError
from ..runs import Run
from ..tasks.squad import find_columns
from ..tasks.tables import Table, write_table
from .client import ServedModel

Columns = dict[str, Sequence[Any]]


def predict_with_run(
    run: Run, table: Table, text: str | None = None, text_pair: str | None = None, coverage: float | None = None
) -> Columns:
    """What a run's head says of each row: a prediction, and a probability of each class; of a question an answer, its
    score, and the odds that there is none.

    Args:
        run: a finished one.
        table: the rows.
        text, text_pair: the columns of the texts; the task's own with None.
        coverage: as `Run.predict`'s; a row that the run is less sure of has no prediction, and
            "no" in a further column, sure.

    Raises:
        BertvisionError: a column is not there, a text is empty, or the run has no probabilities for `coverage`.
    """
    spans = find_columns(table.header) if run.kind.answers else {}
    texts = _read_texts(table, text or spans.get("question") or run.config["text"])
    pair = text_pair or spans.get("context") or run.config["text_pair"]
    pairs = table.column(pair) if pair else None
    if run.kind.answers:
        if coverage is not None:
            run.find_confidence(coverage)  # says why there is none
        answers = run.answer_all(texts, pairs or [])
        columns: Columns = {"prediction": [answer.text for answer in answers]}
        for name in ("score", "null_odds"):
            numbers = [getattr(answer, name) for answer in answers]
            columns[name] = ["" if number is None else f"{number:.6f}" for number in numbers]
        return columns
    predictions = run.predict(texts, pairs, coverage)
    columns = {"prediction": ["" if told is None else run.kind.write(told) for told in predictions.labels]}
    if coverage is not None:
        columns["sure"] = ["no" if told is None else "yes" for told in predictions.labels]
    for name, shares in zip(predictions.label_names, predictions.probabilities.T, strict=True):
        columns[f"p_{name}"] = [f"{share:.6f}" for share in shares]
    return columns


def predict_with_model(
    model: ServedModel, table: Table, text: str | None = None, text_pair: str | None = None
) -> Columns:
    """What a served model says of each row: a column for each output; of a matrix one for each of its columns, by
    number.

    Args:
        model: a served one.
        table: the rows.
        text, text_pair: the columns of the texts; those named as the model's inputs with None.

    Raises:
        BertvisionError: a column is not there, a text is empty, or the model cannot be reached.
    """
    spans = find_columns(table.header) if "question" in model.inputs else {}
    named: Mapping[str, str] = {"text": text or "text", "question": text or spans.get("question") or "question"}
    others = {"text_pair": text_pair or "text_pair", "context": text_pair or spans.get("context") or "context"}
    given = {
        name: _read_texts(table, named[name]) if name in named else table.column(others.get(name, name))
        for name in model.inputs
    }
    columns: Columns = {}
    for name, values in model.predict(given).items():
        parts = {name: values} if values.ndim == 1 else {f"{name}_{place}": one for place, one in enumerate(values.T)}
        columns |= {
            part: [f"{one:.6f}" for one in own] if own.dtype.kind == "f" else own.tolist()
            for part, own in parts.items()
        }
    return columns


def write_columns(output: Path, table: Table, columns: Columns) -> None:
    """Writes the rows of a table with further columns; one whose name is there already gets another.

    Raises:
        TaskError: it cannot be written.
    """
    added = list(zip(*columns.values(), strict=True))
    names = []
    for name in columns:
        while name in table.header:
            name = f"predicted_{name}"
        names.append(name)
    rows = ([*row, *more] for row, more in zip(table.walk(), added, strict=True))
    write_table(output, [*table.header, *names], rows)


def _read_texts(table: Table, column: str) -> Sequence[str]:
    """The texts of a column, none of them empty."""
    texts = table.column(column)
    for row, text in enumerate(texts):
        if not text.strip():
            raise TaskError(f"{table.name}, line {table.lines[row]}: the text is empty.")
    return texts
