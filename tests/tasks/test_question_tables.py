"""The user's own questions: tables in every form of answers, good and bad."""

import json

import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.notes import Note
from bertvision_tf.tasks import Answer, task_from_table

CONTEXT = "The cat sat on the mat; the cat slept."


def make_table(**columns):
    rows = 12
    return {
        "question": [f"Who sat {row}?" for row in range(rows)],
        "context": [f"{row}. {CONTEXT}" for row in range(rows)],
        "answers": ["cat"] * rows,
    } | columns


def write_rows(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_a_mapping_of_columns():
    task = task_from_table(make_table(), name="My questions")
    train, dev = task.load("train"), task.load("dev")
    assert (task.name, task.kind, task.main_metric, task.max_length) == ("My_questions", "span", "f1", 384)
    assert len(train) + len(dev) == 12 and len(dev) == 3
    assert {(Answer("cat", row.index("cat")),) for row in dev.text_pairs} == set(dev.answers)


@pytest.mark.parametrize(
    ("cell", "answers"),
    [
        ("mat", (Answer("mat", 19),)),
        ("", ()),
        (None, ()),
        (["mat", "cat"], (Answer("mat", 19), Answer("cat", 4))),
        ([], ()),
        ({"text": ["cat"], "answer_start": [28]}, (Answer("cat", 28),)),
        ([{"text": "cat", "answer_start": 30}], (Answer("cat", 28),)),
        ([{"text": "cat"}], (Answer("cat", 4),)),
        ("(1)", (Answer("(1)", 43),)),  # as it stands in the context
        ("mat; the", (Answer("mat; the", 19),)),  # no separator of answers
        ("[1]", (Answer("[1]", 39),)),  # no list of answers
    ],
)
def test_forms_of_answers(tmp_path, cell, answers):
    rows = [{"id": str(row), "question": "Who?", "context": CONTEXT + " [1] (1)", "answers": cell} for row in range(3)]
    file = write_rows(tmp_path / "mine.jsonl", rows)
    task = task_from_table(file, file)
    assert task.load("train").answers == [answers] * 3
    assert task.load("train").fingerprint == task.load("train").fingerprint and task.name == "mine"


def test_a_csv_file_with_a_column_of_starts(tmp_path):
    file = tmp_path / "mine.csv"
    lines = "".join(f'{row},Who?,"{CONTEXT}",cat,28\n' for row in range(4))
    file.write_text("id,question,context,answer,answer_start\n" + lines)
    assert task_from_table(file, file).load("dev").answers == [(Answer("cat", 28),)] * 4


def test_questions_on_one_context_stay_together():
    task = task_from_table(make_table(context=[f"{row // 3}. {CONTEXT}" for row in range(12)]))
    assert not set(task.load("train").text_pairs) & set(task.load("dev").text_pairs)


def test_titles_are_kept_where_there_are_any():
    table = make_table(title=[f"article {row // 6}" for row in range(12)])
    task = task_from_table(table, table)
    assert set(task.load("train").columns["title"]) == {"article 0", "article 1"}
    assert task_from_table(make_table(), make_table()).load("train").columns == {}


def test_a_label_column_makes_it_a_classification():
    table = make_table(label=["a", "b"] * 6)
    assert task_from_table(table, label="label").kind == "classification"
    assert task_from_table(table, label="label", text="question").load("train").answers is None


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"id": ["x"] * 12}, {}, "the table: the id 'x' stands there twice."),
        (
            {"answers": ["dog", *["cat"] * 11]},
            {},
            "the table, question 'train-0': its answer 'dog' does not stand in its context; so with 1 of 12 questions."
            " If the answers are classes, name the --kind.",
        ),
        ({"question": [" ", *["Who?"] * 11]}, {}, "the table, question 'train-0': the question is empty."),
        (
            {"answers": [{"text": "cat"}, *["cat"] * 11]},
            {},
            "the table, line 1: answers '{\"text\": \"cat\"}' with start '' cannot be read.",
        ),
        (
            {"answer_start": ["x"] * 12},
            {},
            "the table, line 1: answers 'cat' with start 'x' cannot be read.",
        ),
    ],
)
def test_a_complaint_names_the_row(columns, options, message):
    with pytest.raises(TaskError) as raised:
        task_from_table(make_table(**columns), **options)
    assert str(raised.value) == message


def test_a_missing_column_is_named():
    with pytest.raises(TaskError, match="has no column 'answers'; it has 'question', 'context'"):
        task_from_table({"question": ["Who?"], "context": ["The cat."]}, kind="span")


def test_a_table_with_labels_is_none_of_questions():
    """Pairs of texts with a class, and an answer besides: the labels are what is to be learned."""
    table = make_table(label=["yes", "no"] * 6)
    assert task_from_table(table, text="question", text_pair="context").kind == "classification"
    assert task_from_table(table).kind == "classification"
    assert task_from_table(table, kind="span").kind == "span"


def test_answers_that_are_classes_name_the_way_out():
    with pytest.raises(TaskError, match=r"'true' does not stand in its context; .* name the --kind\.$"):
        task_from_table(make_table(answers=["true"] * 12))


@pytest.mark.parametrize("start", ["inf", "1e999", "nan"])
def test_a_start_that_is_no_number(start):
    with pytest.raises(TaskError, match=f"line 1: answers 'cat' with start '{start}' cannot be read"):
        task_from_table(make_table(answer_start=[start] * 12))


@pytest.mark.parametrize("column", ["question", "context", "answers"])
def test_half_a_character(column):
    cells = make_table()[column]
    with pytest.raises(TaskError, match=rf"line 3: '{column}' has half a character, a surrogate without its partner"):
        task_from_table(make_table(**{column: [*cells[:2], "cat \ud83d", *cells[3:]]}))


@pytest.mark.parametrize(
    "cell",
    [
        "{'text': ['1917'], 'answer_start': [3]}",
        "{'text': array(['1917'], dtype=object), 'answer_start': array([3])}",
        "[{'text': '1917', 'answer_start': 3}]",
        "['1917']",
        "('1917',)",
        "array(['1917'], dtype=object)",
        "dict(text=['1917'], answer_start=[3])",
        "{'1917'}",
        "np.str_('1917')",
        "Answer(text='1917', start=3)",
        '"1917"',
        "'1917'",
    ],
)
def test_answers_as_python_prints_them_are_refused(cell):
    from bertvision_tf import task_from_table
    from bertvision_tf.errors import TaskError

    table = {"question": ["When?"] * 12, "context": ["in 1917"] * 12, "answers": [cell] * 12}
    with pytest.raises(TaskError, match=r"line 1: answers .* as Python prints it; write them as JSON"):
        task_from_table(table)


@pytest.mark.parametrize(
    "answers",
    [[3], [None], [True], [["cat"]], ["cat", 3], ["cat", {"text": "cat"}], [{"text": None}], [{"text": 3}],
     {"text": None}, {"text": [None], "answer_start": [4]}, {"text": ["cat"], "answer_start": [4, 28]},
     {"text": ["cat"], "answer_start": [4.5]}, {"text": ["cat"], "answer_start": [None]}, {"answer": "cat"}],
)  # fmt: skip
def test_answers_that_are_no_texts_are_refused(answers):
    table = make_table()
    dev = make_table(answers=[*table["answers"][:-1], answers])
    with pytest.raises(TaskError, match=r"line 12: answers .* cannot be read"):
        task_from_table(table, dev)


@pytest.mark.parametrize("cell", ["None", "nan", "null", "<NA>", "-", ".", "?"])
def test_marks_of_no_answer_are_refused_where_the_context_has_them_too(cell):
    table = {"question": ["Where?"] * 12, "context": ["The well-known city. None is <NA>, nan or null?"] * 12}
    with pytest.raises(TaskError, match=r"line 1: answers .* may say that there is none; leave the cell empty"):
        task_from_table(table | {"answers": [cell] * 12})
    rows = task_from_table(table | {"answers": [json.dumps([cell])] * 12})
    assert rows.load("dev").answers[0][0].text == cell


@pytest.mark.parametrize("says", ["1.0", "0.0"])
def test_impossible_as_pandas_writes_floats(says):
    table = make_table(is_impossible=[says] * 12)
    assert task_from_table(table, table).load("dev").labels.tolist() == [int(says == "0.0")] * 12


@pytest.mark.parametrize("as_json", [False, True])
def test_starts_of_lists_of_answers(as_json):
    """The second "cat" is meant."""
    answers, starts = [["cat", "cat"]] * 12, [[CONTEXT.rindex("cat") + 3 + (row > 9), 4] for row in range(12)]
    if as_json:
        answers, starts = map(json.dumps, answers), map(json.dumps, starts)
    task = task_from_table(table := make_table(answers=list(answers), answer_start=list(starts)), table)
    assert [one.start for one in task.load("dev").answers[0]] == [31, 7]
    assert [one.start for one in task.load("dev").answers[11]] == [32, 8]
    with pytest.raises(TaskError, match=r"line 1: answers .* with start '\[1, 2, 3\]' cannot be read"):
        task_from_table(make_table(answers=[["cat"]] * 12, answer_start=[[1, 2, 3]] * 12))


@pytest.mark.parametrize("says", [True, "True", "true", 1, "1"])
def test_impossible_questions_have_no_answers(says):
    table = make_table(is_impossible=[says, *[False] * 11])
    rows = task_from_table(table, table).load("dev")
    assert rows.answers[0] == () and rows.labels.tolist() == [0, *[1] * 11]


def test_what_is_neither_possible_nor_impossible():
    with pytest.raises(TaskError, match="line 2: is_impossible needs true or false, got 'perhaps'"):
        task_from_table(make_table(is_impossible=["false", "perhaps", *["false"] * 10]))


def test_answers_of_bytes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    table = make_table()
    task = task_from_table(pyarrow.table(table | {"answers": [[b"cat"]] * 12}))
    assert task.load("dev").fingerprint == task_from_table(table).load("dev").fingerprint


def test_answers_that_cannot_be_found_or_are_missing_are_said():
    dev = make_table(answers=["dog", "dog", *["cat"] * 10], id=[f"dev {row}" for row in range(12)])
    with pytest.warns(Note, match="2 of 12 questions of dev have no answer that stands in its context"):
        task_from_table(make_table(), dev)
    claims = make_table(answers=["", *["cat"] * 11], is_impossible=["false"] * 12)
    with pytest.warns(Note, match="1 of 12 questions of train are said to have an answer and none is given"):
        task = task_from_table(claims, make_table(is_impossible=["true"] * 12))
    assert task.load("train").labels.tolist() == [0, *[1] * 11]
