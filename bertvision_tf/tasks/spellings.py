"""How labels of the user's are spelt, and what was guessed of a table: refused, or said in a line."""

import re
import unicodedata
from collections.abc import Container, Iterable, Sequence
from typing import Any

from ..errors import TaskError
from ..kinds import Kind
from ..kinds.cells import SEPARATOR, SWITCH, is_no_value, read_number
from ..notes import note
from .spec import TaskSpec
from .tables import Table
from .values import SWITCHES

NAME_KIND = ", or name the --kind classification if that is a class's name"
SIGNS = str.maketrans({"\u2212": "-"} | dict.fromkeys(",_' \u00a0\u202f$€£%"))  # in numbers as people write them
SURE = ",|\t\n"  # signs that stand between names, and in none
PRINTED = re.compile(
    r"""[bru]{0,2}(['"])\W*\w.*\1  # a text in quotes, or several
    | [a-z_][\w.]*\((\w+=|[\[{('"]).*\)  # a call with a name, a list or a text
    | ([\w.]*\.)?(tensor|array|u?int\d*|float\d*|bool_?)\(([-+.\d]|true|false|nan|inf).*\)  # a number of a library's
    | <[\w.]+:\s.*>|<.*\sat\s0x[\da-f]+>  # an object""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
PRINTED_SWITCHES = re.compile(r"[01]([^\w.;])[01](\1[01])+")  # of three classes or more: 1-0 may be a result


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


def check_spelling(table: Table, cells: Sequence[str], kind: Kind | None) -> None:
    """Raises TaskError where a label is spelt as something that is no class and no number.

    Args:
        table: where the cells stand.
        cells: one a row.
        kind: of the task; a named classification takes any spelling.
    """
    if kind is not None and kind.single:
        return
    distinct = dict.fromkeys(cells)
    separated, numbers = _are_numbers([cell.translate(SIGNS) for cell in distinct]), _are_numbers(distinct)
    switches = any(distinct) and all(PRINTED_SWITCHES.fullmatch(cell) for cell in distinct if cell)
    for cell in distinct:

        def tell(cell: str = cell) -> str:
            return f"{table.name}, line {table.lines[cells.index(cell)]}: the label {cell[:60]!r}"

        listed = cell[:1] + cell[-1:] in ("[]", "{}", "()") or switches
        if listed or PRINTED.fullmatch(cell):
            raise TaskError(
                f"{tell()} is a {'list' if listed else 'value'} as a program prints it: write the names of the classes "
                f"with {SEPARATOR!r} between, or a column of 0 and 1 for each class{NAME_KIND}."
            )
        if separated and cell != cell.translate(SIGNS) and not is_no_value(cell):
            raise TaskError(f"{tell()} has a decimal comma or a separator, or a sign: write 1234.5{NAME_KIND}.")
        if numbers and is_no_value(cell):
            raise TaskError(f"{tell()} is no number, as the others are; leave the row out.")
    if kind is not None and kind.several and not any(SEPARATOR in cell for cell in distinct):
        names = distinct.keys() - {""}
        for cell in distinct:
            sign = _find_separator(cell, names)
            if sign is not None:
                raise TaskError(
                    f"{table.name}, line {table.lines[cells.index(cell)]}: the label {cell[:60]!r} has {sign!r}, and "
                    f"no label has {SEPARATOR!r}, which stands between classes{NAME_KIND}."
                )


def _find_separator(cell: str, names: Container[str]) -> str | None:
    """A sign of SURE, or one between parts that are all names of their own."""
    for sign in dict.fromkeys(cell):
        parts = [] if sign.isalnum() else cell.split(sign)
        if sign in SURE or (parts and all(part.strip() in names for part in parts)):
            return sign
    return None


def _are_numbers(cells: Iterable[str]) -> bool:
    """Whether all cells but those that stand for a missing number are numbers."""
    rest = [cell for cell in cells if not is_no_value(cell)]
    return bool(rest) and all(read_number(cell) is not None for cell in rest)
