"""Tables of the user's: CSV, TSV, JSON Lines and Parquet files, data frames, mappings of lists."""

import contextlib
import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TaskError, find_reason
from ..paths import read_object, read_path
from .delimited import read_delimited
from .files import LONGEST, TextFile
from .frames import ROWS, read_frame
from .row_streams import RowStream, is_row_stream
from .table import Table, TableWriter
from .values import show_json, show_value

DELIMITERS = {".csv": ",", ".tsv": "\t"}
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}", re.IGNORECASE)  # a Path keeps one stroke
MOST_AT_ONCE, LEAST_ROWS = 2**29, 64  # bytes and rows of a Parquet file that are unpacked at once
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
READ = (*DELIMITERS, ".jsonl", ".parquet")


def read_table(source: Any, lists_as_json: bool = False) -> Table:
    """Reads a table.

    Args:
        source: a .csv or .tsv file whose first line names the columns; .jsonl with an object a line; .parquet; or
            what `read_frame` reads: a mapping of columns, or a data frame; or rows one by one, as `RowStream` takes.
        lists_as_json: whether lists and objects in a cell become JSON, instead of texts with ";" between.

    Raises:
        TaskError: it cannot be read, is empty, or a row has more or fewer cells than the header.
    """
    show = show_json if lists_as_json else show_value
    if isinstance(source, RowStream) or is_row_stream(source):
        rows = source if isinstance(source, RowStream) else RowStream(source)
        return _read_rows("the table", enumerate(rows, start=1), show, "expected a row or more")
    if not isinstance(source, (str, os.PathLike)):
        return _read_frame("the table", source, show)
    if ADDRESS.match(str(source)):
        raise TaskError(f"{source} is an address: name the path of a file on this machine.")
    path = read_path(source)
    suffix = path.suffix.lower()
    if suffix == ".jsonl":
        return _read_json_lines(path, show)
    if suffix == ".parquet":
        return _read_parquet(path, show)
    return read_delimited(path, _find_delimiter(path, READ))


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
    with contextlib.closing(TextFile(path, carriage_returns=False)) as file:
        lines = ((number, line) for number, line in enumerate(file.walk(), start=1) if line.strip())
        rows = ((number, _read_object(path, number, line)) for number, line in lines)
        return _read_rows(str(path), rows, show, "expected an object on each line")


def _read_rows(
    name: str, rows: Iterable[tuple[int, Mapping[str, Any]]], show: Callable[[Any], str], expected: str
) -> Table:
    """A table of rows and their numbers; one that lacks a name of another has an empty cell there."""
    table, known = TableWriter(name), dict[str, None]()
    for number, content in rows:
        for column in content:
            if column not in known:
                known[column] = None
                table.add_column(column)
        table.append(number, map(content.get, known), show)
    if not len(table):
        raise TaskError(f"{name} is empty: {expected}.")
    return table.finish()


def _read_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        content = json.loads(line, object_pairs_hook=read_object)
    except json.JSONDecodeError as error:
        raise TaskError(f"{path}, line {number}: no JSON ({error.msg}).") from None
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path}, line {number}: {error}.") from None
    if not isinstance(content, dict):
        raise TaskError(f"{path}, line {number}: expected an object, got {type(content).__name__}.")
    return content


def _read_parquet(path: Path, show: Callable[[Any], str]) -> Table:
    try:
        from pyarrow import dataset, parquet
    except ImportError:
        raise TaskError(f"{path} needs pyarrow to be read: pip install pyarrow.") from None
    try:
        if path.is_dir():  # of several files, whose columns the names of folders may add to
            whole = dataset.dataset(path, format="parquet", partitioning="hive")
            names, parts = whole.schema.names, list(whole.get_fragments())
            rows = min((_choose_rows(Path(part.path), part.metadata) for part in parts), default=ROWS)
            batches = whole.to_batches(batch_size=rows, batch_readahead=1, fragment_readahead=1)
            for part in parts:
                missing = [name for name in part.physical_schema.names if name not in names]
                if missing:
                    raise TaskError(f"{part.path} has a column {missing[0]!r} that the first file of {path} lacks.")
        else:
            file = parquet.ParquetFile(path)
            names, batches = file.schema_arrow.names, file.iter_batches(_choose_rows(path, file.metadata))
    except TaskError:
        raise
    except Exception as error:  # pyarrow has its own
        raise TaskError(_tell_unread(path, "", error)) from None
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise TaskError(f"{path} cannot be read: Multiple matches for the column {twice!r}.")
    table = TableWriter(str(path), names)
    batches = _split_batches(path, batches)
    while True:
        place, columns = "", []  # the column that is being read
        try:
            batch = next(batches, None)
            if batch is None:
                return table.finish()
            for name, cells in zip(names, batch.columns, strict=True):
                place = f", column {name!r},"
                columns.append(cells.to_pylist())
        except TaskError:
            raise
        except Exception as error:  # and those of each encoding
            raise TaskError(_tell_unread(path, place, error)) from None
        _append(table, columns, show)


def _choose_rows(path: Path, metadata: Any) -> int:
    """Rows that pyarrow unpacks at once; fewer where a cell may be long, and stand there once for many rows.

    Raises:
        TaskError: the rows of a part are too long on average.
    """
    longest = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.total_byte_size > LONGEST * max(group.num_rows, 1):
            raise TaskError(
                f"{path}: the {group.num_rows} rows of part {number} take {group.total_byte_size} bytes; at most "
                f"{LONGEST} a row are read."
            )
        longest = max(longest, group.total_byte_size)  # of its columns pyarrow may say nothing, and end Python
    return int(min(max(MOST_AT_ONCE // longest, LEAST_ROWS), ROWS))


def _split_batches(path: Path, batches: Iterator[Any]) -> Iterator[Any]:
    """pyarrow's batches, in parts that take little memory as Python's values.

    Raises:
        TaskError: a single row takes too much.
    """
    row, parts = 0, list[Any]()
    while (part := parts.pop() if parts else next(batches, None)) is not None:
        size = sum(_count_bytes(cells) for cells in part.columns)
        if size <= LONGEST or part.num_rows == 0:
            yield part
            row += part.num_rows
        elif part.num_rows == 1:
            sizes = {_count_bytes(cells): name for name, cells in zip(part.schema.names, part.columns, strict=True)}
            raise TaskError(
                f"{path}, row {row + 1}: {sizes[max(sizes)]!r} takes {max(sizes)} bytes, at most {LONGEST} are read."
            )
        else:
            half = part.num_rows // 2
            parts += [part.slice(half), part.slice(0, half)]


def _count_bytes(cells: Any) -> int:
    """Bytes of a column about, once values that stand there once are repeated in each row."""
    import pyarrow
    from pyarrow import compute

    least, kind = 8 * len(cells), cells.type
    if pyarrow.types.is_dictionary(kind):
        places, counts = np.unique(cells.indices.drop_null().to_numpy(), return_counts=True)
        try:
            lengths = compute.binary_length(cells.dictionary.take(pyarrow.array(places)))
        except pyarrow.ArrowNotImplementedError:  # of numbers
            return least
        return least + int(lengths.fill_null(0).to_numpy() @ counts)
    if pyarrow.types.is_struct(kind):
        return least + sum(map(_count_bytes, cells.flatten()))
    if pyarrow.types.is_nested(kind):
        return least + _count_bytes(cells.flatten())
    return max(least, cells.nbytes)


def _tell_unread(path: Path, place: str, error: Exception) -> str:
    return f"{path}{place} cannot be read: {find_reason(error)}"


def _read_frame(name: str, source: Any, show: Callable[[Any], str]) -> Table:
    header, pieces = read_frame(source)
    table = TableWriter(name, header)
    for columns in pieces:
        lengths = dict(zip(header, map(len, columns), strict=True))
        if len(set(lengths.values())) > 1:
            raise TaskError(f"the columns of {name} differ in length: {lengths}.")
        _append(table, columns, show)
    return table.finish()


def _append(table: TableWriter, columns: Sequence[Sequence[Any]], show: Callable[[Any], str]) -> None:
    for line, cells in enumerate(zip(*columns, strict=True), start=len(table) + 1):
        table.append(line, cells, show)


def _find_delimiter(path: Path, known: Sequence[str] = tuple(DELIMITERS)) -> str:
    suffix = path.suffix.lower()
    if suffix not in DELIMITERS:
        workbook = (
            "; save the sheet as CSV in UTF-8, or pass what pandas.read_excel returns" if suffix in WORKBOOKS else ""
        )
        raise TaskError(f"{path} needs a name that ends in {', '.join(known[:-1])} or {known[-1]}{workbook}.")
    return DELIMITERS[suffix]
