"""Questions on contexts: SQuAD's JSON and tensorflow_datasets' SQuAD, good and bad."""

import copy
import json

import numpy as np
import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.tasks import Answer, get_task, split_selection

CONTEXT = "Norse raiders came from Denmark. 🙂 Denmark is north."


def make_file(folder, split="train", version="2.0", **changes):
    """A file of one article and four questions; `changes` are of the first one, or of what holds it."""
    questions = [
        {"id": "a", "question": "From where?", "answers": [{"text": "Denmark", "answer_start": 24}]},
        {"id": "b", "question": "When?", "answers": [], "is_impossible": True},
        {"id": "c", "question": "Who?", "answers": [{"text": "raiders", "answer_start": 6}]},
        {"id": "d", "question": "What?", "answers": [{"text": "Norse", "answer_start": 0}]},
    ]
    paragraph = {"context": changes.pop("context", CONTEXT), "qas": questions}
    questions[0] |= changes
    folder.mkdir(exist_ok=True)
    file = folder / f"{split}-v{version}.json"
    file.write_text(json.dumps({"version": version, "data": [{"title": "Normans", "paragraphs": [paragraph]}]}))
    return file


def test_rows_are_questions(tmp_path):
    make_file(tmp_path)
    rows = get_task("squad2").load("train", tmp_path)
    assert list(rows.ids) == ["a", "b", "c", "d"]
    assert rows.texts[0] == "From where?" and rows.text_pairs[0] == CONTEXT
    assert rows.answers == [(Answer("Denmark", 24),), (), (Answer("raiders", 6),), (Answer("Norse", 0),)]
    assert rows.labels.tolist() == [1, 0, 1, 1] and rows.columns["title"] == ["Normans"] * 4
    assert rows.select([2, 0]).answers == [(Answer("raiders", 6),), (Answer("Denmark", 24),)]
    assert rows.fingerprint != rows.select([2, 0, 1, 3]).fingerprint


def test_answers_count_in_the_fingerprint(tmp_path):
    make_file(tmp_path / "one")
    make_file(tmp_path / "two", answers=[{"text": "Denmark", "answer_start": 35}])
    one, two = (get_task("squad2").load("train", tmp_path / name) for name in ("one", "two"))
    assert one.fingerprint != two.fingerprint


def test_answerable_or_not_is_a_classification_of_the_same_file(tmp_path):
    make_file(tmp_path)
    task = get_task("squad2_answerable")
    rows = task.load("train", tmp_path)
    assert rows.answers is None and rows.labels.tolist() == [1, 0, 1, 1]
    assert task.label_names == ("no_answer", "answer")


def test_version_one(tmp_path):
    make_file(tmp_path, version="1.1")
    assert len(get_task("squad1").load("train", tmp_path)) == 4


@pytest.mark.parametrize(
    ("said", "start"),
    [(24, 24), (20, 24), (34, 35), (999, 35), (-5, 24)],
)
def test_an_answer_that_stands_elsewhere_is_taken_from_the_nearest_place(tmp_path, said, start):
    make_file(tmp_path, answers=[{"text": "Denmark", "answer_start": said}])
    assert get_task("squad2").load("train", tmp_path).answers[0] == (Answer("Denmark", start),)


def test_dev_keeps_an_answer_that_does_not_stand_there(tmp_path):
    make_file(tmp_path, "dev", answers=[{"text": "Sweden", "answer_start": 3}])
    assert get_task("squad2").load("dev", tmp_path).answers[0] == (Answer("Sweden", -1),)


def test_a_few_train_answers_that_do_not_stand_there_are_left_out(tmp_path):
    file = make_file(tmp_path)
    content = json.loads(file.read_text())
    questions = content["data"][0]["paragraphs"][0]["qas"]
    for number in range(120):
        questions.append({**copy.deepcopy(questions[0]), "id": str(number)})
    questions[7]["answers"][0]["text"] = "Sweden"
    file.write_text(json.dumps(content))
    rows = get_task("squad2").load("train", tmp_path)
    assert (len(rows), rows.skipped) == (123, 1) and questions[7]["id"] not in rows.ids


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "b"}, "{file}: the id 'b' stands there twice."),
        (
            {"answers": [{"text": "Sweden", "answer_start": 3}]},
            "{file}, question 'a': its answer 'Sweden' does not stand in its context; so with 1 of 4 questions.",
        ),
        ({"question": " "}, "{file}, question 'a': the question is empty."),
        (
            {"question": 7},
            "{file}: article 0, paragraph 0, question 'a' is not as in SQuAD's JSON (something is no text).",
        ),
        (
            {"answers": [{"text": "Denmark"}]},
            "{file}: article 0, paragraph 0, question 'a' has no 'answer_start': expected SQuAD's JSON.",
        ),
    ],
)
def test_a_complaint_names_the_place(tmp_path, changes, message):
    file = make_file(tmp_path, **changes)
    with pytest.raises(TaskError) as raised:
        get_task("squad2").load("train", tmp_path)
    assert str(raised.value) == message.format(file=file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "{file}, line 1: no JSON (Expecting property name enclosed in double quotes)."),
        ("[]", "{file}: the file is not as in SQuAD's JSON (list indices must be integers or slices, not str)."),
        ("{}", "{file}: the file has no 'data': expected SQuAD's JSON."),
        ('{"data": []}', "{file} has no questions."),
        ('{"data": [{"title": "x"}]}', "{file}: article 0 has no 'paragraphs': expected SQuAD's JSON."),
        (
            '{"data": [{"paragraphs": [{"qas": []}]}]}',
            "{file}: article 0, paragraph 0 has no 'context': expected SQuAD's JSON.",
        ),
    ],
)
def test_no_such_file(tmp_path, content, message):
    file = tmp_path / "train-v2.0.json"
    file.write_text(content)
    with pytest.raises(TaskError) as raised:
        get_task("squad2").load("train", tmp_path)
    assert str(raised.value) == message.format(file=file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TaskError, match=r"no dev rows of SQuAD 2\.0: expected .*/dev-v2\.0\.json"):
        get_task("squad2").load("dev", tmp_path)


def test_an_empty_context_is_read(tmp_path):
    file = tmp_path / "dev-v2.0.json"
    questions = [{"id": "a", "question": "Who?", "answers": []}]
    file.write_text(json.dumps({"data": [{"title": "x", "paragraphs": [{"context": "", "qas": questions}]}]}))
    assert get_task("squad2").load("dev", tmp_path).text_pairs == [""]


def test_selection_articles_have_questions_of_both_kinds():
    """Ten articles, in two of which all unanswerable questions stand: one goes to each side."""
    groups = np.repeat(np.arange(10), 50)
    labels = np.ones(500, np.int32)
    labels[:20] = labels[50:70] = 0
    training, selection = split_selection(labels, groups)
    assert not set(groups[training]) & set(groups[selection])
    assert len(training) + len(selection) == 500
    assert set(labels[training]) == set(labels[selection]) == {0, 1}


def test_real_files(real_data):
    task = get_task("squad2")
    train, dev = (task.load(split, real_data / "squad") for split in ("train", "dev"))
    assert (len(train), int((train.labels == 0).sum()), train.skipped) == (4719, 348, 0)
    assert (len(dev), int((dev.labels == 0).sum())) == (2828, 1529)
    for rows in (train, dev):
        for context, answers in zip(rows.text_pairs, rows.answers, strict=True):
            assert all(context[one.start : one.start + len(one.text)] == one.text for one in answers)


def test_tensorflow_datasets_gives_the_same_fields():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=3):  # of its fields, filled at random
        for name in ("squad1", "squad2"):
            for split in ("train", "dev"):
                rows = get_task(name).load(split)
                assert len(rows) == 3 and all(map(str, rows.text_pairs)) and len(rows.answers) == 3


def test_half_a_character(tmp_path):
    """JSON may hold a surrogate alone, which no UTF-8 file can."""
    make_file(tmp_path, context=CONTEXT + " \ud83d", question="From \ud83d where?")
    with pytest.raises(TaskError, match=r"^squad2 train, row 0: 'From .* has half a character"):
        get_task("squad2").load("train", tmp_path)


def test_a_start_beyond_all_numbers(tmp_path):
    make_file(tmp_path, answers=[{"text": "Denmark", "answer_start": float("inf")}])
    with pytest.raises(TaskError, match="question 'a' is not as in SQuAD's JSON"):
        get_task("squad2").load("train", tmp_path)
