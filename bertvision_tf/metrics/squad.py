"""SQuAD's official scores, in percent: exact match, F1 over words, and what the best threshold for "no answer" gives.

Source: Rajpurkar et al., 2016, arXiv 1606.05250, and 2018, arXiv 1806.03822; it agrees with their evaluate-v2.0.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
SILENT = -1e9  # a threshold below all odds: nothing is answered
THRESHOLD = 1.0  # the official scorer's: null odds above it count as "no answer"


@dataclasses.dataclass(frozen=True)
class AnswerScores:
    """How each of some questions was answered.

    Attributes:
        exact, f1: float, (questions,), 0 to 1, against the best of the gold answers.
        has_answer: bool, (questions,), whether there is a gold answer.
        answered: bool, (questions,), whether something was predicted.
    """

    exact: np.ndarray
    f1: np.ndarray
    has_answer: np.ndarray
    answered: np.ndarray

    def apply_threshold(self, null_odds: np.ndarray, threshold: float) -> AnswerScores:
        """The scores where "no answer" is said wherever the odds of it are above a threshold."""
        silent, right = stay_silent(null_odds, threshold), (~self.has_answer).astype(float)
        exact, f1 = np.where(silent, right, self.exact), np.where(silent, right, self.f1)
        return AnswerScores(exact, f1, self.has_answer, self.answered & ~silent)

    def describe(self) -> dict[str, float]:
        """Means in percent, of all questions and of those with and without an answer, as the official scorer names
        them."""
        described = {}
        parts = [("", np.ones(len(self.exact), bool))]
        parts += [("HasAns_", self.has_answer), ("NoAns_", ~self.has_answer)]
        for prefix, rows in parts:
            if rows.any() or not prefix:
                described[f"{prefix}exact"] = _percent(self.exact[rows])
                described[f"{prefix}f1"] = _percent(self.f1[rows])
                described[f"{prefix}total"] = int(rows.sum())
        return described


def squad_metrics(
    gold: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    predictions: Mapping[str, str],
    null_odds: Mapping[str, float] | None = None,
    threshold: float = THRESHOLD,
) -> dict[str, float]:
    """Scores predictions as the official scorer does.

    Args:
        gold: a parsed SQuAD file, or the list of articles under its "data".
        predictions: of each question's id a text; "" for no answer.
        null_odds: of each id how much speaks for "no answer"; higher is more.
        threshold: of these odds, for all scores but the best ones.

    Returns:
        percent, by the official names: exact, f1, total, HasAns_…, NoAns_…, where there are such questions; with
        `null_odds` also best_exact, best_exact_thresh, best_f1, best_f1_thresh.

    Raises:
        ValueError: no questions, or one of them has no prediction or no odds.

    Example:
        >>> gold = [{"paragraphs": [{"qas": [{"id": "1", "answers": [{"text": "the North Sea"}]}]}]}]
        >>> squad_metrics(gold, {"1": "North Sea."})["exact"]
        100.0
    """
    articles = gold["data"] if isinstance(gold, Mapping) else gold
    questions = [
        (str(question["id"]), [answer["text"] for answer in question["answers"]])
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    if not questions:
        raise ValueError("`gold` has no questions.")
    ids = [name for name, _ in questions]
    for what, given in (("predictions", predictions), ("null_odds", null_odds)):
        missing = [name for name in ids if given is not None and name not in given]
        if missing:
            raise ValueError(f"`{what}` lacks {len(missing)} of {len(ids)} questions, the first {missing[0]!r}.")
    scores = score_answers([answers for _, answers in questions], [predictions[name] for name in ids])
    if null_odds is None:
        return scores.describe()
    return describe_with_odds(scores, np.array([null_odds[name] for name in ids], float), threshold)


def describe_with_odds(scores: AnswerScores, null_odds: np.ndarray, threshold: float = THRESHOLD) -> dict[str, float]:
    """The official scores with a threshold, and beside them the best that any threshold gives.

    Args:
        scores: of the predictions before any threshold.
        null_odds: float, (questions,).
        threshold: of them, for all but the best ones.
    """
    described = scores.apply_threshold(null_odds, threshold).describe()
    for name in ("exact", "f1"):
        best, at = find_best_threshold(scores, null_odds, name)
        described |= {f"best_{name}": best, f"best_{name}_thresh": 0.0 if at == SILENT else at}  # as the official one
    return described


def score_answers(gold: Sequence[Sequence[str]], predictions: Sequence[str]) -> AnswerScores:
    """Scores each question's prediction against the best of its gold answers.

    Args:
        gold: texts of each question; none where it has no answer.
        predictions: a text of each; "" for no answer.
    """
    exact, f1 = np.zeros(len(gold)), np.zeros(len(gold))
    for place, (answers, prediction) in enumerate(zip(gold, predictions, strict=True)):
        found = normalize_answer(prediction)
        wanted = [part for part in map(normalize_answer, answers) if part] or [""]
        exact[place] = max(part == found for part in wanted)
        f1[place] = max(_compute_f1(part, found) for part in wanted)
    return AnswerScores(
        exact, f1, np.array([bool(answers) for answers in gold], bool), np.array([bool(text) for text in predictions])
    )


def stay_silent(null_odds: Any, threshold: float) -> Any:
    """Whether "no answer" is said, as the official scorer decides: of one question or of an array."""
    return null_odds > threshold


def find_best_threshold(scores: AnswerScores, null_odds: np.ndarray, name: str = "f1") -> tuple[float, float]:
    """The best score that a threshold of the odds gives, in percent, and the threshold: the lowest of equals, and below
    all odds where it is best to answer nothing.

    Args:
        scores: of the predictions before any threshold.
        null_odds: float, (questions,).
        name: "exact" or "f1".
    """
    # Going up through the odds, one more question is answered at each step, and gains or loses by it.
    gains = np.where(scores.has_answer, getattr(scores, name), np.where(scores.answered, -1.0, 0.0))
    order = np.argsort(null_odds, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(gains[order])]) + float((~scores.has_answer).sum())
    best = int(sums.argmax())
    return 100 * float(sums[best]) / len(gains), float(null_odds[order[best - 1]]) if best else SILENT


@functools.lru_cache(maxsize=2**16)
def normalize_answer(text: str) -> str:
    """Lower case, without punctuation, articles and extra white space, as the official scorer compares answers."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(WITHOUT_PUNCTUATION)).split())


def _compute_f1(wanted: str, found: str) -> float:
    """Over words, each counted as often as it stands there."""
    wanted_words, found_words = wanted.split(), found.split()
    if not wanted_words or not found_words:
        return float(wanted_words == found_words)
    common = sum((collections.Counter(wanted_words) & collections.Counter(found_words)).values())
    if not common:
        return 0.0
    precision, recall = common / len(found_words), common / len(wanted_words)
    return 2 * precision * recall / (precision + recall)


def _percent(values: np.ndarray) -> float:
    return 100 * float(values.sum()) / len(values)
