"""Labels as they stand in files → arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TaskError

if TYPE_CHECKING:
    from .spec import TaskSpec

SEPARATOR = ";"  # between the classes of one row where several may hold
SWITCH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}  # in small letters
LARGEST = float(np.finfo(np.float32).max)
NO_VALUE = {"nan", "-nan", "na", "n/a", "n.a.", "<na>", "nat", "null", "nil", "none", "missing", "inf", "+inf", "-inf"}
NO_VALUE |= {"infinity", "-infinity"}  # how programs and people write that there is none
MARK = re.compile(r"#(n/a|[a-z0-9/]+[!?])|([-\u2013\u2014?.])\2*")  # Excel's errors; one sign, once or more


def encode_labels(task: TaskSpec, cells: Sequence[str | None], path: Path | str, lines: Sequence[int]) -> np.ndarray:
    """Turns labels into numbers.

    Args:
        task: its kind and its classes.
        cells: one a row: a class's name (GLUE's also by index); a number for a regression; classes with ";" between
            where several may hold; None where there is no label.
        path, lines: where the cells stand, for errors.

    Returns:
        int32 class indices (−1 for None); float32 numbers (nan for None); int32 (rows, classes) of 0 and 1 (−1).

    Raises:
        TaskError: a label is no class of the task, or no number.
    """
    from .spec import TaskKind

    if task.kind is TaskKind.REGRESSION:
        return np.array([_read_score(cell, path, lines, row) for row, cell in enumerate(cells)], np.float32)
    classes = {name: index for index, name in enumerate(task.label_names)}
    if task.source != "rows" and not any(name.isdigit() for name in task.label_names):
        classes |= {str(index): index for index in range(len(task.label_names))}

    def find(name: str, row: int) -> int:
        if name not in classes:
            known = ", ".join(task.label_names[:20]) + (" …" if len(task.label_names) > 20 else "")
            raise TaskError(f"{_place(path, lines, row)}: label {name!r} is not known; known: {known}.")
        return classes[name]

    if task.kind is TaskKind.CLASSIFICATION:
        return np.array([-1 if cell is None else find(cell, row) for row, cell in enumerate(cells)], np.int32)
    table = np.zeros((len(cells), len(task.label_names)), np.int32)
    for row, cell in enumerate(cells):
        if cell is None:
            table[row] = -1
            continue
        table[row, [find(name, row) for name in split_classes(cell)]] = 1
    return table


def show_label(task: TaskSpec, label: np.ndarray) -> str:
    """One row's label as it would stand in a file: what `encode_labels` reads; nothing where there is none."""
    from .spec import TaskKind

    if task.kind is TaskKind.REGRESSION:
        return "" if np.isnan(label) else str(np.float32(label))
    if task.kind is TaskKind.MULTILABEL:
        return SEPARATOR.join(task.label_names[place] for place in np.flatnonzero(label > 0))
    return task.label_names[label] if label >= 0 else ""


def is_no_value(cell: str) -> bool:
    """Whether a cell is a mark for a value that is missing or no number."""
    text = cell.strip().lower()
    return text in NO_VALUE or MARK.fullmatch(text) is not None


def split_classes(cell: str) -> list[str]:
    """The classes of one row; an empty cell has none."""
    return [name.strip() for name in cell.split(SEPARATOR) if name.strip()]


def read_number(cell: str) -> float | None:
    """The number that a cell spells, if float32 can hold it; None of all else, as of Python's own "1_000"."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if abs(number) <= LARGEST and "_" not in cell else None


def _read_score(cell: str | None, path: Path | str, lines: Sequence[int], row: int) -> float:
    number = float("nan") if cell is None else read_number(cell)
    if number is None:
        raise TaskError(f"{_place(path, lines, row)}: expected a number as label, got {cell!r}.")
    return number


def _place(path: Path | str, lines: Sequence[int], row: int) -> str:
    return f"{path}, line {lines[row]}" if row < len(lines) else f"{path}, row {row}"
