"""A cell of a table, of any library's kind → a plain value of Python, and that as text."""

import datetime
import decimal
import fractions
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from ..kinds import SEPARATOR

LIST, SWITCHES = "a list", "a list of 0 and 1"
OBJECT, BYTES = "an object or a list of lists", "bytes that are not UTF-8"
NUMBERS, MIXED = "a list of what is no name", "a list of 0 and 1 in most rows and not here"
UNKNOWN, SEPARATED = "of a kind that is not read", f"a list with a name that holds {SEPARATOR!r}"
NESTED = (LIST, SWITCHES, OBJECT, NUMBERS, MIXED, SEPARATED)  # what JSON can say
AS_TEXT = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, fractions.Fraction, uuid.UUID, PurePath)
MISSING = ("NAType", "NaTType")  # pandas's
NAMED = ("Interval", "Period", "Timestamp", "Timedelta")  # pandas's, whose texts are names


class Unread:
    """What cannot be read: `what` says why, its text is for the eye alone."""

    def __init__(self, what: str, text: str):
        self.what, self.text = what, text

    def __str__(self) -> str:
        return self.text


def read_value(cell: Any) -> Any:
    """None, a text, a truth value, a number, a list or a dict of these; `Unread` where it is none of them."""
    if cell is None or type(cell).__name__ in MISSING:
        return None
    if isinstance(cell, str):
        return str.__str__(cell)
    if isinstance(cell, (bytes, bytearray, memoryview)):
        try:
            return bytes(cell).decode()
        except UnicodeDecodeError:
            return Unread(BYTES, bytes(cell).decode(errors="replace"))
    if isinstance(cell, (bool, int)):
        return cell if type(cell) in (bool, int) else int(cell)
    if isinstance(cell, float):
        return None if math.isnan(cell) else float(cell)
    if isinstance(cell, AS_TEXT) or type(cell).__name__ in NAMED:
        return str(cell)
    if isinstance(cell, Mapping):
        return {str(name): read_value(part) for name, part in cell.items()}
    if isinstance(cell, (list, tuple)):
        return [read_value(part) for part in cell]
    if getattr(getattr(cell, "dtype", None), "kind", "") in ("m", "M"):  # numpy's dates, which it turns into numbers
        return [read_value(part) for part in cell] if cell.ndim else None if np.isnat(cell) else str(cell)
    for convert in ("as_py", "to_pylist", "to_list", "tolist", "numpy"):  # pyarrow; polars, pandas; numpy; TensorFlow
        if hasattr(cell, convert):
            try:
                found = getattr(cell, convert)()
            except Exception:  # each library has its own
                return Unread(UNKNOWN, type(cell).__name__)
            return Unread(UNKNOWN, str(cell)) if type(found) is type(cell) else read_value(found)
    return Unread(UNKNOWN, str(cell))


def find_odd(values: Sequence[Any]) -> dict[str, int]:
    """What values of one column are that are no single ones, and the first row of each kind.

    Lists are SWITCHES where all are of one length, of two or more, and hold 0 and 1 alone.
    """
    found: dict[str, int] = {}
    for row, value in enumerate(values):
        what = _name_odd(value)
        if what is not None:
            found.setdefault(what, row)
    if found and found.keys() <= {LIST, NUMBERS}:
        sizes = [len(value) if _is_switches(value) else 0 for value in values]
        usual = max(set(sizes), key=sizes.count)
        if usual and sizes.count(usual) == len(sizes):
            return {SWITCHES: 0}
        if usual and sizes.count(usual) > len(sizes) / 2:
            return {MIXED: next(row for row, size in enumerate(sizes) if size != usual)}
    return found


def _name_odd(value: Any) -> str | None:
    if isinstance(value, Unread):
        return value.what
    if isinstance(value, Mapping):
        return OBJECT
    if not isinstance(value, list):
        return None
    odd = next((what for part in value if (what := _name_odd(part))), None)
    if odd is not None:
        return OBJECT if odd in NESTED else odd
    numbers = [part for part in value if not isinstance(part, str)]
    if len(set(numbers)) < len(numbers) or not all(_is_index(part) for part in numbers):
        return NUMBERS
    texts = [part for part in value if isinstance(part, str)]
    if any(SEPARATOR in part for part in texts):
        return SEPARATED
    return LIST if all(part.strip() for part in texts) else NUMBERS


def _is_index(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and value >= 0 and value == int(value)


def _is_switches(value: Any) -> bool:
    """Whether a value is a list that says of each of several classes whether it holds."""
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(part, (bool, int, float)) and part in (0, 1) for part in value)
    )


def show_value(value: Any) -> str:
    """A value as it would stand in a CSV file: nothing for what is missing, 1 for 1.0, a;b for a list."""
    if value is None:
        return ""
    if isinstance(value, list):
        return SEPARATOR.join(map(show_value, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def show_json(value: Any) -> str:
    """As `show_value`, but lists and dicts as JSON."""
    if not isinstance(value, (list, dict)):
        return show_value(value)
    return json.dumps(value, ensure_ascii=False, default=str)
