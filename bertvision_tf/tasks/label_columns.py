"""The label columns of a user's table: their cells, what kind of task they make, and their classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..errors import TaskError
from ..kinds import CLASSIFICATION, MULTILABEL, REGRESSION, Kind
from ..kinds.cells import SEPARATOR, SWITCH, read_number, split_classes
from .tables import Table
from .values import LIST, SWITCHES


def count_switches(table: Table, columns: Sequence[str]) -> int:
    """How many classes lists of 0 and 1 speak of; 0 where labels are no such lists."""
    if len(columns) > 1 or SWITCHES not in table.odd.get(columns[0], {}):
        return 0
    return table.column(columns[0], (SWITCHES,))[0].count(SEPARATOR) + 1


def read_labels(table: Table, columns: Sequence[str], switches: int) -> list[str]:
    """One cell a row. Several columns of 0 and 1 become the names of those with 1, with ";" between; so do lists of 0
    and 1, of which train has so many `switches`, whose classes are called by their places."""
    if len(columns) == 1:
        known: dict[str, str] = {}  # so that equal cells are one text in memory
        stripped = (cell.strip() for cell in table.column(columns[0], (LIST, SWITCHES)))
        cells = [known.setdefault(cell, cell) for cell in stripped]
        found = count_switches(table, columns)
        if cells and found != switches and (switches or any(_stand_twice(cell.split(SEPARATOR)) for cell in cells)):
            now, then = (
                f"a list of {count} times 0 or 1" if count else "a name or a list of names"
                for count in (found, switches)
            )
            raise TaskError(f"{table.name}, line {table.lines[0]}: {columns[0]!r} is {now}, and in train {then}.")
        if not switches:
            return cells
        lists = [cell.split(SEPARATOR) for cell in cells]
        return [SEPARATOR.join(str(place) for place, one in enumerate(row) if SWITCH[one.lower()]) for row in lists]
    chosen: list[list[str]] = [[] for _ in range(len(table))]
    for column in columns:
        for row, cell in enumerate(table.column(column)):
            holds = SWITCH.get(cell.strip().lower())
            if holds is None:
                raise TaskError(f"{table.name}, line {table.lines[row]}: {column!r} needs 0 or 1, got {cell!r}.")
            if holds:
                chosen[row].append(column.strip())
    return [SEPARATOR.join(names) for names in chosen]


def _stand_twice(names: Sequence[str]) -> bool:
    return len(set(names)) < len(names)


def guess_kind(table: Table, cells: Sequence[str], columns: Sequence[str], listed: bool) -> Kind:
    """The kind of task that labels make.

    Raises:
        TaskError: most are numbers, one with a fraction, and others are none.
    """
    if listed or len(columns) > 1 or any(SEPARATOR in cell for cell in cells):
        return MULTILABEL
    counts = Counter(cells)
    numbers = {cell: read_number(cell) for cell in counts}
    odd = sum(count for cell, count in counts.items() if cell and numbers[cell] is None)
    if not any(number % 1 for number in numbers.values() if number is not None):
        return CLASSIFICATION
    if odd and odd < len(cells) / 2:
        row = next(row for row, cell in enumerate(cells) if cell and numbers[cell] is None)
        raise TaskError(
            f"{table.name}, line {table.lines[row]}: the label {cells[row]!r} is no number, as the others are; "
            "mend it, leave the row out, or name the --kind classification."
        )
    return CLASSIFICATION if odd else REGRESSION


def find_classes(
    table: Table, cells: Sequence[str], kind: Kind, columns: Sequence[str], switches: int, guessed: bool
) -> tuple[str, ...]:
    """The names of the classes, numbers by their size and others by the alphabet.

    Args:
        table, cells, columns: what `read_labels` gave of which columns.
        kind: of the task, no regression.
        switches: see `read_labels`.
        guessed: whether the kind was guessed, so that labels may be none.

    Raises:
        TaskError: there is nothing to tell apart, or labels are no classes.
    """
    if kind.several:
        if len(columns) > 1:
            names_given = tuple(column.strip() for column in columns)
            if any(SEPARATOR in name for name in names_given) or len(set(names_given)) < len(columns):
                raise TaskError(f"label columns need names of their own, without {SEPARATOR!r}, got {names_given}.")
            return names_given
        if switches:
            return tuple(map(str, range(switches)))
        names = _find_names(table, cells)
    else:
        names = set(cells) - {""}
    if len(names) == 1 and kind.single and "" in cells:
        raise TaskError(f"{table.name}, line {table.lines[cells.index('')]}: the label is empty.")
    if len(names) < kind.least_classes:
        only = f"one class only ({next(iter(names))!r})" if names else "no label"
        raise TaskError(f"{table.name}: column {columns[0]!r} has {only}; there is nothing to tell apart.")
    if guessed and kind.single and len(names) > max(len(cells) // 2, 20):
        raise TaskError(
            f"{table.name}: column {columns[0]!r} has {len(names)} different labels in {len(cells)} rows: name the "
            "--kind (classification where they are classes, regression where they are numbers), or another column."
        )
    return tuple(sorted(names, key=_order))


def _find_names(table: Table, cells: Sequence[str]) -> set[str]:
    """The names in cells of several; TaskError where they say by their places which classes hold.

    Lists of one length, two or more, do that where there are two names, both in each list or one twice in a list; or
    numbers from 0 to 1 alone.
    """
    lists = [split_classes(cell) for cell in cells]
    full = [[name.lower() for name in found] for found in lists if found]
    numbers = [read_number(name) for found in full for name in found]
    alike = len(set(map(len, full))) == 1 and len(full[0]) > 1
    twice = any(map(_stand_twice, full))
    few = len({name for found in full for name in found}) <= 2 and (twice or len(full) == len(lists))
    if (alike and (few or all(number is not None and 0 <= number <= 1 for number in numbers))) or (
        twice and None not in numbers
    ):
        row = next(row for row, found in enumerate(lists) if found)
        what = "0 and 1, or of numbers" if None not in numbers else "words such as true and false"
        raise TaskError(
            f"{table.name}, line {table.lines[row]}: the label {cells[row]!r} is a list of {what}: "
            "write the names of the classes that hold instead, or a column of 0 and 1 for each class."
        )
    return {name for found in lists for name in found}


def _order(name: str) -> tuple[int, float, str]:
    """Numbers by size, then names by the alphabet."""
    number = read_number(name)
    return (1, 0.0, name) if number is None else (0, number, name)
