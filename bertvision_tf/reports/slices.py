"""Error analysis: how well a run does on parts of the dev rows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

import numpy as np

from .rows import DevRows

BINS = 4  # of lengths and overlaps, with as many rows in each as can be
MOST = 20  # labels, or values of a column, that are shown
QUESTION_WORDS = ("what", "who", "whom", "whose", "which", "when", "where", "why", "how")
WORD = re.compile(r"\w+")


@dataclasses.dataclass(frozen=True)
class Slice:
    """A part of the dev rows.

    Attributes:
        name: as shown.
        rows: indices.
    """

    name: str
    rows: np.ndarray

    def score(self, rows: DevRows) -> float:
        """The share that is right, in percent the mean F1 of answers, or the mean distance from the label."""
        return rows.kind.score_factor * float(rows.scores[self.rows].mean())

    def measure_error(self, rows: DevRows) -> float | None:
        """The standard error of the score; None of a single row."""
        if len(self.rows) < 2:
            return None
        spread = float(rows.scores[self.rows].std(ddof=1))
        return abs(rows.kind.score_factor) * spread / len(self.rows) ** 0.5


def slice_rows(rows: DevRows) -> Iterator[tuple[str, list[Slice]]]:
    """Parts of dev rows, by what divides them: all in one, label, length, overlap of the two texts, and a task's own
    columns; of questions also their first word, and whether they have an answer.

    Args:
        rows: which; what is predicted of them does not count.
    """
    yield "all", [Slice("all rows", np.arange(len(rows)))]
    if rows.answers is not None:
        yield "question word", _slice_names([find_question_word(text) for text in rows.texts])
        yield "answer", _slice_names(["answerable" if answers else "no answer" for answers in rows.answers])
        assert rows.text_pairs is not None
        yield "words of the context", _slice_numbers(np.array([len(_words(text)) for text in rows.text_pairs]))
    elif rows.kind.numeric:
        yield "label", _slice_numbers(np.array(rows.labels, float))
    else:
        yield _name_cut("label", rows.labels), _slice_names([rows.kind.display(cell) for cell in rows.labels])
    pairs = rows.text_pairs or [""] * len(rows)
    if rows.answers is None:
        lengths = [len(_words(first)) + len(_words(second)) for first, second in zip(rows.texts, pairs, strict=True)]
        yield "words", _slice_numbers(np.array(lengths))
    if rows.text_pairs is not None:
        yield "lexical overlap", _slice_numbers(measure_overlap(rows.texts, pairs))
    for name, cells in rows.sources.items():
        if 1 < len(set(cells)) <= MOST:
            yield name, _slice_names(cells)


def measure_overlap(texts: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """The share of the first text's words that stand in the second too, float (rows,), 0 where it has none."""
    shares = []
    for text, other in zip(texts, others, strict=True):
        words = set(_words(text))
        shares.append(len(words & set(_words(other))) / len(words) if words else 0.0)
    return np.array(shares)


def find_question_word(question: str) -> str:
    """The first of QUESTION_WORDS in a question; "other" without one."""
    return next((word for word in _words(question) if word in QUESTION_WORDS), "other")


def _name_cut(what: str, names: Sequence[str]) -> str:
    """What divides rows, and of how many names the most frequent are shown where they are too many."""
    count = len(set(names))
    return what if count <= MOST else f"{what}, the {MOST} most frequent of {count}"


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _slice_names(names: Sequence[str]) -> list[Slice]:
    """A slice a name, the one of most rows first."""
    values, counts = np.unique(np.array(names, dtype=object), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST]
    every = np.array(names, dtype=object)
    return [Slice(str(values[place]) or "(none)", np.flatnonzero(every == values[place])) for place in order]


def _slice_numbers(numbers: np.ndarray) -> list[Slice]:
    """About BINS slices of like size, or a slice a number where there are no more; a number that many rows share is not
    cut."""
    values, counts = np.unique(numbers, return_counts=True)
    wanted = 0 if len(values) <= BINS else len(numbers) / BINS
    bins: list[list[float]] = []
    size = 0
    for value, count in zip(values, counts, strict=True):
        if not bins or size >= wanted or size + count > 1.5 * wanted:
            bins.append([])
            size = 0
        bins[-1].append(value)
        size += count
    slices = []
    for own in bins:
        first, last = (f"{own[place]:.3g}" for place in (0, -1))
        rows = np.flatnonzero((numbers >= own[0]) & (numbers <= own[-1]))
        slices.append(Slice(first if len(own) == 1 else f"{first} to {last}", rows))
    return slices
