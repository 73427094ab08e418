"""Answers to questions: what they are scored by, and how logits of tokens are read as texts, by spans/decode.py."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..metrics.ensembles import combine_log_probabilities, fit_weights
from ..metrics.significance import Difference, compare_scores
from ..metrics.squad import AnswerScores, describe_with_odds, find_best_threshold, score_answers, stay_silent
from ..spans import SpanAnswer, decode_answers, read_texts
from ..spans.decode import BEST
from ..spans.locate import NO_ANSWER, find_allowed

if TYPE_CHECKING:
    from ..tasks import Examples

ALWAYS = 1e9  # a threshold above all odds: every question is answered that can be
CLOSED = -1e9  # the logit of a token that cannot be an answer
ROUNDING = 1e-9  # of sums of scores in percent


@dataclasses.dataclass(frozen=True, eq=False)
class AnswerPredictions:
    """What a model says of some questions.

    Attributes:
        texts: the best span of each; "" where there is none.
        null_odds: float, (questions,), finite: ALWAYS where there is no span.
        scores: of these texts.
        threshold: of the null odds, above which nothing is answered.
    """

    texts: Sequence[str]
    null_odds: np.ndarray
    scores: AnswerScores
    threshold: float

    @functools.cached_property
    def final(self) -> list[str]:
        """What each question is answered; "" for no answer."""
        silent = stay_silent(self.null_odds, self.threshold)
        return ["" if nothing else text for text, nothing in zip(self.texts, silent, strict=True)]

    @property
    def f1(self) -> np.ndarray:
        """float, (questions,), 0 to 1, with the threshold."""
        return self.scores.apply_threshold(self.null_odds, self.threshold).f1

    def choose_threshold(self) -> AnswerPredictions:
        """The same with the threshold that suits these questions best: ALWAYS where none is better."""
        always = dataclasses.replace(self, threshold=ALWAYS)
        best, threshold = find_best_threshold(self.scores, self.null_odds)
        better = best > 100 * float(always.f1.mean()) + ROUNDING
        return dataclasses.replace(self, threshold=threshold) if better else always

    @classmethod
    def pool(cls, parts: Sequence[AnswerPredictions]) -> AnswerPredictions:
        """What is said of several sets of questions, with the threshold that suits all of them together best."""
        columns = zip(*(dataclasses.astuple(part.scores) for part in parts), strict=True)
        scores = [np.concatenate(column) for column in columns]
        texts = [text for part in parts for text in part.texts]
        odds = np.concatenate([part.null_odds for part in parts])
        return cls(texts, odds, AnswerScores(*scores), ALWAYS).choose_threshold()


@dataclasses.dataclass(frozen=True, eq=False)
class AnswerGold:
    """Answers to questions, and where the tokens of their contexts stand.

    Attributes:
        examples: the questions.
        offsets: int64, (windows + 1,): window i has rows offsets[i] to offsets[i + 1] of logits.
        questions: int64, (windows,): whose each is, those of a question side by side.
        char_offsets: int32, (rows, 2): characters of the context where a token begins and ends; −1 outside it.
        spans: int32, (windows, 2): the first and the last token of the answer.
    """

    examples: Examples
    offsets: np.ndarray
    questions: np.ndarray
    char_offsets: np.ndarray
    spans: np.ndarray

    def __len__(self) -> int:
        return len(self.examples)

    @functools.cached_property
    def texts(self) -> list[list[str]]:
        """The gold answers of each question."""
        assert self.examples.answers is not None
        return [[answer.text for answer in answers] for answers in self.examples.answers]

    @property
    def contexts(self) -> Sequence[str]:
        """Of each question."""
        assert self.examples.text_pairs is not None
        return self.examples.text_pairs

    def has_tokens_of(self, other: AnswerGold) -> bool:
        """Whether the windows of both are the same, token by token."""
        return np.array_equal(self.offsets, other.offsets) and np.array_equal(self.char_offsets, other.char_offsets)

    def decode(self, logits: np.ndarray, best: int = BEST) -> list[SpanAnswer]:
        """The best spans of each question, so many at most."""
        return decode_answers(logits, self.offsets, self.questions, self.char_offsets, self.contexts, best=best)

    def read(self, logits: np.ndarray, selected: AnswerPredictions | None = None) -> AnswerPredictions:
        """The answers.

        Args:
            logits: float, (rows, 2), of the start and of the end at each token.
            selected: what the same model says of the selection rows, whose threshold is taken; with None that which
                suits these rows best is: ALWAYS where none is better, the lowest of equals else.
        """
        found = self.decode(logits, best=1)
        odds = np.minimum([answer.null_odds for answer in found], ALWAYS)
        always = self._score(read_texts(found, self.contexts), odds, ALWAYS)
        if selected is not None:
            return dataclasses.replace(always, threshold=selected.threshold)
        return always.choose_threshold()

    def answer_nothing(self) -> AnswerPredictions:
        """Always "no answer"."""
        return self._score([""] * len(self), np.full(len(self), ALWAYS), ALWAYS)

    def score(self, predictions: AnswerPredictions, rows: np.ndarray | None = None) -> float:
        """F1 in percent, of some questions or of all, with the predictions' threshold."""
        scores = predictions.f1
        return 100 * float((scores if rows is None else scores[rows]).mean())

    def describe(self, predictions: AnswerPredictions) -> dict[str, float]:
        """The official scores in percent, by the official names, without the counts."""
        described = describe_with_odds(predictions.scores, predictions.null_odds, predictions.threshold)
        return {name: float(value) for name, value in described.items() if not name.endswith("total")}

    def compare(self, first: AnswerPredictions, second: AnswerPredictions) -> Difference:
        """Whether two models' F1 differs in more than chance."""
        shares = [100 * one.f1 for one in (first, second)]
        return compare_scores(lambda _, f1: float(f1.mean()), shares[0], *shares)

    def combine(
        self, logits: Sequence[np.ndarray], mode: str = "maximum", weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Logits of several models as one: of the probabilities over all tokens of a question's windows that can be
        answers, so that a model together with itself is itself."""
        firsts = self.offsets[np.searchsorted(self.questions, np.arange(len(self)))]
        return combine_log_probabilities([self._normalize(part, firsts) for part in logits], mode, weights)

    def fit_weights(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        """What each of several models counts for the mode "weighted": by the probability, over a window's tokens, of
        where it has the answer."""
        rows, firsts = self.offsets[:-1, None] + self.spans, self.offsets[:-1]  # (windows, 2), (windows,)
        return fit_weights(np.stack([self._normalize(part, firsts)[rows, [0, 1]].ravel() for part in logits]))

    def fit_calibration(self, logits: np.ndarray) -> None:
        """None: whether there is an answer is for the threshold to say."""

    def differ(self, predictions: AnswerPredictions) -> bool:
        """Whether something else is answered to some question than to another."""
        return len(set(predictions.final)) > 1

    def show(self, predictions: AnswerPredictions | None = None) -> list[str]:
        """What is answered; or the gold answers, as JSON."""
        if predictions is None:
            return [json.dumps(texts, ensure_ascii=False) for texts in self.texts]
        return predictions.final

    def show_confidence(self, predictions: AnswerPredictions, logits: np.ndarray) -> dict[str, np.ndarray]:
        """A column of the null odds."""
        return {"null_odds": predictions.null_odds}

    def _score(self, texts: Sequence[str], null_odds: np.ndarray, threshold: float) -> AnswerPredictions:
        return AnswerPredictions(texts, null_odds, score_answers(self.texts, texts), threshold)

    def _normalize(self, logits: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Logarithms of probabilities, float64 (rows, 2), which add up to 1 from each of the rows `firsts` on."""
        lengths = np.diff([*firsts, len(logits)])
        allowed = find_allowed(self.offsets, self.questions, self.char_offsets, self.contexts)
        allowed[self.offsets[:-1] + NO_ANSWER] = True
        closed = np.where(allowed[:, None], logits.astype(np.float64), CLOSED)
        closed -= np.repeat(np.maximum.reduceat(closed, firsts), lengths, axis=0)
        return closed - np.repeat(np.log(np.add.reduceat(np.exp(closed), firsts)), lengths, axis=0)
