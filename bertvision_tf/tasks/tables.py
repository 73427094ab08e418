"""Tables of the user's: CSV and TSV files with a header."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import TaskError
from .files import read_text

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text: the names of its columns, and its rows."""

    path: Path
    header: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            TaskError: there is none of that name.
        """
        if name not in self.header:
            raise TaskError(f"{self.path} has no column {name!r}; it has {', '.join(map(repr, self.header))}.")
        place = self.header.index(name)
        return [row[place] for row in self.rows]


def read_table(path: Path) -> Table:
    """Reads a CSV or TSV file whose first line names the columns.

    Raises:
        TaskError: it cannot be read, is empty, or a row has more or fewer cells than the header.
    """
    delimiter = _find_delimiter(path)
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    header = next(_read_rows(reader, path), None)
    if not header:
        raise TaskError(f"{path} is empty: expected a header and rows.")
    rows = []
    for row in _read_rows(reader, path):
        if len(row) not in (0, len(header)):
            raise TaskError(
                f"{path}, line {reader.line_num}: {len(row)} cells, the header has {len(header)} ({', '.join(header)})."
            )
        if row:
            rows.append(row)
    return Table(path, header, rows)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
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


def _read_rows(reader, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise TaskError(f"{path}, line {reader.line_num}: {error}; is a quote left open?") from None


def _find_delimiter(path: Path) -> str:
    if path.suffix.lower() not in DELIMITERS:
        raise TaskError(f"{path} needs a name that ends in {' or '.join(DELIMITERS)}.")
    return DELIMITERS[path.suffix.lower()]
