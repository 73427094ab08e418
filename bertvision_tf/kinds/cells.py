"""What a cell of a label column says: a number, names of classes, or that there is no value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import TaskError

Place = Callable[[int], str]  # row → where it stands, for errors

SEPARATOR = ";"  # between the classes of one row where several may hold
SWITCH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}  # in small letters
LARGEST = float(np.finfo(np.float32).max)
NO_VALUE = {"nan", "-nan", "na", "n/a", "n.a.", "<na>", "nat", "null", "nil", "none", "missing", "inf", "+inf", "-inf"}
NO_VALUE |= {"infinity", "-infinity"}  # how programs and people write that there is none
MARK = re.compile(r"#(n/a|[a-z0-9/]+[!?])|([-\u2013\u2014?.])\2*")  # Excel's errors; one sign, once or more
LISTED = 5  # classes in a sentence
SHOWN = 20  # known classes that an error lists


def is_no_value(cell: str) -> bool:
    """Whether a cell is a mark for a value that is missing or no number."""
    text = cell.strip().lower()
    return text in NO_VALUE or MARK.fullmatch(text) is not None


def list_names(names: Sequence[str]) -> str:
    """The first of some classes, as a sentence names them."""
    return ", ".join(map(repr, names[:LISTED])) + (" …" if len(names) > LISTED else "")


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


def find_class(classes: Mapping[str, int], name: str, place: Place, row: int) -> int:
    """The index of a class.

    Args:
        classes: indices by name, the names that errors list before others of the same classes.
        name: which.
        place, row: where it stands, for errors.

    Raises:
        TaskError: the name is not known.
    """
    if name not in classes:
        names = list(classes)[: len(set(classes.values()))]  # without those that stand for the same class again
        known = ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
        raise TaskError(f"{place(row)}: label {name!r} is not known; known: {known}.")
    return classes[name]
