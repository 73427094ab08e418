"""What makes the scores of rows mean less than they seem: said in a line each, and never refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..notes import note
from .equal_rows import Hashes
from .examples import Examples
from .files import fold_texts
from .negatives import add_negatives

if TYPE_CHECKING:
    from .spec import TaskSpec


def load_rows(
    task: TaskSpec,
    split: str,
    data_dir: str | Path | None,
    limit: int | None,
    negatives: float | None = None,
) -> Examples:
    """The first rows of a split, all of them with no limit; says what their labels lack, and what is known of it.

    Args:
        task, split, data_dir, limit: which rows.
        negatives: as `add_negatives`'s share, for train; none with None.
    """
    rows = task.load(split, data_dir).take(limit)
    if negatives and split == "train":
        rows = add_negatives(rows, negatives)
    if task.remark and split == "dev":
        note(task.remark)
    lack = task.kind.find_lack(rows.labels, task.label_names)
    if lack:
        which = "the" if limit is None or limit > len(rows) else "the first"
        note(f"{which} {len(rows)} rows of {task.name} {split} {lack}.")
    return rows


def say_repeated(train: Examples, dev: Examples, name: str) -> None:
    """Says how many dev texts stand in train, whatever their case and their blanks."""
    known = Hashes(map(fold_texts, _walk(train)))
    wanted = {folded for folded in map(fold_texts, _walk(dev)) if folded in known}  # but for two of one hash
    exact = {row for row in _walk(train) if fold_texts(row) in wanted} if wanted else set()
    found = set(map(fold_texts, exact))
    repeated = [row for row in _walk(dev) if fold_texts(row) in found] if found else []
    if repeated:
        changed = sum(row not in exact for row in repeated)
        other = f" ({changed} of them with other case or blanks)" if changed else ""
        note(
            f"{name}: {len(repeated)} of {len(dev)} dev texts stand in train too{other}, so that dev scores are too "
            "high."
        )


def _walk(rows: Examples) -> Iterator[tuple[str, ...]]:
    return zip(rows.texts, strict=True) if rows.text_pairs is None else zip(rows.texts, rows.text_pairs, strict=True)
