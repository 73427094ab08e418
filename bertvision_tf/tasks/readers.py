"""The official GLUE files and tensorflow_datasets → `Examples`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import TaskError, find_reason
from .downloads import failing_at_once
from .examples import Examples
from .files import read_text
from .labels import encode_labels

if TYPE_CHECKING:
    from .spec import TaskSpec

MISSING_AT_MOST = 0.01  # share of rows with a field missing that a file may have and still be what it should be


def read_official(path: Path, task: TaskSpec, split: str) -> Examples:
    """Reads a file of the official GLUE download: tabs between, no quoting; a header but for CoLA's train and dev.

    QQP's files have rows with a field missing: they are left out and counted, but for a test split, which keeps all.

    Raises:
        TaskError: a column is not there, a label is not known, many rows have a field missing, or the bytes are not
            UTF-8; with the file and the line.
    """
    # split("\n") and not splitlines(), which also breaks at characters that stand inside sentences
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    numbered = [(number, line.split("\t")) for number, line in enumerate(lines, start=1) if line.strip(" \r")]
    if not numbered:
        raise TaskError(f"{path} has no rows.")
    places, width, has_header = _find_columns(path, task, split, numbered)
    labelled = not split.startswith("test")
    kept: list[tuple[int, int, list[str]]] = []  # row, line, cells
    missing: list[tuple[int, int]] = []
    for row, (number, cells) in enumerate(numbered[has_header:]):
        values = [cells[place] if place < len(cells) else "" for place in places]
        if not labelled or (len(cells) == width and all(value.strip() for value in values)):
            kept.append((row, number, values))
        else:
            missing.append((number, len(cells)))
    if not kept and not missing:
        raise TaskError(f"{path} has no rows.")
    if len(missing) > MISSING_AT_MOST * (len(kept) + len(missing)):
        line, found = missing[0]
        raise TaskError(
            f"{path}, line {line}: expected {width} columns with tabs between, text and label not empty, got {found} "
            f"columns; {len(missing)} of {len(kept) + len(missing)} rows are like that."
        )
    labels = [values[-1].strip() if labelled else None for *_, values in kept]
    lines_kept = [number for _, number, _ in kept]
    return Examples(
        task=task.name,
        split=split,
        ids=[f"{split}-{row}" for row, *_ in kept],
        texts=[values[0] for *_, values in kept],
        text_pairs=[values[1] for *_, values in kept] if task.text_pair is not None else None,
        labels=encode_labels(task, labels, path, lines_kept),
        columns={} if has_header else _read_source(dict(numbered), lines_kept),
        groups=None if task.rows_a_group == 1 else np.arange(len(kept)) // task.rows_a_group,
        skipped=len(missing),
    )


def _find_columns(path: Path, task: TaskSpec, split: str, numbered) -> tuple[list[int], int, bool]:
    """Where text, second text and label stand; how many columns there are; whether the first line names them."""
    text, pair, label = task.tsv_columns or (task.text, task.text_pair, task.label)
    if isinstance(text, int) and not split.startswith("test"):
        if numbered and [cell.lower() for cell in numbered[0][1]][1:2] == ["label"]:
            raise TaskError(f"{path}, line 1: a header, and {task.title}'s {split} file has none: delete the line.")
        return [place for place in (text, pair, label) if isinstance(place, int)], 4, False
    header = numbered[0][1] if numbered else []
    wanted = [task.text if isinstance(text, int) else text, pair, None if split.startswith("test") else label]
    names = [name for name in wanted if name is not None]
    for name in names:
        if name not in header:
            shown = ", ".join(map(repr, header[:12]))
            raise TaskError(f"{path}, line 1: {task.title} has a column {name!r}, this file has {shown}.")
    return [header.index(name) for name in names], len(header), True


def _read_source(cells: dict[int, list[str]], lines: list[int]) -> dict[str, list[str]]:
    """CoLA's first column says where a sentence comes from; the starter's, which rule it is about."""
    return {"source": [cells[line][0] for line in lines]}


def load_tfds_rows(name: str, split: str, files: str) -> list[dict[str, Any]]:
    """The rows of a dataset, as tensorflow_datasets gives them.

    Args:
        name, split: as it names them.
        files: what a folder would have to hold instead.

    Raises:
        TaskError: it cannot be had, as without a network.
    """
    try:
        import tensorflow_datasets as tfds

        with failing_at_once():
            return list(tfds.as_numpy(tfds.load(name, split=split, shuffle_files=False)))
    except Exception as error:  # tfds raises whatever its downloader, its file system or its cache raises
        reason = find_reason(error)
        raise TaskError(
            f"tensorflow_datasets cannot give {name} ({reason[:200]}); offline, name the folder of {files} with "
            "--data-dir."
        ) from None


def load_from_tfds(task: TaskSpec, split: str) -> Examples:
    """Reads a GLUE split through tensorflow_datasets, which downloads it once.

    Raises:
        TaskError: it cannot be had, as without a network.
    """
    named = {"dev": task.dev_splits[0].replace("dev", "validation")}
    named |= {f"dev_{name}": f"validation_{name}" for name in task.extra_dev}
    named |= {"test": task.dev_splits[0].replace("dev", "test")}
    rows = load_tfds_rows(task.tfds, named.get(split, split), "the official download")
    rows.sort(key=lambda row: row["idx"])
    regression = task.num_outputs == 1
    unlabelled = np.nan if regression else -1
    labels = [unlabelled if split.startswith("test") else row[task.label] for row in rows]
    return Examples(
        task=task.name,
        split=split,
        ids=[f"{split}-{row['idx']}" for row in rows],
        texts=[row[task.text].decode("utf-8") for row in rows],
        text_pairs=None if task.text_pair is None else [row[task.text_pair].decode("utf-8") for row in rows],
        labels=np.array(labels, np.float32 if regression else np.int32),
    )
