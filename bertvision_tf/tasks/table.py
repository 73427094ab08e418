"""A table as text, and what makes one of cells that come row by row."""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import TaskError
from ..packed import Numbers, TextWriter
from .files import HALF, is_whole
from .values import LIST, OddFinder, read_value

MOST_COLUMNS = 4096


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        name: the file, or what else an error calls it.
        header: the names of its columns.
        columns: the cells of each column; lists in a cell are joined by ";", what is missing is "".
        lines: where each row stands in its file, from 1.
        odd: of columns with cells that are no single values, what those are (LIST or another of values.py), each with
            the first row of it, from 0.
    """

    name: str
    header: list[str]
    columns: list[Sequence[str]]
    lines: Sequence[int]
    odd: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def rows(self) -> list[list[str]]:
        """The cells of each row, all in memory."""
        return list(self.walk())

    def walk(self) -> Iterator[list[str]]:
        """The cells of each row, one row after another."""
        return map(list, zip(*self.columns, strict=True))

    def column(self, name: str, nested: Container[str] = ()) -> Sequence[str]:
        """The cells of a column.

        Args:
            name: the column's.
            nested: which of NESTED its cells may be, beside single values.

        Raises:
            TaskError: there is none of that name, or two, or a cell is no single value.
        """
        if self.header.count(name) != 1:
            found = "no column" if name not in self.header else "more than one column"
            raise TaskError(f"{self.name} has {found} {name!r}; it has {', '.join(map(repr, self.header))}.")
        for what, row in self.odd.get(name, {}).items():
            if what not in nested:
                raise TaskError(
                    f"{self.name}, line {self.lines[row]}: {name!r} is {what}, expected "
                    f"{'names, or a list of them' if LIST in nested else 'a text or a number'}."
                )
        return self.columns[self.header.index(name)]


class TableWriter:
    """Makes a `Table` row by row, in little memory however many there are.

    Args:
        name: the table's.
        header: the names of its columns.

    Raises:
        TaskError: a name has half a character, so do `append` and `append_texts` of a cell; or there are too many.
    """

    def __init__(self, name: str, header: Iterable[str] = ()):
        self.name, self.header = name, list[str]()
        self._columns: list[TextWriter] = []
        self._finders: list[OddFinder] = []
        self._lines = array.array("q")
        for column in header:
            self.add_column(column)

    def __len__(self) -> int:
        return len(self._lines)

    def add_column(self, name: str) -> None:
        """A further column, empty in the rows that are there."""
        if len(self.header) == MOST_COLUMNS:
            raise TaskError(f"{self.name} has more than {MOST_COLUMNS} columns: leave out those that are not used.")
        if not is_whole(name):
            raise TaskError(f"{self.name}: a column's name {HALF} ({name[:40]!r}).")
        self.header.append(name)
        self._columns.append(TextWriter("" for _ in self._lines))
        self._finders.append(OddFinder(len(self._lines)))

    def append(self, line: int, cells: Iterable[Any], show: Callable[[Any], str]) -> None:
        """Adds a row of any values.

        Args:
            line: where it stands.
            cells: one for each column.
            show: makes a text of a value.
        """
        values = list(map(read_value, cells))
        for finder, value in zip(self._finders, values, strict=True):
            finder.add(value)
        self.append_texts(line, map(show, values))

    def append_texts(self, line: int, cells: Iterable[str]) -> None:
        """Adds a row of texts."""
        for name, column, cell in zip(self.header, self._columns, cells, strict=True):
            try:
                column.append(cell)
            except UnicodeEncodeError:
                raise TaskError(f"{self.name}, line {line}: {name!r} {HALF} ({cell[:40]!r}).") from None
        self._lines.append(line)

    def finish(self) -> Table:
        """The table."""
        odd = {name: found for name, finder in zip(self.header, self._finders, strict=True) if (found := finder.found)}
        return Table(self.name, self.header, [column.finish() for column in self._columns], Numbers(self._lines), odd)
