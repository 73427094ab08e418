"""SQuAD's scores: by hand, against a slow search over thresholds, and against published figures."""

import json

import numpy as np
import pytest

from bertvision_tf.metrics import squad_metrics
from bertvision_tf.metrics.squad import (
    SILENT,
    AnswerScores,
    describe_with_odds,
    find_best_threshold,
    normalize_answer,
    score_answers,
)


def make_gold(**answers):
    questions = [{"id": name, "answers": [{"text": text} for text in texts]} for name, texts in answers.items()]
    return {"data": [{"paragraphs": [{"qas": questions}]}]}


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The  Cat!", "cat"),
        ("an apple a day", "apple day"),
        ("theatre", "theatre"),  # articles are whole words
        ("U.S.", "us"),
        ("the", ""),
        ("naïve “quotes”", "naïve “quotes”"),  # punctuation is ASCII's
        ("tab\tand\nline", "tab and line"),
    ],
)
def test_normalized_as_the_official_scorer_does(text, normalized):
    assert normalize_answer(text) == normalized


@pytest.mark.parametrize(
    ("gold", "prediction", "exact", "f1"),
    [
        (["the North Sea"], "North Sea.", 1, 1),
        (["North Sea", "sea"], "the sea", 1, 1),  # the best of the gold answers
        (["north north sea"], "north sea sea", 0, 2 / 3),  # words count as often as they stand there
        (["one two three four"], "two", 0, 2 * 1 * 0.25 / 1.25),
        (["dog"], "cat", 0, 0),
        (["dog"], "", 0, 0),
        ([], "", 1, 1),
        ([], "dog", 0, 0),
        (["the"], "", 1, 1),  # an answer of an article alone is none
    ],
)
def test_one_question(gold, prediction, exact, f1):
    found = score_answers([gold], [prediction])
    assert (found.exact[0], found.f1[0]) == pytest.approx((exact, f1))
    assert found.has_answer[0] == bool(gold)


def test_parts_and_their_counts():
    gold = make_gold(a=["dog"], b=["big cat"], c=[])
    found = squad_metrics(gold, {"a": "dog", "b": "cat", "c": "bird"})
    assert list(found) == [
        *("exact", "f1", "total"),
        *("HasAns_exact", "HasAns_f1", "HasAns_total"),
        *("NoAns_exact", "NoAns_f1", "NoAns_total"),
    ]
    assert found["exact"] == pytest.approx(100 / 3)
    assert found["f1"] == pytest.approx(100 * (1 + 2 / 3) / 3)
    assert (found["HasAns_exact"], found["HasAns_total"], found["NoAns_f1"], found["NoAns_total"]) == (50, 2, 0, 1)
    assert squad_metrics(gold["data"], {"a": "dog", "b": "cat", "c": "bird"}) == found


def test_without_unanswerable_questions_their_scores_are_left_out():
    assert not any(name.startswith("NoAns") for name in squad_metrics(make_gold(a=["dog"]), {"a": "dog"}))


def test_odds_above_the_threshold_are_no_answer():
    gold = make_gold(a=["dog"], c=[])
    found = squad_metrics(gold, {"a": "dog", "c": "bird"}, {"a": 0.5, "c": 2.0})
    assert (found["exact"], found["HasAns_exact"], found["NoAns_exact"]) == (100, 100, 100)
    assert (found["best_exact"], found["best_exact_thresh"]) == (100, 0.5)
    assert squad_metrics(gold, {"a": "dog", "c": "bird"}, {"a": 0.5, "c": 2.0}, threshold=0.2)["exact"] == 50


@pytest.mark.parametrize("name", ["exact", "f1"])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_that_of_a_slow_search(name, seed):
    random = np.random.default_rng(seed)
    has_answer = random.random(60) < 0.5
    answered = random.random(60) < 0.8
    f1 = np.where(has_answer, random.random(60) * answered, ~answered)
    scores = AnswerScores(np.floor(f1), f1, has_answer, answered)
    odds = random.normal(size=60)
    best, at = find_best_threshold(scores, odds, name)
    every = [100 * getattr(scores.apply_threshold(odds, one), name).mean() for one in [-np.inf, *odds]]
    assert best == pytest.approx(max(every))
    assert 100 * getattr(scores.apply_threshold(odds, at), name).mean() == pytest.approx(best)


def test_always_silent_is_the_best_where_every_answer_is_wrong():
    scores = score_answers([["dog"], []], ["cat", "cat"])
    odds = np.array([1.0, 2.0])
    assert find_best_threshold(scores, odds) == (50.0, SILENT)  # below all odds
    assert find_best_threshold(scores, np.full(2, np.inf)) == (50.0, SILENT)
    assert describe_with_odds(scores, odds + 5)["best_f1_thresh"] == 0.0  # the official scorer's word for it


@pytest.mark.parametrize("what", ["predictions", "null_odds"])
def test_what_is_missing_is_named(what):
    given = {"predictions": {"a": "dog", "b": ""}, "null_odds": {"a": 0.0, "b": 0.0}}
    del given[what]["b"]
    with pytest.raises(ValueError, match=f"`{what}` lacks 1 of 2 questions, the first 'b'"):
        squad_metrics(make_gold(a=["dog"], b=[]), **given)


def test_no_questions():
    with pytest.raises(ValueError, match="no questions"):
        squad_metrics({"data": []}, {})


def test_figures_of_published_predictions(real_data):
    """What the official scorer prints of two systems, to 1e-9."""
    folder = real_data / "squad"
    gold, first, second, odds = (
        json.loads((folder / name).read_text())
        for name in (
            "dev-v2.0.json",
            "reference_predictions.json",
            "reference_predictions_2.json",
            "reference_null_odds_2.json",
        )
    )
    close = {"abs": 1e-9, "rel": 0}
    found = squad_metrics(gold, first)
    assert {name: found[name] for name in found if "total" not in name} == pytest.approx(
        {
            "exact": 77.05091937765205,
            "f1": 80.74089703356351,
            "HasAns_exact": 70.51578137028484,
            "HasAns_f1": 78.54908145567175,
            "NoAns_exact": 82.60300850228907,
            "NoAns_f1": 82.60300850228907,
        },
        **close,
    )
    found = squad_metrics(gold, second, odds)
    wanted = {
        "exact": 69.51909476661952,
        "f1": 73.77268878269106,
        "best_exact": 72.13578500707213,
        "best_exact_thresh": -6.892353355884552,
        "best_f1": 75.68054984693245,
        "best_f1_thresh": -6.892353355884552,
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, **close)


def test_described_with_odds_as_the_json_is():
    gold = make_gold(a=["dog"], b=["big cat"], c=[])
    texts, odds = {"a": "dog", "b": "cat", "c": "bird"}, {"a": -1.0, "b": 0.5, "c": 3.0}
    scores = score_answers([["dog"], ["big cat"], []], list(texts.values()))
    assert describe_with_odds(scores, np.array(list(odds.values()))) == squad_metrics(gold, texts, odds)
