"""Tables of the user's: CSV, TSV, JSON Lines and Parquet files, data frames, mappings of lists."""

import csv
import dataclasses
import json
import os
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import TaskError
from ..paths import read_object, read_path
from .delimited import read_delimited
from .files import HALF, is_whole, read_text
from .frames import read_frame
from .values import LIST, find_odd, read_value, show_json, show_value

DELIMITERS = {".csv": ",", ".tsv": "\t"}
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}", re.IGNORECASE)  # a Path keeps one stroke
READ = (*DELIMITERS, ".jsonl", ".parquet")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        name: the file, or what else an error calls it.
        header: the names of its columns.
        rows: the cells of each row; lists in a cell are joined by ";", what is missing is "".
        lines: where each row stands in its file, from 1.
        odd: of columns with cells that are no single values, what those are (LIST or another of values.py), each with
            the first row of it, from 0.
    """

    name: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    odd: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for line, row in zip((0, *self.lines), (self.header, *self.rows), strict=True):
            for name, cell in zip(self.header, row, strict=True):
                if not is_whole(cell):
                    where = f"{self.name}, line {line}: {name!r}" if line else f"{self.name}: a column's name"
                    raise TaskError(f"{where} {HALF} ({cell[:40]!r}).")

    def column(self, name: str, nested: Container[str] = ()) -> list[str]:
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
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def read_table(source: Any, lists_as_json: bool = False) -> Table:
    """Reads a table.

    Args:
        source: a .csv or .tsv file whose first line names the columns; .jsonl with an object a line; .parquet; or
            what `read_frame` reads: a mapping of columns, or a data frame.
        lists_as_json: whether lists and objects in a cell become JSON, instead of texts with ";" between.

    Raises:
        TaskError: it cannot be read, is empty, or a row has more or fewer cells than the header.
    """
    show = show_json if lists_as_json else show_value
    if not isinstance(source, (str, os.PathLike)):
        return _read_columns("the table", read_frame(source), show)
    if ADDRESS.match(str(source)):
        raise TaskError(f"{source} is an address: name the path of a file on this machine.")
    path = read_path(source)
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return _read_json_lines(path, show)
    if suffix == ".parquet":
        return _read_parquet(path, show)
    return Table(str(path), *read_delimited(path, _find_delimiter(path, READ)))


def find_column(header: Sequence[str], names: Sequence[str]) -> str | None:
    """The column of the first of these names that is there, in any case and with blanks around it; None of none.

    Raises:
        TaskError: two columns have one of these names.
    """
    for name in names:
        found = [column for column in header if column.strip().lower() == name]
        if len(set(found)) > 1:
            raise TaskError(
                f"the columns {found[0]!r} and {found[1]!r} are both called {name!r}: name one, or rename it."
            )
        if found:
            return found[0]
    return None


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV or TSV file, whole or not at all.

    Raises:
        TaskError: it cannot be written.
    """
    delimiter = _find_delimiter(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TaskError(f"{path} cannot be written: {error.strerror}.") from None


def check_writable(path: Path) -> None:
    """Raises TaskError where `write_table` could not write, before the work for it is done."""
    _find_delimiter(path)
    if not path.absolute().parent.is_dir():
        raise TaskError(f"{path} cannot be written: {path.parent} is no folder.")


def _read_json_lines(path: Path, show: Callable[[Any], str]) -> Table:
    objects, lines = [], []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line, object_pairs_hook=read_object)
        except json.JSONDecodeError as error:
            raise TaskError(f"{path}, line {number}: no JSON ({error.msg}).") from None
        except (ValueError, RecursionError) as error:
            raise TaskError(f"{path}, line {number}: {error}.") from None
        if not isinstance(content, dict):
            raise TaskError(f"{path}, line {number}: expected an object, got {type(content).__name__}.")
        objects.append(content)
        lines.append(number)
    if not objects:
        raise TaskError(f"{path} is empty: expected an object on each line.")
    header = list(dict.fromkeys(name for content in objects for name in content))
    columns = {name: [content.get(name) for content in objects] for name in header}
    return dataclasses.replace(_read_columns(str(path), columns, show), lines=lines)


def _read_parquet(path: Path, show: Callable[[Any], str]) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        raise TaskError(f"{path} needs pyarrow to be read: pip install pyarrow.") from None
    place = ""
    try:
        table = parquet.read_table(path)
        columns = {}
        for name, cells in zip(table.column_names, table.columns, strict=True):
            place = f", column {name!r},"
            columns[name] = cells.to_pylist()
    except Exception as error:  # pyarrow has its own, and those of each encoding
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TaskError(f"{path}{place} cannot be read: {reason}") from None
    return _read_columns(str(path), columns, show)


def _read_columns(name: str, columns: Mapping[str, Sequence[Any]], show: Callable[[Any], str]) -> Table:
    lengths = {column: len(cells) for column, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        raise TaskError(f"the columns of {name} differ in length: {lengths}.")
    values = {column: [read_value(cell) for cell in cells] for column, cells in columns.items()}
    rows = [list(row) for row in zip(*([show(value) for value in column] for column in values.values()), strict=True)]
    odd = {column: found for column, cells in values.items() if (found := find_odd(cells))}
    return Table(name, list(columns), rows, list(range(1, len(rows) + 1)), odd)


def _find_delimiter(path: Path, known: Sequence[str] = tuple(DELIMITERS)) -> str:
    if path.suffix.lower() not in DELIMITERS:
        raise TaskError(f"{path} needs a name that ends in {', '.join(known[:-1])} or {known[-1]}.")
    return DELIMITERS[path.suffix.lower()]
