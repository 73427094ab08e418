"""Labels as they stand in files → arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .spec import TaskSpec


def encode_labels(task: TaskSpec, cells: Sequence[str | None], path: Path | str, lines: Sequence[int]) -> np.ndarray:
    """Turns labels into numbers.

    Args:
        task: its kind and its classes.
        cells: one a row: a class's name (GLUE's also by index); a number for a regression; classes with ";" between
            where several may hold; None where there is no label.
        path, lines: where the cells stand, for errors.

    Returns:
        int32 class indices (−1 for None); float32 numbers (nan for None); int32 (rows, classes) of 0 and 1 (−1).

    Raises:
        TaskError: a label is no class of the task, or no number.
    """
    task.require_labels("a file with a label a row")
    classes = {name: index for index, name in enumerate(task.label_names)}
    if task.source != "rows" and not any(name.isdigit() for name in task.label_names):
        classes |= {str(index): index for index in range(len(task.label_names))}

    def place(row: int) -> str:
        return f"{path}, line {lines[row]}" if row < len(lines) else f"{path}, row {row}"

    return task.kind.read_labels(cells, classes, place)
