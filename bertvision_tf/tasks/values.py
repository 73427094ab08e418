"""A cell of a table, of any library's kind → a plain value of Python, and that as text."""

import datetime
import decimal
import fractions
import json
import math
import uuid
from collections.abc import Mapping
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


class OddFinder:
    """What values of one column are that are no single ones, and the first row of each kind.

    Lists are SWITCHES where all are of one length, of two or more, and hold 0 and 1 alone.

    Args:
        before: rows that are there already, and missing.
    """

    def __init__(self, before: int = 0):
        self._count, self._odd = before, dict[str, int]()
        self._sizes: dict[int, list[int]] = {0: [before, 0]} if before else {}  # how many rows, and the first of them

    def add(self, value: Any) -> None:
        """The next row's."""
        what = _name_odd(value)
        if what is not None:
            self._odd.setdefault(what, self._count)
        size = len(value) if what is not None and _is_switches(value) else 0
        self._sizes.setdefault(size, [0, self._count])[0] += 1
        self._count += 1

    @property
    def found(self) -> dict[str, int]:
        """Of all values so far."""
        if self._odd and self._odd.keys() <= {LIST, NUMBERS}:
            usual = max(self._sizes, key=lambda size: self._sizes[size][0])
            if usual and self._sizes[usual][0] == self._count:
                return {SWITCHES: 0}
            if usual and self._sizes[usual][0] > self._count / 2:
                return {MIXED: min(first for size, (_, first) in self._sizes.items() if size != usual)}
        return self._odd


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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return value >= 0 and value == int(value)


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
