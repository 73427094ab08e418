"""A task from the user's own table, with no code."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TaskError
from ..kinds import KINDS, SEPARATOR, SPAN, Kind, find_kind
from ..notes import note
from ..packed import NumberedNames, list_short
from ..paths import read_path
from .doubts import say_repeated
from .equal_rows import number_equal
from .examples import Examples
from .files import fold_texts
from .known import TASKS
from .label_columns import count_switches, find_classes, guess_kind, read_labels
from .labels import encode_labels
from .row_streams import hold_rows
from .selection import SPLIT_SEED, join_repeats, split_groups
from .spec import TaskSpec
from .spellings import check_spelling, say_guesses, say_odd_labels
from .squad import is_question_table, read_question_table
from .tables import Table, find_column, read_table
from .values import LIST, SWITCHES

DEV_FRACTION = 0.2
TEXT_NAMES = ("text", "sentence", "sentence1", "premise", "question1", "question", "text1", "review", "content")
PAIR_NAMES = {
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "text1": "text2",
    "text": "text_pair",
}
LABELLED = [kind for kind in KINDS if not kind.answers]
LABEL_NAMES = ("label", "labels", "class", "category", "target", "score")


def task_from_table(
    train: Any,
    dev: Any = None,
    *,
    name: str | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | Sequence[str] | None = None,
    kind: str | None = None,
    max_length: int | None = None,
) -> TaskSpec:
    """Makes a task of a table.

    Args:
        train: a .csv, .tsv, .jsonl or .parquet file; a data frame of pandas or polars, a pyarrow Table or a
            `datasets.Dataset`, streamed or not; a mapping of columns; a `tf.data.Dataset` of texts and labels; or a
            list or a generator of rows, each a dict, or a tuple of a text, a second text if there is one, and a label.
        dev: the same for the dev rows. With None a fifth of train is set aside as dev, always the same rows.
        name: the task's; by default the file's.
        text: the column of the text; with None one of TEXT_NAMES that is there.
        text_pair: the column of the second text; with None the partner of a text column such as "sentence1", where
            `text` was left out too.
        label: the column of the label; with None one of LABEL_NAMES. Several columns of 0 and 1 are the classes of
            a multi-label task.
        kind: "classification", "regression", "multilabel", or "span" for questions on contexts, whose columns are
            those of `read_question_table`. With None a table with such columns, and none of labels, is of questions;
            labels that are all numbers, one of them with a fraction, make a regression; several label columns or cells
            with ";" (or lists) a multi-label task; and all else a classification.
        max_length: tokens, special ones included; with None 128, and 384 for questions.

    Raises:
        TaskError: a column is missing, a text or a label is empty, a label of dev is not in train, there is one class
            only, or a regression's label is no number; with the file and the line.

    Example:
        >>> task = task_from_table({"text": ["good", "bad"] * 200, "label": ["+", "-"] * 200}, name="reviews")
        >>> task.label_names
        ('+', '-')
    """
    _check_options(name, text, text_pair, label, max_length)
    train, dev = (hold_rows(rows, always=kind == SPAN) for rows in (train, dev))
    table = read_table(train)
    known = None if kind is None else SPAN if kind == SPAN else find_kind(kind, LABELLED)
    if known is SPAN and (text or text_pair or label):
        raise TaskError(f"{table.name}: questions have columns question, context and answers; no others can be named.")
    if known is SPAN or (known is None and label is None and text is None and is_question_table(table.header)):
        return _make_questions(train, dev, name, max_length)
    guessed = [what for what, given in (("text", text), ("label", label), ("kind", kind)) if not given]
    text, text_pair = _find_texts(table, text, text_pair)
    labels = _find_labels(table, label, (text, text_pair))
    switches = count_switches(table, labels)
    cells = read_labels(table, labels, switches)
    check_spelling(table, cells, known)
    found = known or guess_kind(table, cells, labels, _find_list(table, labels) is not None)
    _check_kind(table, labels, found)
    task = TaskSpec(
        name=_clean(name) if name else _name_after(train),
        title=name or _name_after(train),
        kind=found,
        text=text,
        text_pair=text_pair,
        label=SEPARATOR.join(labels),
        label_names=() if found.numeric else find_classes(table, cells, found, labels, switches, "kind" in guessed),
        metrics=found.metrics,
        main_metric=found.main_metric,
        max_length=max_length or 128,
        source="rows",
        origin=_describe_origin(train, dev, name=name, text=text, text_pair=text_pair, label=labels, kind=str(found)),
    )
    rows = {"train": _read_examples(task, table, labels, switches, "train")}
    if dev is None:
        rows["train"], rows["dev"] = _split_dev(rows["train"], found)
    else:
        rows["dev"] = _read_examples(task, read_table(dev), labels, switches, "dev")
    if guessed:
        say_guesses(table, task, guessed)
    say_odd_labels(table, task)
    say_repeated(rows["train"], rows["dev"], task.title)
    task.rows.update(rows)  # type: ignore[attr-defined]
    return task


def _check_options(
    name: str | None, text: str | None, text_pair: str | None, label: Any, max_length: int | None
) -> None:
    for option, given in (("name", name), ("text", text), ("text_pair", text_pair)):
        if not isinstance(given, (str, type(None))):
            raise TaskError(f"`{option}` needs a text, got {given!r}.")
    if label is not None and not (isinstance(label, Sequence) and all(isinstance(one, str) for one in label)):
        raise TaskError(f"`label` needs the name of a column, or a list of names, got {label!r}.")
    if max_length is not None and (type(max_length) is not int or max_length < 3):
        raise TaskError(f"`max_length` needs 3 tokens or more, got {max_length!r}.")


def _check_kind(table: Table, labels: Sequence[str], kind: Kind) -> None:
    """Raises TaskError where columns are not the labels of a kind of task."""
    if len(labels) > 1 and not kind.several:
        raise TaskError(
            f"{table.name}: {len(labels)} label columns are the classes of a multilabel task, not a {kind}."
        )
    listed = _find_list(table, labels)
    if listed is not None and not kind.several:
        raise TaskError(
            f"{table.name}, line {table.lines[listed]}: {labels[0]!r} is a list, and a {kind} has one label."
        )
    if not len(table):
        raise TaskError(f"{table.name} has no rows.")


def _find_list(table: Table, labels: Sequence[str]) -> int | None:
    """The first row whose label is a list; None without one."""
    return next((row for what, row in table.odd.get(labels[0], {}).items() if what in (LIST, SWITCHES)), None)


def _make_questions(train: Any, dev: Any, name: str | None, max_length: int | None) -> TaskSpec:
    task = dataclasses.replace(
        TASKS["squad2"],
        name=_clean(name) if name else _name_after(train),
        title=name or _name_after(train),
        max_length=max_length or TASKS["squad2"].max_length,
        source="rows",
        version="",
        origin=_describe_origin(train, dev, name=name, kind=str(SPAN)),
        rows={},
    )
    rows = {"train": read_question_table(train, task, "train")}
    if dev is not None:
        rows["dev"] = read_question_table(dev, task, "dev")
        say_repeated(rows["train"], rows["dev"], task.title)
    else:
        rows["train"], rows["dev"] = _split_dev(rows["train"], task.kind)
    task.rows.update(rows)  # type: ignore[attr-defined]
    return task


def _describe_origin(train: Any, dev: Any, **options: Any) -> dict[str, Any]:
    """The arguments that make the task again; {} of a table in memory."""
    files = {what: source for what, source in (("train", train), ("dev", dev)) if source is not None}
    if not all(isinstance(source, (str, os.PathLike)) for source in files.values()):
        return {}
    return {what: str(read_path(file).absolute()) for what, file in files.items()} | options


def _find_texts(table: Table, text: str | None, text_pair: str | None) -> tuple[str, str | None]:
    if text is None:
        text = _find(table, TEXT_NAMES, "text", "--text-column")
        partner = PAIR_NAMES.get(text.strip().lower())
        text_pair = text_pair or (find_column(table.header, [partner]) if partner else None)
    return text, text_pair


def _find_labels(table: Table, label: str | Sequence[str] | None, texts: tuple[str, str | None]) -> list[str]:
    """The label columns, none of which is a text."""
    labels = (
        [label] if isinstance(label, str) else list(label or [_find(table, LABEL_NAMES, "label", "--label-column")])
    )
    if texts[0] == texts[1]:
        raise TaskError(f"{table.name}: {texts[0]!r} cannot be both texts of a pair.")
    if {*texts} & set(labels):
        raise TaskError(f"{table.name}: {labels[0]!r} cannot be both a text and the label.")
    return labels


def _find(table: Table, names: Sequence[str], what: str, option: str) -> str:
    if not table.header:
        raise TaskError(f"{table.name} has no columns.")
    found = find_column(table.header, names)
    if found is None:
        raise TaskError(
            f"{table.name}: which column is the {what}? Name it with {option}; there are "
            f"{', '.join(map(repr, table.header))}."
        )
    return found


def _read_examples(task: TaskSpec, table: Table, labels: Sequence[str], switches: int, split: str) -> Examples:
    texts = [list_short(table.column(column)) for column in (task.text, task.text_pair) if column is not None]
    cells = read_labels(table, labels, switches)
    if split != "train" and task.kind.numeric:
        check_spelling(table, cells, task.kind)
    for row, (cell, *sides) in enumerate(zip(cells, *texts, strict=True)):
        for column, side in zip((task.text, task.text_pair), sides, strict=False):
            if not side.strip():
                raise TaskError(f"{table.name}, line {table.lines[row]}: {column!r} is empty.")
        if not cell and not task.kind.several:
            raise TaskError(f"{table.name}, line {table.lines[row]}: the label is empty.")
    if not len(table):
        raise TaskError(f"{table.name} has no rows.")
    ids: Sequence[str] = table.column("id") if table.header.count("id") == 1 else []
    if not ids or number_equal(ids, ids.__getitem__) is not None:
        ids = NumberedNames(split, len(table))
    return Examples(
        task=task.name,
        split=split,
        ids=list_short(ids),
        texts=texts[0],
        text_pairs=texts[1] if len(texts) > 1 else None,
        labels=encode_labels(task, cells, table.name, table.lines),
        repeats=_number_equal(texts),
    )


def _number_equal(texts: Sequence[Sequence[str]]) -> np.ndarray | None:
    """A number for each row, the same for texts that are equal but for case and blanks: (rows,); None where all
    differ."""
    found = number_equal(
        map(fold_texts, zip(*texts, strict=True)), lambda row: fold_texts([side[row] for side in texts])
    )
    return found if found is not None and found.any() else None  # where all are equal, nothing is to be kept apart


def _split_dev(examples: Examples, kind: Kind) -> tuple[Examples, Examples]:
    """A fifth of the rows as dev, each class giving its share where it can."""
    from sklearn.model_selection import train_test_split

    if len(examples) < 10:
        raise TaskError(f"{len(examples)} rows are too few to set dev rows aside: name a dev file.")
    groups = examples.kept_together
    if groups is not None and len(np.unique(groups)) > 1:
        train, dev = split_groups(examples.labels, groups, DEV_FRACTION, kind.stratified)
    else:
        size, stratify = round(DEV_FRACTION * len(examples)), None
        if kind.single:
            counts = np.unique(examples.labels, return_counts=True)[1]
            if counts.min() >= 2 and len(counts) <= size:
                stratify = examples.labels
            else:
                note(
                    f"the dev rows are drawn without regard to class: {(counts < 2).sum()} of {len(counts)} classes "
                    f"have one row, and {size} rows are set aside."
                )
        train, dev = train_test_split(
            np.arange(len(examples)), test_size=size, random_state=SPLIT_SEED, stratify=stratify
        )
        train, dev = join_repeats(examples.labels, examples.repeats, train, dev, kind.single)
    return examples.select(np.sort(train)), dataclasses.replace(examples.select(np.sort(dev)), split="dev")


def _name_after(source: Any) -> str:
    return _clean(Path(source).stem) if isinstance(source, (str, Path)) else "table"


def _clean(name: str) -> str:
    """A name that can stand in a path."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name) or "table"
