"""What rows are scored by, on windows small enough to reckon by hand."""

import numpy as np
import pytest

from bertvision_tf.kinds import AnswerGold, LabelGold
from bertvision_tf.kinds.answers import ALWAYS
from bertvision_tf.metrics import squad_metrics
from bertvision_tf.metrics.ensembles import MODES
from bertvision_tf.tasks import Answer, Examples, get_task

CONTEXTS = ["abc def ghi", "abc def", "", "jkl mno"]
ANSWERS = [(Answer("def", 4),), (), (), (Answer("jkl", 0), Answer("jkl mno", 0))]


CLS = [-1, -1]
WINDOWS = [  # each is [CLS] and its words; the first question has two
    (0, [CLS, [0, 3], [4, 7]], (2, 2)),
    (0, [CLS, [4, 7], [8, 11]], (1, 1)),
    (1, [CLS, [0, 3], [4, 7]], (0, 0)),
    (2, [CLS], (0, 0)),
    (3, [CLS, [0, 3], [4, 7]], (1, 1)),
]
PAIR = [0, 1, 2, 3, 4, 5, 10, 11, 12]  # rows of logits of the first and the last question


def make_gold(rows=(0, 1, 2, 3)):
    examples = Examples(
        *("squad2", "dev", list("pqrs"), ["?"] * 4, CONTEXTS),
        labels=np.array([1, 0, 0, 1], np.int32),
        answers=ANSWERS,
    )
    windows = [window for window in WINDOWS if window[0] in rows]
    return AnswerGold(
        examples.select(rows),
        np.cumsum([0, *(len(tokens) for _, tokens, _ in windows)]),
        np.array([rows.index(question) for question, _, _ in windows]),
        np.concatenate([tokens for _, tokens, _ in windows]).astype(np.int32),
        np.array([span for _, _, span in windows]),
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
    gold, logits = make_gold(rows=(0, 3)), make_logits()[PAIR]
    assert gold.read(logits).threshold == ALWAYS
    logits[:6], logits[1] = 0, 0.1  # the first one, of the highest odds, is wrong now: silence is no better
    found = gold.read(logits)
    assert (found.threshold, found.final, gold.score(found)) == (ALWAYS, ["abc", "jkl mno"], 50)


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
    part = make_gold(rows=(0, 3))
    found, whole = part.read(logits[PAIR]), gold.read(logits)
    assert found.texts == [whole.texts[0], whole.texts[3]]
    assert found.null_odds.tolist() == whole.null_odds[[0, 3]].tolist()
    assert part.decode(logits[PAIR])[0] == gold.decode(logits)[0]
    assert gold.has_tokens_of(make_gold()) and not gold.has_tokens_of(part)


def test_models_are_combined_over_what_can_be_an_answer():
    gold, random = make_gold(), np.random.default_rng(0)
    one, two = random.normal(size=(2, 13, 2))
    combined = gold.combine([one, two], "mean")
    for rows in (slice(0, 6), slice(6, 9), slice(9, 10), slice(10, 13)):  # of each question, both windows of the first
        shares = [np.exp(part[rows]) / np.exp(part[rows]).sum(axis=0) for part in (one, two)]
        np.testing.assert_allclose(np.exp(combined[rows]), np.mean(shares, axis=0))
    np.testing.assert_allclose(gold.combine([one + 7.0]), gold.combine([one]))


@pytest.mark.parametrize("mode", MODES)
def test_a_model_with_itself_is_itself(mode):
    gold, logits = make_gold(), np.random.default_rng(0).normal(size=(13, 2))
    logits[3:6] += 5  # the second window's own level counts
    alone, both = gold.read(logits), gold.read(gold.combine([logits] * 2, mode, np.array([0.3, 0.7])))
    assert both.texts == alone.texts
    np.testing.assert_allclose(both.null_odds, alone.null_odds)


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
