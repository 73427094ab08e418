"""Questions without an answer, made of questions that have one."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import TaskError
from ..metrics.squad import normalize_answer
from ..notes import note
from .examples import Examples

SEED = 0  # no seed of a run changes which rows there are
MARK = "negative"  # what follows the id of a question that is asked of another context


def add_negatives(rows: Examples, share: float) -> Examples:
    """Asks some questions once more, each of another paragraph of its article in which none of its answers stands.

    A new row follows the one that it is made of. Its labels say that there is no answer, and it stays together with all
    rows of its article where train is split. The draw is always the same, as that of the selection rows is.

    Args:
        rows: questions on contexts.
        share: of the questions that have an answer, 0 to 1; a smaller one is part of a larger one.

    Raises:
        TaskError: the rows are no questions on contexts, are all of one article, or none can be asked of another
            paragraph.
    """
    if rows.answers is None or rows.text_pairs is None:
        raise TaskError(f"`negatives` needs questions that a part of a text answers, and {rows.task} has none.")
    groups = np.zeros(len(rows), int) if rows.groups is None else rows.groups
    if share and len(np.unique(groups)) == 1 and len(set(rows.text_pairs)) > 1:
        raise TaskError(
            f"`negatives`: all rows of {rows.task} are of one article, and a question would be trained on and select "
            "too: take more rows."
        )
    contexts: dict[int, dict[str, str]] = {}  # of each article, with what they are compared by
    for group, context in zip(groups.tolist(), rows.text_pairs, strict=True):
        contexts.setdefault(group, {}).setdefault(context, _pad(context))
    random = np.random.default_rng(SEED)
    answered = [row for row, answers in enumerate(rows.answers) if answers]
    drawn = random.permutation(answered)[: round(share * len(answered))].tolist()
    found: dict[int, str] = {}
    for row in drawn:
        wanted = [_pad(answer.text) for answer in rows.answers[row]]
        others = [
            context
            for context, plain in contexts[int(groups[row])].items()
            if context != rows.text_pairs[row] and not any(text in plain for text in wanted)
        ]
        if others:
            found[row] = others[random.integers(len(others))]
    if drawn and not found:
        raise TaskError(
            f"`negatives`: no question of {rows.task} can be asked of another paragraph of its article. In a table, a "
            "column `title` says which rows are of one article."
        )
    if len(found) < len(drawn):
        note(
            f"{len(drawn) - len(found)} of {len(drawn)} questions of {rows.task} are not asked of another context: "
            "their answer stands in all of their article."
        )
    made = sorted(found)
    sources = np.array([*range(len(rows)), *made])

    def extend(column):
        return [*column, *(column[row] for row in made)]

    more = dataclasses.replace(
        rows,
        ids=[*rows.ids, *(f"{rows.ids[row]}-{MARK}" for row in made)],
        texts=extend(rows.texts),
        text_pairs=[*rows.text_pairs, *(found[row] for row in made)],
        labels=np.concatenate([rows.labels, np.zeros(len(made), rows.labels.dtype)]),
        columns={name: extend(column) for name, column in rows.columns.items()},
        groups=None if rows.groups is None else rows.groups[sources],
        repeats=None if rows.repeats is None else rows.repeats[sources],
        answers=[*rows.answers, *[()] * len(made)],
    )
    return more.select(np.argsort(sources, kind="stable"))


def _pad(text: str) -> str:
    """A text as the official scorer compares it, with a blank at both ends: what stands in it stands in whole words.
    One of nothing but articles and signs is itself."""
    return f" {normalize_answer(text) or text} "
