"""A table that is finished cell by cell: a CSV file with a line a cell, which a kill cuts short at most in its last."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import typing
from pathlib import Path
from typing import Any, TypeVar

from ..errors import RunError
from ..paths import read_path

CellType = TypeVar("CellType")


def check_table(file: str | Path) -> Path:
    """Raises RunError where a path cannot be a table's."""
    file = read_path(file)
    if not file.suffix or file.is_dir():
        raise RunError(f"{file} needs to be a file with an ending, as in comparison.csv.")
    return file


def read_cells(file: Path, kind: type[CellType], setting: str | None = None) -> list[CellType]:
    """The cells of a CSV file; none where there is no file. A last line that was cut short is left out.

    Args:
        file: with a line a cell.
        kind: a dataclass of strings, numbers, and numbers that may be missing, `setting` among them.
        setting: what the cells of one table have in common; not looked at with None.

    Raises:
        RunError: it cannot be read, is no table of this kind, or is one of another setting.
    """
    try:
        text = file.read_bytes().decode("utf-8") if file.exists() else ""
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}.") from None
    cells = []
    for number, row in enumerate(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()), start=2):
        try:
            cells.append(_read_cell(kind, row))
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{file}, line {number} is no cell of this table: move the file away.") from None
    others = {cell.setting for cell in cells} - {setting}  # type: ignore[attr-defined]
    if setting is not None and others:
        raise RunError(f"{file} holds cells of {'; '.join(others)}, asked for {setting}: name another file.")
    return cells


def append_cell(file: Path, cell: Any) -> None:
    """Adds a cell, whole and on the disk when this returns.

    Raises:
        RunError: the file cannot be written.
    """
    values = {name: "" if value is None else value for name, value in dataclasses.asdict(cell).items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "a+b") as stream:
            stream.seek(0)
            whole = stream.read().rfind(b"\n") + 1  # what a kill cut short goes
            stream.truncate(whole)
            lines = io.StringIO()
            writer = csv.DictWriter(lines, list(values), lineterminator="\n")
            if not whole:
                writer.writeheader()
            writer.writerow(values)
            stream.write(lines.getvalue().encode())
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}.") from None


def _read_cell(kind: type[CellType], row: dict[str, str]) -> CellType:
    types = typing.get_type_hints(kind)
    if set(row) != set(types) or None in row.values():
        raise ValueError("other columns")
    values: dict[str, Any] = {}
    for name, text in row.items():
        optional = type(None) in typing.get_args(types[name])
        one = next((part for part in typing.get_args(types[name]) if part is not type(None)), types[name])
        values[name] = None if optional and not text else one(text)
    return kind(**values)
