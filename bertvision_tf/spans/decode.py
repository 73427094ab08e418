"""Logits of starts and ends → the best answers of each question, over all of its windows."""

from __future__ import annotations

import dataclasses
import heapq
import unicodedata
from collections.abc import Sequence

import numpy as np

from .locate import NO_ANSWER, find_allowed

BEST = 20
LONGEST = 30  # tokens of an answer


@dataclasses.dataclass(frozen=True, order=True)
class Candidate:
    """One span that may be the answer.

    Attributes:
        score: its start's logit and its end's together.
        start, end: characters of the context where it begins and ends.
    """

    score: float
    start: int
    end: int

    def find(self, context: str) -> tuple[int, int]:
        """Where it begins and ends in a context, without white space around it, and with the marks that stand on its
        last letter: tokenizers drop them."""
        start, end = self.start, self.end
        while end < len(context) and unicodedata.category(context[end]) == "Mn":
            end += 1
        text = context[start:end]
        return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


@dataclasses.dataclass(frozen=True)
class SpanAnswer:
    """What is found for one question.

    Attributes:
        candidates: the best spans, the best first; none where the context is empty.
        null_score: of "no answer": that of the window in which it is the least.
    """

    candidates: tuple[Candidate, ...]
    null_score: float

    @property
    def null_odds(self) -> float:
        """How much more speaks for "no answer" than for the best span."""
        return self.null_score - self.candidates[0].score if self.candidates else float("inf")

    def list_texts(self, context: str, count: int | None = None) -> list[tuple[str, float, int, int]]:
        """Text, score, and the characters where it begins and ends, of the best spans; each text once.

        Args:
            context: in which the spans are.
            count: at most so many.
        """
        listed: dict[str, tuple[str, float, int, int]] = {}
        for candidate in self.candidates:
            start, end = candidate.find(context)
            if len(listed) < (count or BEST):
                listed.setdefault(context[start:end], (context[start:end], candidate.score, start, end))
        return list(listed.values())


def decode_answers(
    logits: np.ndarray,
    offsets: np.ndarray,
    questions: np.ndarray,
    char_offsets: np.ndarray,
    contexts: Sequence[str],
    *,
    best: int = BEST,
    longest: int = LONGEST,
) -> list[SpanAnswer]:
    """Finds the best spans of each question, exactly: all pairs of a start and an end no further on than `longest`, of
    the tokens that `find_allowed` finds.

    Args:
        logits: float, (rows, 2), of the start and of the end at each token.
        offsets: int64, (windows + 1,): window i has rows offsets[i] to offsets[i + 1].
        questions: int64, (windows,): whose each is, those of a question side by side.
        char_offsets: int32, (rows, 2): characters of the context where a token begins and ends; −1 outside it.
        contexts: of each question.
        best: how many spans of each question are kept.
        longest: tokens that a span may have.

    Source: Devlin et al., 2018, arXiv 1810.04805, for the scores and the threshold between the two.
    """
    found: list[dict[tuple[int, int], float]] = [{} for _ in contexts]
    null_scores, allowed = np.full(len(contexts), np.inf), find_allowed(offsets, questions, char_offsets, contexts)
    for window, question in enumerate(questions):
        rows = slice(offsets[window], offsets[window + 1])
        starts, ends = logits[rows].astype(np.float64).T
        null_scores[question] = min(null_scores[question], starts[NO_ANSWER] + ends[NO_ANSWER])
        for score, first, last in find_best(starts, ends, allowed[rows], best, longest):
            span = int(char_offsets[rows][first, 0]), int(char_offsets[rows][last, 1])
            known = found[question].get(span, -np.inf)  # windows overlap: the same span may stand in two
            found[question][span] = max(known, score)
    return [
        SpanAnswer(
            tuple(Candidate(score, *span) for span, score in heapq.nlargest(best, spans.items(), key=_by_score)),
            float(null),
        )
        for spans, null in zip(found, null_scores, strict=True)
    ]


def _by_score(item: tuple[tuple[int, int], float]) -> tuple[float, int, int]:
    """The higher score; of equals the earlier, then the shorter."""
    (start, end), score = item
    return score, -start, -end


def find_best(
    starts: np.ndarray, ends: np.ndarray, allowed: np.ndarray, best: int, longest: int
) -> list[tuple[float, int, int]]:
    """Score, first and last token of the best spans of one window."""
    places = np.flatnonzero(allowed)
    if not len(places):
        return []
    # A window's context is one run of tokens: lasts[i, j] is the j-th token from the i-th on.
    lasts = np.arange(len(places))[:, None] + np.arange(min(longest, len(places)))
    inside = lasts < len(places)
    scores = np.where(
        inside, starts[places][:, None] + ends[places][np.minimum(lasts, len(places) - 1)], -np.inf
    ).ravel()
    count = min(best, int(inside.sum()))
    top = np.argpartition(-scores, count - 1)[:count]
    width = lasts.shape[1]
    return [(float(scores[one]), int(places[one // width]), int(places[lasts.flat[one]])) for one in top]


def read_texts(answers: Sequence[SpanAnswer], contexts: Sequence[str]) -> list[str]:
    """The best span of each question, with the context's exact characters; "" where there is none."""
    listed = [answer.list_texts(context, 1) for answer, context in zip(answers, contexts, strict=True)]
    return [spans[0][0] if spans else "" for spans in listed]
