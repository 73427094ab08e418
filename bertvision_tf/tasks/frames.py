"""Tables in memory → columns of Python values: a mapping, or a data frame of any library."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import narwhals

from ..errors import TaskError

ROWS = 2**10  # that are turned into Python's values at a time
TAKEN = (
    "a table is a file, a mapping of columns, a data frame of pandas or polars, a pyarrow Table, a Dataset of Hugging "
    "Face, a tf.data.Dataset, or rows as dicts or tuples"
)


def read_frame(source: Any) -> tuple[list[str], Iterator[list[Sequence[Any]]]]:
    """The names of a table's columns, and their cells, some rows at a time.

    Args:
        source: a mapping of columns; what narwhals reads at once, as data frames of pandas or polars and pyarrow's
            tables; a `datasets.Dataset`; or an object of the same kind: it gives its names when it is iterated over,
            and a column by its name.

    Raises:
        TaskError: it is no such table, a name stands there twice, or a column is a single text.
    """
    if isinstance(source, Mapping):
        columns = {str(name): _read_column(str(name), cells) for name, cells in source.items()}
        _check_indexes(source)
        if len(columns) < len(source):
            raise TaskError(f"two columns of the table have one name; it has {', '.join(map(repr, source))}.")
        return list(columns), iter([list(columns.values())])
    if hasattr(source, "read"):
        raise TaskError(f"{TAKEN}; got an open file: name its path.")
    names: dict[str, list[str]] = {}  # of the classes of a column of numbers
    if hasattr(source, "column_names") and hasattr(source, "with_format") and hasattr(source, "__len__"):
        if source.format.get("type") == "custom":
            raise TaskError("the Dataset has a transform, which would be left out: apply it with `map` first.")
        names = find_class_names(source.features)
        source = source.with_format("arrow")[:]  # a Dataset: its rows in the order in which it has them
    try:
        frame = narwhals.from_native(source, eager_only=True, pass_through=True)
        if isinstance(frame, narwhals.DataFrame):
            return [str(name) for name in frame.columns], _walk_frame(frame, type(source).__name__, names)
    except Exception as error:  # each library has its own
        raise TaskError(_tell_unread(type(source).__name__, "", error)) from None
    try:
        if not isinstance(source, Sequence) and all(isinstance(name, (str, int)) for name in source):
            return [str(name) for name in source], iter([[list(source[name]) for name in source]])
    except Exception:  # each kind of object has its own
        pass
    raise TaskError(f"{TAKEN}; got {type(source).__name__}.")


def _walk_frame(frame: narwhals.DataFrame, kind: str, names: Mapping[str, Sequence[str]]) -> Iterator[list[Any]]:
    """The columns of some rows at a time; cells of those with `names` are the numbers of classes."""
    for start in range(0, len(frame), ROWS):
        place, columns = "", []  # the column that is being read
        try:
            for column in frame[start : start + ROWS].iter_columns():
                name, place = str(column.name), f", column {column.name!r}"
                cells = column.to_list()
                columns.append([name_class(cell, names[name]) for cell in cells] if name in names else cells)
        except Exception as error:  # each library has its own
            raise TaskError(_tell_unread(kind, place, error)) from None
        yield columns


def _tell_unread(kind: str, place: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"the table, a {kind}{place}, cannot be read: {reason}"


def _check_indexes(source: Mapping) -> None:
    """Raises TaskError where pandas would put the rows of two Series together by their index, which is not their
    order."""
    series = {name: cells.index for name, cells in source.items() if hasattr(getattr(cells, "index", None), "equals")}
    first = next(iter(series), None)
    for name, index in series.items():
        if len(index) == len(series[first]) and not index.equals(series[first]):
            raise TaskError(
                f"the columns {first!r} and {name!r} are Series of different indexes: make one DataFrame of them, or "
                "lists, so that their rows belong together."
            )


def find_class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the classes of a Dataset's columns, by column; those of other columns are left out."""
    kinds = {column: getattr(kind, "feature", kind) for column, kind in features.items()}  # of a list's parts
    return {column: kind.names for column, kind in kinds.items() if hasattr(kind, "int2str")}


def name_class(cell: Any, names: Sequence[str]) -> Any:
    """A class of a Dataset by its name, or a list of them; a number below 0 stands for none."""
    if isinstance(cell, list):
        return [name_class(part, names) for part in cell]
    return None if cell is None or cell < 0 else names[cell]


def _read_column(name: str, cells: Any) -> list[Any]:
    if hasattr(cells, "column_names"):
        raise TaskError(f"{TAKEN}; got a mapping of several Datasets: name one, as in datasets[{name!r}].")
    if (
        isinstance(cells, (str, bytes, Set, Mapping))
        or getattr(cells, "ndim", 1) == 0
        or not hasattr(cells, "__iter__")
    ):
        raise TaskError(f"column {name!r} of the table needs a list of cells, got {type(cells).__name__}.")
    return list(cells)
