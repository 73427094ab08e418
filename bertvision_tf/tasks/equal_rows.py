"""Which rows are equal, found by hashes: of many rows in a few bytes each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def number_equal(rows: Iterable[Any], read: Callable[[int], Any]) -> np.ndarray | None:
    """A number for each row, equal for equal rows, by the order in which they come first.

    Args:
        rows: hashable, one by one.
        read: a place → the row again, to compare those of one hash.

    Returns:
        int64, (rows,); None where all rows differ.
    """
    hashes = np.fromiter(map(hash, rows), np.int64)
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return None
    del ordered  # eight bytes a row
    first = np.arange(len(hashes))  # of the rows that equal it
    places = np.flatnonzero(np.isin(hashes, twice))
    places = places[np.argsort(hashes[places], kind="stable")]
    known, last = dict[Any, int](), None  # of one hash
    for place in places.tolist():
        if hashes[place] != last:
            known, last = {}, hashes[place]
        first[place] = known.setdefault(read(place), place)
    number, found = np.unique(first, return_inverse=True)
    return found if len(number) < len(first) else None


class Hashes:
    """Of which hashable rows some others may be.

    Args:
        rows: one by one.
    """

    def __init__(self, rows: Iterable[Any]):
        self._known = np.unique(np.fromiter(map(hash, rows), np.int64))

    def __contains__(self, row: Any) -> bool:
        value = hash(row)
        place = np.searchsorted(self._known, value)
        return bool(place < len(self._known) and self._known[place] == value)
