"""Answers in characters of a context → spans of tokens of a window."""

from collections.abc import Sequence

import numpy as np

NO_ANSWER = 0  # the position that says so: the first token's
WHITE_SPACE = [code for code in range(0x3001) if chr(code).isspace()]


def find_allowed(
    offsets: np.ndarray, questions: np.ndarray, char_offsets: np.ndarray, contexts: Sequence[str]
) -> np.ndarray:
    """Which tokens may begin or end an answer: those with a character of the context that is no white space.

    Args:
        offsets: int64, (windows + 1,): window i has rows offsets[i] to offsets[i + 1].
        questions: int64, (windows,): whose each is.
        char_offsets: int32, (rows, 2): characters of the context where a token begins and ends; −1 outside it.
        contexts: of each question.

    Returns:
        bool, (rows,).
    """
    allowed = char_offsets[:, 1] > char_offsets[:, 0]
    bounds = np.searchsorted(questions, np.arange(len(contexts) + 1))
    for context, first, last in zip(contexts, offsets[bounds[:-1]], offsets[bounds[1:]], strict=True):
        codes = np.frombuffer(context.encode("utf-32-le", "surrogatepass"), np.uint32)
        seen = np.concatenate([[0], np.cumsum(~np.isin(codes, WHITE_SPACE))])  # visible characters before each
        allowed[first:last] &= np.diff(seen[char_offsets[first:last].clip(0)])[:, 0] > 0
    return allowed


def locate_answers(
    offsets: np.ndarray, questions: np.ndarray, char_offsets: np.ndarray, answers: Sequence[tuple[int, int] | None]
) -> np.ndarray:
    """Where each window has the answer of its question.

    Args:
        offsets: int64, (windows + 1,): window i has rows offsets[i] to offsets[i + 1].
        questions: int64, (windows,): whose each is, those of a question side by side.
        char_offsets: int32, (rows, 2): characters of the context where a token begins and ends; −1 outside it.
        answers: of each question the characters of the context where its answer begins and ends; None without one.

    Returns:
        int32, (windows, 2): the first and the last token of the answer, counted from the window's first; 0 twice
        where the window does not hold all of it.
    """
    spans = np.full((len(questions), 2), NO_ANSWER, np.int32)
    # Of each question the first and the last character that have a token: those at a context's ends may have none.
    whose, real = np.repeat(questions, np.diff(offsets)), char_offsets[:, 0] >= 0
    firsts, lasts = np.full(len(answers), np.iinfo(np.int32).max), np.zeros(len(answers), int)
    np.minimum.at(firsts, whose[real], char_offsets[real, 0])
    np.maximum.at(lasts, whose[real], char_offsets[real, 1])
    for window, question in enumerate(questions):
        answer = answers[question]
        if answer is None:
            continue
        answer = max(answer[0], firsts[question]), min(answer[1], lasts[question])
        if answer[0] >= answer[1]:
            continue
        begins, ends = char_offsets[offsets[window] : offsets[window + 1]].T
        inside = np.flatnonzero(begins >= 0)
        if not len(inside) or begins[inside[0]] > answer[0] or ends[inside[-1]] < answer[1]:
            continue
        first = inside[np.searchsorted(ends[inside], answer[0], side="right")]
        last = inside[np.searchsorted(begins[inside], answer[1], side="left") - 1]
        if first <= last:
            spans[window] = first, last
    return spans
