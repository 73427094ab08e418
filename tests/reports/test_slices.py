import json

import numpy as np
import pytest

from bertvision_tf.errors import RunError
from bertvision_tf.reports.mistakes import choose_examples, collect_mistakes
from bertvision_tf.reports.rows import read_dev_rows
from bertvision_tf.reports.slices import _slice_numbers, find_question_word, measure_overlap, slice_rows
from bertvision_tf.runs.folder import write_csv

CLASSES = {"kind": "classification", "label_names": ["no", "yes"]}


def write_rows(folder, header, rows):
    folder.mkdir(exist_ok=True)
    write_csv(folder / "predictions.csv", header, rows)
    return folder


@pytest.fixture
def classes(tmp_path):
    header = ["id", "text", "text_pair", "source", "label", "prediction", "p_no", "p_yes", "prediction_seed_0"]
    rows = [
        ["a", "One two", "two three", "web", "yes", "yes", "0.1", "0.9", "yes"],
        ["b", "One", "four five six", "web", "no", "yes", "0.2", "0.8", "yes"],
        ["c", "One two three", "One two three", "book", "no", "no", "0.7", "0.3", "no"],
        ["d", "seven", "eight", "book", "yes", "no", "0.6", "0.4", "no"],
    ]
    return read_dev_rows(write_rows(tmp_path / "run", header, rows), CLASSES, "accuracy")


@pytest.fixture
def answers(tmp_path):
    header = ["id", "text", "text_pair", "label", "prediction", "null_odds"]
    rows = [
        ["a", "Who eats?", "The big cat eats.", json.dumps(["The big cat", "cat"]), "cat", "-3.0"],
        ["b", "In which year?", "In 1999 or so.", json.dumps(["1999"]), "1999 or so", "-1.0"],
        ["c", "How many?", "None at all.", "[]", "", "2.0"],
        ["d", "Name it.", "It is called Bo.", json.dumps(["Bo"]), "", "1.0"],
    ]
    folder = write_rows(tmp_path / "run", header, rows)
    best = {"a": ["cat", "big"], "b": ["1999 or so", "1999"], "c": ["None"], "d": ["Bo", "It"]}
    listed = {name: [{"text": text, "score": 1.0} for text in texts] for name, texts in best.items()}
    (folder / "nbest_predictions.json").write_text(json.dumps(listed), encoding="utf-8")
    return read_dev_rows(folder, {"kind": "span", "label_names": []}, "f1")


def sum_up(rows):
    return {
        what: {one.name: (one.rows.tolist(), round(one.score(rows), 3)) for one in parts}
        for what, parts in slice_rows(rows)
    }


def test_rows_of_classes(classes):
    assert classes.scores.tolist() == [1, 0, 1, 0]
    assert classes.confidence.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert classes.sources == {"source": ["web", "web", "book", "book"]}
    found = sum_up(classes)
    assert found["all"] == {"all rows": ([0, 1, 2, 3], 0.5)}
    assert found["label"] == {"no": ([1, 2], 0.5), "yes": ([0, 3], 0.5)}
    assert found["source"] == {"book": ([2, 3], 0.5), "web": ([0, 1], 0.5)}
    assert found["words"] == {"2": ([3], 0.0), "4": ([0, 1], 0.5), "6": ([2], 1.0)}
    assert found["lexical overlap"] == {"0": ([1, 3], 0.0), "0.5": ([0], 1.0), "1": ([2], 1.0)}
    (whole,) = next(parts for what, parts in slice_rows(classes) if what == "all")
    assert whole.measure_error(classes) == pytest.approx(np.std([1, 0, 1, 0], ddof=1) / 2)


def test_rows_of_questions(answers):
    """F1 of "1999 or so" for "1999" is half; the second-best span of b is right, and that of c is nothing."""
    assert answers.scores.tolist() == pytest.approx([1, 0.5, 1, 0])
    assert answers.spans_right.tolist() == [[True, False], [False, True], [False, True], [True, False]]
    found = sum_up(answers)
    assert found["question word"] == {
        "how": ([2], 100.0),
        "other": ([3], 0.0),
        "which": ([1], 50.0),
        "who": ([0], 100.0),
    }
    assert found["answer"] == {"answerable": ([0, 1, 3], 50.0), "no answer": ([2], 100.0)}
    assert set(found["words of the context"]) == {"3", "4"}


def test_rows_of_a_regression(tmp_path):
    header = ["id", "text", "label", "prediction"]
    far = [[str(place), "text", "1.0", f"{1 + place / 10}"] for place in range(20)]
    folder = write_rows(tmp_path / "run", header, far)
    rows = read_dev_rows(folder, {"kind": "regression", "label_names": []}, "spearman")
    assert np.flatnonzero(rows.wrong).tolist() == [18, 19]
    assert choose_examples(rows, 3) == [19, 0, 18]
    found = sum_up(rows)
    assert found["all"]["all rows"][1] == pytest.approx(0.95)
    assert found["label"] == {"1": (list(range(20)), pytest.approx(0.95))}


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ([4, 9, 1, 2, 3, 8, 7, 6, 5], {"1 to 3": 3, "4 to 6": 3, "7 to 9": 3}),
        ([0] * 80 + [place / 1000 for place in range(1, 21)], {"0": 80, "0.001 to 0.02": 20}),
        (
            [place / 1000 for place in range(8)],
            {"0 to 0.001": 2, "0.002 to 0.003": 2, "0.004 to 0.005": 2, "0.006 to 0.007": 2},
        ),
        ([2.5, 1.0], {"1": 1, "2.5": 1}),
    ],
)
def test_numbers_are_cut_into_parts_of_like_size(numbers, wanted):
    assert {one.name: len(one.rows) for one in _slice_numbers(np.array(numbers, float))} == wanted


def test_words_that_ask():
    assert [find_question_word(text) for text in ("In WHAT year?", "Whose?", "Name him.", "")] == [
        "what", "whose", "other", "other",
    ]  # fmt: skip


def test_overlap_is_of_the_first_text():
    assert measure_overlap(["a b", "", "c, C!"], ["b c d", "x", "c"]).tolist() == [0.5, 0.0, 1.0]


def test_mistakes_are_of_any_run(classes, tmp_path):
    header = ["id", "text", "text_pair", "source", "label", "prediction", "p_no", "p_yes"]
    rows = [
        ["a", "One two", "two three", "web", "yes", "no", "0.95", "0.05"],
        ["b", "One", "four five six", "web", "no", "yes", "0.1", "0.9"],
        ["c", "One two three", "One two three", "book", "no", "no", "0.7", "0.3"],
        ["d", "seven", "eight", "book", "yes", "yes", "0.2", "0.8"],
    ]
    other = read_dev_rows(write_rows(tmp_path / "other", header, rows), CLASSES, "accuracy")
    found = collect_mistakes({"one": classes, "other": other})
    assert [(row["id"], row["wrong"]) for row in found["rows"]] == [
        ("a", [False, True]), ("b", [True, True]), ("d", [True, False]),
    ]  # fmt: skip
    assert found["rows"][1]["said"] == ["yes", "yes"] and found["rows"][1]["sure"] == [0.8, 0.9]
    assert [found["texts"][row["pair"]] for row in found["rows"]] == ["two three", "four five six", "eight"]
    assert found["labels"] == ["no", "yes"] and found["left_out"] == 0
    difference = classes.compare(other)
    assert (difference.only_first, difference.only_second, difference.p_value) == (1, 1, 1.0)


def test_the_surest_mistakes_stay_where_there_are_too_many(classes, monkeypatch):
    monkeypatch.setattr("bertvision_tf.reports.mistakes.MOST_ROWS", 1)
    found = collect_mistakes({"one": classes})
    assert [row["id"] for row in found["rows"]] == ["b"] and found["left_out"] == 1


def test_examples_are_the_surest_wrong_and_right_in_turn(classes, answers):
    assert choose_examples(classes, 3) == [1, 0, 3]
    assert choose_examples(answers, 4) == [1, 0, 3, 2]


@pytest.mark.parametrize("content", ["", "id,text\na,b\n", "id,text,label,prediction,p_no\na,b,no,no,0.5\n"])
def test_predictions_that_cannot_be_read(tmp_path, content):
    (tmp_path / "predictions.csv").write_text(content)
    with pytest.raises(RunError, match=r"predictions\.csv cannot be read"):
        read_dev_rows(tmp_path, CLASSES, "accuracy")
