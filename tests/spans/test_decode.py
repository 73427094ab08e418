"""Logits → answers, against a slow search over all pairs."""

import numpy as np
import pytest

from bertvision_tf.spans import Candidate, SpanAnswer, decode_answers, read_texts

QUESTION = 4  # tokens before the context: [CLS], two of the question, [SEP]


def make_contexts(lengths):
    return [" ".join(["ab"] * words) for words in lengths]


def make_windows(random, lengths, shared=3):
    """Windows of questions whose contexts have so many words of two letters, six a window; logits of all tokens."""
    char_offsets, questions, offsets = [], [], [0]
    for question, words in enumerate(lengths):
        places = np.arange(words)[:, None] * 3 + np.array([0, 2])
        start = 0
        while True:
            window = np.concatenate([np.full((QUESTION, 2), -1), places[start : start + 6], np.full((1, 2), -1)])
            char_offsets.append(window)
            questions.append(question)
            offsets.append(offsets[-1] + len(window))
            if start + 6 >= words:
                break
            start += 6 - shared
    rows = np.concatenate(char_offsets).astype(np.int32)
    return random.normal(size=(len(rows), 2)).astype(np.float32), np.array(offsets), np.array(questions), rows


def search(logits, offsets, questions, char_offsets, question, longest):
    """Every allowed pair of every window."""
    best, null = {}, np.inf
    for window in np.flatnonzero(questions == question):
        rows = slice(offsets[window], offsets[window + 1])
        part, places = logits[rows].astype(np.float64), char_offsets[rows]
        null = min(null, part[0].sum())
        for first in range(len(part)):
            for last in range(first, min(first + longest, len(part))):
                if places[first, 0] >= 0 and places[last, 0] >= 0:
                    span = int(places[first, 0]), int(places[last, 1])
                    best[span] = max(best.get(span, -np.inf), part[first, 0] + part[last, 1])
    return sorted(best.items(), key=lambda item: (-item[1], item[0])), null


@pytest.mark.parametrize("longest", [1, 3, 30])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_all_pairs_over_all_windows(seed, longest):
    lengths = [1, 4, 6, 7, 20]
    windows = make_windows(np.random.default_rng(seed), lengths)
    found = decode_answers(*windows, make_contexts(lengths), best=8, longest=longest)
    for question, answer in enumerate(found):
        wanted, null = search(*windows, question, longest)
        assert [(one.start, one.end) for one in answer.candidates] == [span for span, _ in wanted[:8]]
        np.testing.assert_allclose([one.score for one in answer.candidates], [score for _, score in wanted[:8]])
        assert answer.null_score == pytest.approx(null)
        assert answer.null_odds == pytest.approx(null - wanted[0][1])


def test_an_end_is_never_before_its_start_and_no_answer_is_outside_the_context():
    logits, offsets, questions, char_offsets = make_windows(np.random.default_rng(0), [6])
    logits[:] = 0
    logits[1:4] = 50  # the question
    logits[-1] = 50  # the last special token
    logits[9, 0], logits[5, 1] = 20, 20  # the best start stands after the best end
    answer = decode_answers(logits, offsets, questions, char_offsets, make_contexts([6]))[0].candidates[0]
    assert (answer.start, answer.end, answer.score) == (0, 5, 20.0)  # the earlier of equals, then the shorter


def test_an_empty_context_is_no_answer():
    logits, nothing = np.zeros((5, 2), np.float32), np.full((5, 2), -1, np.int32)
    answer = decode_answers(logits, np.array([0, 5]), np.array([0]), nothing, [""])[0]
    assert answer.candidates == () and answer.null_odds == np.inf
    assert read_texts([answer], [""]) == [""]


def test_texts_are_the_characters_of_the_context():
    answers = [SpanAnswer((Candidate(2.0, 4, 10),), 1.0), SpanAnswer((Candidate(2.0, 0, 4),), 5.0)]
    contexts = ["אבג \t cafe\u0301 🙂!", "word"]  # a token has no mark of its last letter
    assert read_texts(answers, contexts) == ["cafe\u0301", "word"]


def test_white_space_begins_and_ends_no_answer():
    """Some tokenizers have tokens of white space, or of no character: the best pair has two of them at its ends."""
    context, logits = "a \u3000 b", np.zeros((5, 2), np.float32)
    logits[2, 0], logits[2, 1], logits[1, 0], logits[4, 1] = 9, 9, 3, 2
    places = np.array([[-1, -1], [0, 1], [1, 3], [4, 4], [4, 5]], np.int32)
    answer = decode_answers(logits, np.array([0, 5]), np.array([0]), places, [context])[0]
    assert [one[:2] for one in answer.list_texts(context)] == [(context, 5.0), ("a", 3.0), ("b", 2.0)]
    assert answer.null_odds == -5


def test_marks_of_any_class_stay_on_the_last_letter():
    assert Candidate(1.0, 4, 7).find("the गुरु म") == (4, 8)
