"""CSV and TSV files → rows of cells, each as it stands there, or an error that names its line."""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import TaskError
from ..kinds.cells import read_number
from ..notes import note
from .equal_rows import Hashes
from .files import LONGEST, TextFile
from .table import Table, TableWriter

NAMED = re.compile(r'"?sep=(?P<delimiter>[^"\r\n])"?[\r\n]', re.IGNORECASE)
OTHER_DELIMITERS = ";\t,|"
FEW = 0.05  # of the rows, that may be there since a quote was left open; where more are, cells are long
LOOKED_AT = 50  # rows, to guess the delimiter


def read_delimited(path: Path, usual: str) -> Table:
    """Reads a file of cells with a delimiter between. A cell that holds a delimiter, a quote or a line end is quoted.

    Args:
        path: the file.
        usual: the delimiter that its name promises. Where it divides no header, another is found out, and said.

    Returns:
        the table; a row's line is its last in the file, from 1. Empty lines are left out.

    Raises:
        TaskError: a row has more or fewer cells than the header, a line of a file of one column is empty, a quote is
            left open, or the file is empty.
    """
    file = TextFile(path)
    limit = csv.field_size_limit(LONGEST)  # the usual one is 131,072 characters
    try:
        named = NAMED.match(next(file.walk(), ""))  # Excel's own first line
        delimiter = named["delimiter"] if named else _guess_delimiter(file, usual)
        records = _read_records(path, file, delimiter)
        if named:
            next(records)
        _, _, header, _ = next((record for record in records if record[2]), (0, 0, [], ""))
        if not header:
            raise TaskError(f"{path} is empty: expected a header and rows.")
        writer = TableWriter(str(path), header)
        long: dict[int, int] = {}  # rows that a quote left open may have swallowed others into, and their first lines
        for first, last, row, raw in records:
            _check_row(path, header, delimiter, first, last, row, raw)
            if any("\n" in cell and delimiter in cell for cell in row):
                long[len(writer)] = first
            if row:
                writer.append_texts(last, row)
    finally:
        file.close()
        csv.field_size_limit(limit)
    if delimiter != usual:
        says = "as its first line says" if named else f"not by {usual!r} as the file's name says"
        note(f"{path}: the cells are separated by {delimiter!r}, {says}.")
    table = writer.finish()
    if len(long) > max(FEW * len(table), 1):
        long = _find_swallowed(table.columns, long, delimiter)
    if long:
        note(
            f"{path}: rows with a quoted cell that runs over several lines and holds {delimiter!r}: {len(long)}, the "
            f"first in line {long[min(long)]}; if a quote was left open there, rows are lost."
        )
    return table


def _read_records(path: Path, file: TextFile, delimiter: str) -> Iterator[tuple[int, int, list[str], str]]:
    """The first and the last line of each record, from 1; its cells, none of an empty line; its last line as it is."""
    line, letters, plain = "", 0, not next(file.walk(), "").endswith("\r\n")

    def walk() -> Iterator[str]:
        nonlocal line, letters
        for line in file.walk():
            letters += len(line)
            if letters > LONGEST:
                raise csv.Error(f"the row is longer than {LONGEST} letters")
            yield line

    reader, last = csv.reader(walk(), delimiter=delimiter, strict=True), 0
    try:
        for cells in reader:
            if plain and line.endswith("\r\n") and not line.endswith('"\r\n'):
                raise csv.Error("the line ends in a carriage return and the first does not: it may be part of a cell")
            yield last + 1, reader.line_num, cells, line
            last, letters = reader.line_num, 0
    except csv.Error as error:
        reason = f"{error}; is a quote left open?"
        if "carriage return" in str(error):
            reason = f"{error}; put the cell into quotes, or let all lines end alike."
        if "new-line character" in str(error):
            reason = "a carriage return stands inside a cell without quotes; put the cell into quotes."
        raise TaskError(f"{path}, line {reader.line_num}: {reason}") from None


def _check_row(path: Path, header: list[str], delimiter: str, first: int, last: int, row: list[str], raw: str) -> None:
    if delimiter == "\t" and any("\t" in cell and "\n" in cell for cell in row):
        raise TaskError(
            f"{path}, line {first}: a quote opens a cell that goes on to line {last} and holds tabs; is a quote "
            "left open? Where quotes are part of the text, put the text into quotes and double those inside."
        )
    for name, cell in zip(header, row, strict=False):
        quoted = cell.strip()[:1] == cell.strip()[-1:] == '"' != cell.strip()
        if quoted and cell[:1] in (" ", "\t") and cell in raw:  # and not with its quotes doubled
            raise TaskError(
                f"{path}, line {first}: in {name!r} a blank stands before a quote ({cell[:40]!r}): remove it."
            )
    if not row and len(header) == 1:
        raise TaskError(f"{path}, line {first}: the line is empty, and {header[0]!r} is the only column.")
    if len(row) not in (0, len(header)):
        raise TaskError(f"{path}, line {last}: {len(row)} cells, the header has {len(header)} ({', '.join(header)}).")


def _find_swallowed(columns: list[Sequence[str]], long: dict[int, int], delimiter: str) -> dict[int, int]:
    """Those of the long rows with a line inside a cell that has all cells of a row, one of them as in its column: it
    stands in other rows too, or is a number where all are."""

    def walk_single(column: Sequence[str]) -> Iterator[str]:
        return (cell for cell in column if cell and "\n" not in cell)

    known = [Hashes(walk_single(column)) for column in columns]
    numbers = [all(read_number(cell) is not None for cell in walk_single(column)) for column in columns]

    def fits(column: int, cell: str) -> bool:
        return cell in known[column] or (numbers[column] and cell == cell.strip() and read_number(cell) is not None)

    def holds_row(row: list[str], column: int) -> bool:
        lines = [line.removesuffix("\r").split(delimiter) for line in row[column].split("\n")]
        for number, cells in enumerate(lines):
            first = column if number == 0 else 0
            last = column if number == len(lines) - 1 else len(row) - 1
            parts = zip(range(first, last + 1), cells, strict=False)
            if len(cells) == last + 1 - first and any(place != column and fits(place, cell) for place, cell in parts):
                return True
        return False

    found = {}
    for place, line in long.items():
        row = [column[place] for column in columns]
        if any("\n" in cell and holds_row(row, column) for column, cell in enumerate(row)):
            found[place] = line
    return found


def _guess_delimiter(file: TextFile, usual: str) -> str:
    """The usual one; where it divides no header, the only other one that gives all of the first rows as many cells."""

    def count(delimiter: str) -> set[int]:
        reader = csv.reader(file.walk(), delimiter=delimiter, strict=True)
        try:
            return {len(row) for row in itertools.islice(reader, LOOKED_AT) if row}
        except csv.Error:
            return set()

    try:
        header: list[str] = next(csv.reader(file.walk(), delimiter=usual), [])
    except csv.Error:  # said with its line where the records are read
        return usual
    if len(header) != 1:
        return usual
    fitting = [
        other for other in OTHER_DELIMITERS if other != usual and len(found := count(other)) == 1 and max(found) > 1
    ]
    return fitting[0] if len(fitting) == 1 else usual
