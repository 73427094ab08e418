"""What is said of rows whose scores mean less than they seem, and of what was guessed."""

import dataclasses
import warnings

import pytest

from bertvision_tf import get_task, task_from_table
from bertvision_tf.notes import Note
from bertvision_tf.tasks import split_selection
from bertvision_tf.tasks.doubts import load_rows

TEXTS = [f"colour {row}" for row in range(40)]
NAMED = {"text": "text", "label": "label", "kind": "classification"}


def listen(function, *arguments, **options):
    """What a call says, and what it gives."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = function(*arguments, **options)
    return [str(one.message) for one in said if one.category is Note], found


def test_what_was_guessed_is_said_once():
    table = {"sentence1": TEXTS, "sentence2": TEXTS[::-1], "Label": ["a", "b"] * 20}
    said, _ = listen(task_from_table, table)
    assert said == [
        "the table: guessed text 'sentence1' with 'sentence2', label 'Label', kind classification of 2 classes."
    ]
    said, _ = listen(task_from_table, table, text="sentence1", label="Label")
    assert said == ["the table: guessed kind classification of 2 classes."]
    assert listen(task_from_table, {"text": TEXTS, "label": ["a", "b"] * 20}, **NAMED)[0] == []


def test_dev_texts_that_stand_in_train_are_counted():
    train = {"text": TEXTS, "label": ["a", "b"] * 20}
    dev = {"text": [*TEXTS[:3], *(f"new {row}" for row in range(7))], "label": ["a", "b"] * 5}
    said, _ = listen(task_from_table, train, dev, name="mine", **NAMED)
    assert said == ["mine: 3 of 10 dev texts stand in train too, so that dev scores are too high."]
    dev["text"][:3] = [" Colour 0", "colour\u00a01", TEXTS[2]]
    said, _ = listen(task_from_table, train, dev, name="mine", **NAMED)
    assert said == [
        "mine: 3 of 10 dev texts stand in train too (2 of them with other case or blanks), so that dev scores are too "
        "high."
    ]
    pairs = {"text": TEXTS, "text_pair": TEXTS[::-1], "label": ["a", "b"] * 20}
    assert listen(task_from_table, pairs, {**pairs, "text_pair": TEXTS}, **NAMED, text_pair="text_pair")[0] == []


def test_classes_that_are_missing_are_named():
    table = {"text": TEXTS, "label": ["a"] * 20 + ["b"] * 10 + ["c"] * 10}
    task = task_from_table(table, table, name="mine", **NAMED)
    said, rows = listen(load_rows, task, "train", None, 25)
    assert said == ["the first 25 rows of mine train hold 2 of 3 classes; missing: 'c'."] and len(rows) == 25
    assert listen(load_rows, task, "train", None, None)[0] == []


def say_lack(task):
    said, _ = listen(load_rows, task, "train", None, None)
    return said


def test_scores_that_are_all_the_same_are_said():
    scores = task_from_table({"text": TEXTS, "label": [1.5] * 40}, {"text": TEXTS, "label": [1.5, 2.0] * 20},
                             name="mine", **NAMED | {"kind": "regression"})  # fmt: skip
    assert say_lack(scores) == ["the 40 rows of mine train have one score, 1.5: there is nothing to tell apart."]
    assert listen(load_rows, scores, "dev", None, None)[0] == []


def test_classes_that_no_row_or_every_row_has_are_said():
    table = {"text": TEXTS, "label": ["a;b", "a"] * 20}
    dev = {"text": TEXTS, "label": ["a"] * 40}
    task = task_from_table(table, dev, name="mine", **NAMED | {"kind": "multilabel"})
    assert say_lack(task) == ["the 40 rows of mine train always hold 'a'."]
    said, _ = listen(load_rows, task, "dev", None, None)
    assert said == ["the 40 rows of mine dev never hold 'b'; always hold 'a'."]


def test_questions_that_are_all_without_an_answer_are_said():
    task = get_task("starter_qa")
    rows = task.load("train")
    empty = rows.select([row for row in range(len(rows)) if not rows.answers[row]])
    lone = dataclasses.replace(task, source="rows", rows={"train": empty, "dev": empty}, remark="")
    assert say_lack(lone) == [f"the {len(empty)} rows of starter_qa train have no answer, none of them."]
    assert say_lack(task) == []


def test_wnli_has_a_remark():
    rows = get_task("starter").load("dev").take(4)
    task = dataclasses.replace(get_task("wnli"), source="rows", rows={"train": rows, "dev": rows})
    assert "scores below the majority" in listen(load_rows, task, "dev", None, None)[0][0]
    assert listen(load_rows, task, "train", None, None)[0] == []


def test_a_stratification_that_was_given_up_is_said():
    said, _ = listen(split_selection, [0] * 20 + [1] * 19 + [2])
    assert said == [
        "the selection rows are drawn without regard to class: 1 of 3 classes have one row, and 20 rows are set aside."
    ]
    assert listen(split_selection, [0] * 20 + [1] * 20)[0] == []
    table = {"text": TEXTS, "label": ["a"] * 20 + ["b"] * 19 + ["c"]}
    assert listen(task_from_table, table, **NAMED)[0] == [
        "the dev rows are drawn without regard to class: 1 of 3 classes have one row, and 8 rows are set aside."
    ]


@pytest.mark.parametrize("kind", [None, "regression"])
def test_a_decimal_comma_is_named(kind):
    from bertvision_tf.errors import TaskError

    with pytest.raises(TaskError, match=r"line 1: the label '1,5' has a decimal comma or a separator"):
        task_from_table({"text": TEXTS, "score": ["1,5", "2"] * 20}, kind=kind)


def test_texts_of_other_case_or_blanks_stay_on_one_side():
    texts = [change(f"colour {row}") for row in range(40) for change in (str.upper, str.title, " {} ".format)]
    task = task_from_table({"text": texts, "label": ["a", "b", "a"] * 40}, name="mine", **NAMED)
    train, dev = ({text.strip().lower() for text in task.load(split).texts} for split in ("train", "dev"))
    assert not train & dev and len(train | dev) == 40


def test_texts_that_are_too_few_to_keep_apart_are_said():
    table = {"text": ["good", "bad"] * 40, "label": ["a", "b"] * 40}
    said, task = listen(task_from_table, table, name="mine", **NAMED)
    assert said == [
        "16 of 16 rows that are set aside have texts that stand among the others too: the 2 different texts are too "
        "few to keep them apart.",
        "mine: 16 of 16 dev texts stand in train too, so that dev scores are too high.",
    ]
    assert len(task.load("dev")) == 16


def test_a_class_that_looks_missing_is_said():
    said, task = listen(task_from_table, {"text": TEXTS, "label": ["a", "b", "nan", "c"] * 10})
    assert said[1:] == ["the table: the label 'nan' is taken for a class; leave its rows out if it is none."]
    assert task.label_names == ("a", "b", "c", "nan")


@pytest.mark.parametrize("mark", ["--", "n.a.", "nil", "#REF!", "#VALUE!", "#DIV/0!", "\u2014", "???"])
def test_every_mark_of_what_is_missing_is_said(mark):
    from bertvision_tf.errors import TaskError

    said, _ = listen(task_from_table, {"text": TEXTS, "label": ["a", "b", mark, "c"] * 10})
    assert said[1:] == [f"the table: the label {mark!r} is taken for a class; leave its rows out if it is none."]
    with pytest.raises(TaskError, match=r"line 3: the label .* is no number, as the others are; leave the row out"):
        task_from_table({"text": TEXTS, "label": ["1", "2", mark, "3"] * 10})


def test_plain_words_are_classes():
    said, _ = listen(task_from_table, {"text": TEXTS, "label": ["unknown", "undefined", "#1", "-1"] * 10})
    assert len(said) == 1


def test_truth_values_among_numbers_are_said():
    said, _ = listen(task_from_table, {"text": TEXTS, "label": [True, 1, 0, False] * 10})
    assert said[1:] == [
        "the table: the labels '0' and 'False' are two classes, and differ in spelling alone.",
        "the table: the labels '1' and 'True' are two classes, and differ in spelling alone.",
    ]


def test_classes_that_differ_in_spelling_alone_are_said():
    said, task = listen(task_from_table, {"text": TEXTS, "label": ["Pos", "pos", "neg", "neg"] * 10})
    assert said[1:] == ["the table: the labels 'Pos' and 'pos' are two classes, and differ in spelling alone."]
    assert len(task.label_names) == 3
    said, _ = listen(task_from_table, {"text": TEXTS, "label": ["1", "1.0", "0", "0"] * 10})
    assert said[1:] == ["the table: the labels '1' and '1.0' are two classes, and differ in spelling alone."]


@pytest.mark.parametrize("cell", ["1,5", "1_000", "1_000.5"])
def test_a_separator_in_a_number_is_named(cell):
    from bertvision_tf.errors import TaskError

    with pytest.raises(TaskError, match=f"line 2: the label '{cell}' has a decimal comma or a separator"):
        task_from_table({"text": TEXTS, "score": ["2.5", cell] * 20})


@pytest.mark.parametrize(
    ("one", "other"), [("Straße", "STRASSE"), ("ok", "o\u200bk"), ("\uff41", "a"), ("a b", "a\u00a0b")]
)
def test_spellings_that_look_alike_are_said(one, other):
    said, _ = listen(task_from_table, {"text": TEXTS, "label": [one, other, "neg", "neg"] * 10})
    assert len(said) == 2 and "are two classes, and differ in spelling alone" in said[1]


def test_classes_without_names_are_said():
    said, _ = listen(task_from_table, {"text": TEXTS, "label": [[0, 1, 1], [1, 0, 0]] * 20})
    assert said[1] == "the table: 'label' holds lists of 0 and 1, whose classes are called by their places: 0 to 2."


def test_a_text_that_most_rows_have_is_said():
    texts = ["ok" if row < 320 else f"ship {row}" for row in range(400)]
    said, task = listen(task_from_table, {"text": texts, "label": ["a", "b"] * 200}, **NAMED)
    assert said == [f"{len(task.load('dev'))} rows are set aside instead of 80, since equal texts stay on one side."]
