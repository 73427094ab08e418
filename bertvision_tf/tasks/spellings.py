"""How labels of the user's are spelt, and what was guessed of a table: refused, or said in a line."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import TaskError
from ..notes import note
from .labels import SEPARATOR
from .spec import TaskKind, TaskSpec
from .tables import Table

NOT_A_NUMBER = {
    "nan",
    "na",
    "n/a",
    "<na>",
    "null",
    "none",
    "inf",
    "+inf",
    "-inf",
    "infinity",
    "-infinity",
    "-",
    "?",
    ".",
}


def say_guesses(table: Table, task: TaskSpec, guessed: Sequence[str]) -> None:
    """One line of what was not named: the columns and the kind."""
    pair = f" with {task.text_pair!r}" if task.text_pair else ""
    classes = f" of {len(task.label_names)} classes" if task.label_names else ""
    said = {
        "text": f"text {task.text!r}{pair}",
        "label": f"label {task.label!r}",
        "kind": f"kind {task.kind}{classes}",
    }
    note(f"{table.name}: guessed {', '.join(said[what] for what in guessed)}.")


def say_odd_labels(table: Table, task: TaskSpec) -> None:
    """Lines of classes that may be none, or one in two spellings."""
    alike: dict[Any, str] = {}
    for name in task.label_names:
        other = alike.setdefault(_spell(name), name)
        if other != name:
            note(f"{table.name}: the labels {other!r} and {name!r} are two classes, and differ in spelling alone.")
    missing = [name for name in task.label_names if name.lower() in NOT_A_NUMBER]
    if missing:
        note(f"{table.name}: the label {missing[0]!r} is taken for a class; leave its rows out if it is none.")


def _spell(name: str) -> Any:
    """What two spellings of one class have in common: the number, or the letters without case and blanks."""
    try:
        return float(name)
    except ValueError:
        return "".join(name.lower().split())


def check_spelling(table: Table, cells: Sequence[str], columns: Sequence[str], kind: str | None) -> None:
    """Raises TaskError where a label is spelt as something that is no class and no number."""
    pointed = [cell.replace(",", ".", 1) for cell in cells]
    for row, cell in enumerate(cells):
        place = f"{table.name}, line {table.lines[row]}: the label {cell[:60]!r}"
        if kind != TaskKind.CLASSIFICATION and cell[:1] + cell[-1:] in ("[]", "{}", "()"):
            raise TaskError(
                f"{place} is a list as a program prints it: write the names of the classes with {SEPARATOR!r} between, "
                "or a column of 0 and 1 for each class."
            )
        if {",", "_"} & set(cell) and kind != TaskKind.CLASSIFICATION and _are_numbers(pointed):
            raise TaskError(
                f"{place} has a decimal comma or a separator: write 1234.5, or name the --kind classification."
            )
        if cell.lower() in NOT_A_NUMBER and kind != TaskKind.CLASSIFICATION and _are_numbers(cells):
            raise TaskError(f"{place} is no number, as the others are; leave the row out.")


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells but those that stand for a missing number are numbers."""
    rest = [cell for cell in cells if cell.lower() not in NOT_A_NUMBER]
    try:
        return bool(rest) and all(np.isfinite(float(cell)) for cell in rest)
    except ValueError:
        return False
