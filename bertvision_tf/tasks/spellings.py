"""How labels of the user's are spelt, and what was guessed of a table: refused, or said in a line."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from ..errors import TaskError
from ..notes import note
from .labels import SEPARATOR, SWITCH, is_no_value, read_number
from .spec import TaskKind, TaskSpec
from .tables import Table
from .values import SWITCHES

NAME_KIND = ", or name the --kind classification if that is a class's name"
SIGNS = str.maketrans({"\u2212": "-"} | dict.fromkeys(",_' \u00a0\u202f$€£%"))  # in numbers as people write them


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
    """Lines of classes that have no names, may be none, or are one in two spellings."""
    if SWITCHES in table.odd.get(task.label or "", {}):
        note(
            f"{table.name}: {task.label!r} holds lists of 0 and 1, whose classes are called by their places: 0 to "
            f"{len(task.label_names) - 1}."
        )
    alike: dict[Any, str] = {}
    for name in task.label_names:
        other = alike.setdefault(_spell(name), name)
        if other != name:
            note(f"{table.name}: the labels {other!r} and {name!r} are two classes, and differ in spelling alone.")
    missing = [name for name in task.label_names if is_no_value(name)]
    if missing:
        note(f"{table.name}: the label {missing[0]!r} is taken for a class; leave its rows out if it is none.")


def _spell(name: str) -> Any:
    """What two spellings of one class have in common: the number, of true and false too, or the letters without case,
    blanks and widths."""
    number = SWITCH.get(name.lower(), read_number(name))
    if number is not None:
        return float(number)
    letters = unicodedata.normalize("NFKC", name).casefold()
    return "".join(letter for letter in letters if not letter.isspace() and unicodedata.category(letter) != "Cf")


def check_spelling(table: Table, cells: Sequence[str], kind: str | None) -> None:
    """Raises TaskError where a label is spelt as something that is no class and no number.

    Args:
        table: where the cells stand.
        cells: one a row.
        kind: of the task; a named classification takes any spelling.
    """
    if kind == TaskKind.CLASSIFICATION:
        return
    separated, numbers = _are_numbers([cell.translate(SIGNS) for cell in cells]), _are_numbers(cells)
    for row, cell in enumerate(cells):
        place = f"{table.name}, line {table.lines[row]}: the label {cell[:60]!r}"
        if cell[:1] + cell[-1:] in ("[]", "{}", "()"):
            raise TaskError(
                f"{place} is a list as a program prints it: write the names of the classes with {SEPARATOR!r} between, "
                f"or a column of 0 and 1 for each class{NAME_KIND}."
            )
        if separated and cell != cell.translate(SIGNS) and not is_no_value(cell):
            raise TaskError(f"{place} has a decimal comma or a separator, or a sign: write 1234.5{NAME_KIND}.")
        if numbers and is_no_value(cell):
            raise TaskError(f"{place} is no number, as the others are; leave the row out.")
    if kind == TaskKind.MULTILABEL and not any(SEPARATOR in cell for cell in cells):
        for row, cell in enumerate(cells):
            if "," in cell:
                raise TaskError(
                    f"{table.name}, line {table.lines[row]}: the label {cell[:60]!r} has ',', and no label has "
                    f"{SEPARATOR!r}, which stands between classes{NAME_KIND}."
                )


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether all cells but those that stand for a missing number are numbers."""
    rest = [cell for cell in cells if not is_no_value(cell)]
    return bool(rest) and all(read_number(cell) is not None for cell in rest)
