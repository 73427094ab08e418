"""What rows are scored by, on windows small enough to reckon by hand."""

import numpy as np
import pytest

from bertvision_tf.metrics import squad_metrics
from bertvision_tf.tasks import Answer, Examples, get_task
from bertvision_tf.training.gold import ALWAYS, AnswerGold, LabelGold

CONTEXTS = ["abc def ghi", "abc def", "", "jkl mno"]
ANSWERS = [(Answer("def", 4),), (), (), (Answer("jkl", 0), Answer("jkl mno", 0))]


def make_gold():
    """Each window is [CLS] and its words; the first question has two."""
    examples = Examples(
        *("squad2", "dev", list("pqrs"), ["?"] * 4, CONTEXTS),
        labels=np.array([1, 0, 0, 1], np.int32),
        answers=ANSWERS,
    )
    cls = [-1, -1]
    rows = [cls, [0, 3], [4, 7], cls, [4, 7], [8, 11], cls, [0, 3], [4, 7], cls, cls, [0, 3], [4, 7]]
    spans = np.array([[2, 2], [1, 1], [0, 0], [0, 0], [1, 1]])
    return AnswerGold(
        examples, np.array([0, 3, 6, 9, 10, 13]), np.array([0, 0, 1, 2, 3]), np.array(rows, np.int32), spans
    )


def make_logits(strength=6.0):
    """Right of the first and the third, "def" for the second, "jkl mno" for the last, each with its own odds."""
    logits = np.zeros((13, 2))
    logits[[2, 4]] = strength
    logits[8] = 1.0
    logits[11, 0], logits[12, 1] = 2.0, 2.0
    return logits


def test_answers_and_their_threshold():
    gold = make_gold()
    found = gold.read(make_logits())
    assert found.texts == ["def", "def", "", "jkl mno"]
    np.testing.assert_allclose(found.null_odds, [-12, -2, ALWAYS, -4])
    assert found.threshold == -4  # the second is better left unanswered
    assert found.final == ["def", "", "", "jkl mno"]
    assert gold.score(found) == 100
    assert gold.score(found, np.array([0, 0])) == 100


def test_another_models_rows_give_no_threshold_of_their_own():
    gold, selected = make_gold(), make_gold().read(make_logits())
    found = gold.read(make_logits(strength=1.0), selected)  # "def" has odds of -2 now
    assert found.threshold == -4
    assert found.final == ["", "", "", "jkl mno"]
    assert gold.score(found) == 75


def test_where_answering_always_is_best_the_threshold_is_above_all():
    gold = make_gold().select(np.array([0, 3]))
    assert gold.read(make_logits()[[0, 1, 2, 3, 4, 5, 10, 11, 12]]).threshold == ALWAYS


def test_figures_are_the_official_ones():
    gold = make_gold()
    found = gold.read(make_logits(), gold.read(make_logits(strength=1.0)))
    official = squad_metrics(
        [{"paragraphs": [{"qas": [{"id": one, "answers": [{"text": answer.text} for answer in answers]}]}]}
         for one, answers in zip("pqrs", ANSWERS, strict=True)],
        dict(zip("pqrs", found.texts, strict=True)),
        dict(zip("pqrs", found.null_odds, strict=True)),
        found.threshold,
    )  # fmt: skip
    assert gold.describe(found) == {name: value for name, value in official.items() if not name.endswith("total")}


def test_nothing_is_right_where_there_is_no_answer():
    gold = make_gold()
    nothing = gold.answer_nothing()
    assert gold.score(nothing) == 50
    assert gold.describe(nothing)["HasAns_f1"] == 0
    assert np.isfinite(list(gold.describe(nothing).values())).all()
    assert not gold.differ(nothing) and gold.differ(gold.read(make_logits()))
    assert gold.compare(gold.read(make_logits()), nothing).difference == 50


def test_parts_are_the_whole():
    gold, logits = make_gold(), make_logits()
    part = gold.select(np.array([0, 3]))
    assert part.offsets.tolist() == [0, 3, 6, 9] and part.questions.tolist() == [0, 0, 1]
    found = part.read(logits[[0, 1, 2, 3, 4, 5, 10, 11, 12]])
    whole = gold.read(logits)
    assert [found.answers[0], found.answers[1]] == [whole.answers[0], whole.answers[3]]


def test_models_are_combined_over_what_can_be_an_answer():
    gold, random = make_gold(), np.random.default_rng(0)
    one, two = random.normal(size=(2, 13, 2))
    combined = gold.combine([one, two], "mean")
    for window in range(5):
        rows = slice(gold.offsets[window], gold.offsets[window + 1])
        shares = [np.exp(part[rows]) / np.exp(part[rows]).sum(axis=0) for part in (one, two)]
        np.testing.assert_allclose(np.exp(combined[rows]), np.mean(shares, axis=0))
    shifted = one.copy()
    shifted[3] += 100  # a window's own constant changes nothing... but [CLS] is one of its tokens
    assert not np.allclose(gold.combine([shifted]), gold.combine([one]))
    np.testing.assert_allclose(gold.combine([one + 7.0]), gold.combine([one]))


def test_a_closed_token_has_no_probability():
    gold, logits = make_gold(), make_logits()
    gold.char_offsets[1] = -1  # a token of the question
    logits[1] = 50
    assert np.exp(gold.combine([logits]))[1].tolist() == [0, 0]


def test_the_model_that_knows_the_spans_has_the_weight():
    gold = make_gold()
    right = np.zeros((13, 2))
    right[gold.offsets[:-1] + gold.spans[:, 0], 0] = 9
    right[gold.offsets[:-1] + gold.spans[:, 1], 1] = 9
    weights = gold.fit_weights([np.random.default_rng(0).normal(size=(13, 2)), right])
    assert weights[1] > 0.99


def test_labels():
    gold = LabelGold(get_task("rte"), np.array([0, 1, 1, 0]))
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [1.0, 0.0]])
    found = gold.read(logits)
    assert (gold.score(found), gold.score(found, np.array([2, 2, 0, 0])), len(gold)) == (0.75, 0.5, 4)
    assert gold.describe(found) == {"accuracy": 0.75}
    assert gold.show(found) == ["entailment", "not_entailment", "entailment", "entailment"]
    assert gold.show()[2] == "not_entailment"
    assert gold.show_confidence(found, logits)["p_entailment"][0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert gold.select(np.array([2])).score(found[[2]]) == 0
