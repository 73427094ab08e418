"""Files and tensorflow_datasets → `Examples`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TaskError
from .examples import Examples
from .files import read_text

if TYPE_CHECKING:
    from .spec import TaskSpec

TFDS_SPLITS = {"train": "train", "dev": "validation"}


def read_cola_tsv(path: Path, task: TaskSpec, split: str) -> Examples:
    """Reads CoLA's format: source, label (0 or 1), the original mark, sentence; tabs between, no header, no quoting.

    Raises:
        TaskError: naming the line, where there are not four columns, the label is another, or the bytes are not UTF-8.
    """
    sources, labels, sentences = [], [], []
    for number, line in _read_lines(path):
        columns = line.split("\t")
        if len(columns) != 4:
            raise TaskError(f"{path}, line {number}: expected 4 columns with tabs between, got {len(columns)}.")
        source, label, _, sentence = columns
        if label not in ("0", "1"):
            raise TaskError(f"{path}, line {number}: expected the label 0 or 1 in column 2, got {label!r}.")
        if not sentence.strip():
            raise TaskError(f"{path}, line {number}: the sentence is empty.")
        sources.append(source)
        labels.append(int(label))
        sentences.append(sentence)
    if not sentences:
        raise TaskError(f"{path} has no rows.")
    return Examples(
        task=task.name,
        split=split,
        ids=[f"{split}-{number}" for number in range(len(sentences))],
        texts=sentences,
        text_pairs=None,
        labels=np.array(labels, np.int32),
        columns={"source": sources},
    )


def load_from_tfds(task: TaskSpec, split: str) -> Examples:
    """Reads a GLUE split through tensorflow_datasets, which downloads it once.

    Raises:
        TaskError: it cannot be had, as without a network.
    """
    try:
        import tensorflow_datasets as tfds

        rows = list(tfds.as_numpy(tfds.load(f"glue/{task.name}", split=TFDS_SPLITS[split], shuffle_files=False)))
    except Exception as error:  # tfds raises whatever its downloader, its file system or its cache raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TaskError(
            f"tensorflow_datasets cannot give glue/{task.name} ({reason[:200]}); offline, name the folder of the "
            "official download with --data-dir."
        ) from None
    rows.sort(key=lambda row: row["idx"])
    return Examples(
        task=task.name,
        split=split,
        ids=[f"{split}-{row['idx']}" for row in rows],
        texts=[row[task.text].decode("utf-8") for row in rows],
        text_pairs=None if task.text_pair is None else [row[task.text_pair].decode("utf-8") for row in rows],
        labels=np.array([row["label"] for row in rows], np.int32),
    )


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and texts of the lines that are not blank."""
    # split("\n") and not splitlines(), which also breaks at characters that stand inside sentences
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")
