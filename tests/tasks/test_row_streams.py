"""Rows that come one by one: generators, streamed Datasets, tf.data; each gives the task that a mapping gives."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf import task_from_table
from bertvision_tf.errors import TaskError
from bertvision_tf.tasks.files import list_texts
from bertvision_tf.tasks.tables import read_table

TEXTS = [f"text {number}, größer" for number in range(12)]
PAIRS = [f"pair {number}" for number in range(12)]
LABELS = ["yes", "no"] * 6
Row = collections.namedtuple("Row", ["text", "label"])


def make_dataset():
    return tf.data.Dataset.from_tensor_slices((TEXTS, LABELS))


def make_streamed():
    datasets = pytest.importorskip("datasets")
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["yes", "no"])}
    columns = {"text": TEXTS, "label": [0, 1] * 6}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds)).to_iterable_dataset()


SOURCES = {
    "dicts": lambda: [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)],
    "tuples": lambda: list(zip(TEXTS, LABELS, strict=True)),
    "named tuples": lambda: [Row(*row) for row in zip(TEXTS, LABELS, strict=True)],
    "a generator": lambda: ({"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)),
    "a zip": lambda: zip(TEXTS, LABELS, strict=True),
    "tf.data": make_dataset,
    "batches of tf.data": lambda: make_dataset().batch(5),
    "tf.data of dicts": lambda: make_dataset().map(lambda text, label: {"text": text, "label": label}),
    "a streamed Dataset": make_streamed,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_rows_of_every_source_are_those_of_a_mapping(kind):
    mapping = {"text": TEXTS, "label": LABELS}
    expected = task_from_table(mapping, mapping, name="t")
    task = task_from_table(SOURCES[kind](), SOURCES[kind](), name="t")
    assert (task.label_names, task.text, task.label) == (expected.label_names, "text", "label")
    for split in ("train", "dev"):
        found = task.load(split)
        assert list(found.texts) == TEXTS
        assert found.labels.tolist() == expected.load(split).labels.tolist()
        assert found.fingerprint == expected.load(split).fingerprint


def test_lists_of_classes_of_a_streamed_dataset_have_their_names():
    datasets = pytest.importorskip("datasets")
    kinds = {"text": datasets.Value("string"), "label": datasets.List(datasets.ClassLabel(names=["neg", "pos"]))}
    rows = {"text": TEXTS, "label": [[0, 1], [1]] * 6}
    stream = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).to_iterable_dataset()
    task = task_from_table(stream, stream)
    assert (task.kind, task.label_names) == ("multilabel", ("neg", "pos"))
    assert task.load("dev").labels[:2].tolist() == [[1, 1], [0, 1]]


def test_pairs_come_as_three_parts_or_as_a_pair():
    for rows in (
        list(zip(TEXTS, PAIRS, LABELS, strict=True)),
        list(zip(zip(TEXTS, PAIRS, strict=True), LABELS, strict=True)),
        tf.data.Dataset.from_tensor_slices(((TEXTS, PAIRS), LABELS)).batch(4),
    ):
        task = task_from_table(rows, rows)
        assert (task.text, task.text_pair) == ("text", "text_pair")
        assert list(task.load("train").text_pairs) == PAIRS


def test_numbers_stay_numbers():
    scores = np.linspace(0, 5, 12).astype(np.float64)
    rows = tf.data.Dataset.from_tensor_slices((TEXTS, scores))
    task = task_from_table(rows, rows)
    assert task.kind == "regression"
    assert task.load("train").labels == pytest.approx(scores, rel=1e-6)


def test_a_row_may_lack_a_name():
    table = read_table(iter([{"text": "a"}, {"text": "b", "label": 1}]))
    assert (table.header, table.rows) == (["text", "label"], [["a", ""], ["b", "1"]])


def test_questions_of_a_generator():
    rows = [
        {
            "question": f"Who is {number}?",
            "context": f"Ann {number} came.",
            "answers": {"text": [f"Ann {number}"], "answer_start": [0]},
        }
        for number in range(10)
    ]
    for kind in (None, "span"):
        task = task_from_table(iter(rows), kind=kind)
        assert task.kind == "span"
        assert len(task.load("train")) + len(task.load("dev")) == 10
    with pytest.raises(TaskError, match=r"the table has no column 'question'; it has 'text', 'label'"):
        task_from_table(zip(TEXTS, LABELS, strict=True), kind="span")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (iter([]), "the table is empty: expected a row or more"),
        (iter(["a", "b"]), "row 1 is a str, expected a dict, or a tuple of a text and a label"),
        ([("a", "b"), ("a",)], "row 2 has 1 parts, expected a text, or two, and a label"),
        ([("a", "b", "c", "d")], "row 1 has 4 parts"),
        ([("a", "b"), None], "row 2 is a NoneType"),
    ],
)
def test_what_is_no_row_is_refused(rows, said):
    with pytest.raises(TaskError, match=said):
        task_from_table(rows)


def test_tf_data_that_cannot_be_read_is_refused():
    ragged = tf.data.Dataset.from_tensors({"text": tf.ragged.constant([["a"], ["b", "c"]]), "label": [0, 1]})
    with pytest.raises(TaskError, match=r"line 1: 'text' is a list, expected a text or a number"):
        read_table(ragged).column("text")
    with pytest.raises(TaskError, match=r"'text' of the tf\.data\.Dataset is a SparseTensorSpec: make it dense"):
        read_table(tf.data.Dataset.from_tensors({"text": tf.sparse.from_dense([1, 0]), "label": [0, 1]}))
    with pytest.raises(TaskError, match="holds bytes that are not UTF-8"):
        read_table(tf.data.Dataset.from_tensors((b"\xff", b"a")))
    with pytest.raises(TaskError, match=r"the parts of batch 1 .* differ in length: \[1, 2\]"):
        read_table(tf.data.Dataset.from_tensors((["a", "b"], ["a"])))


def test_an_error_of_a_generator_stays_what_it_is():
    def fail():
        yield {"text": "a", "label": "b"}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        task_from_table(fail())


def test_a_generator_is_read_row_by_row():
    seen = []

    def walk():
        for number in range(5000):
            seen.append(number)
            yield {"text": f"text {number}", "label": number % 2}

    from bertvision_tf.tasks.row_streams import RowStream

    stream = RowStream(walk())
    assert (stream.header, seen) == (["text", "label"], [0])
    assert len(task_from_table(walk(), name="t").load("train")) == 4000


def test_texts_to_predict_come_from_tf_data():
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS)
    assert list_texts(dataset, "texts") == list_texts(dataset.batch(5), "texts") == TEXTS
    with pytest.raises(TaskError, match=r"`texts`: the tf\.data\.Dataset holds more than texts: map it to them"):
        list_texts(make_dataset(), "texts")
    with pytest.raises(TaskError, match=r"`texts`: the tf\.data\.Dataset holds int, expected texts"):
        list_texts(tf.data.Dataset.range(3), "texts")


def test_a_workbook_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(
        TaskError, match=r"or \.parquet; save the sheet as CSV in UTF-8, or pass what pandas\.read_excel"
    ):
        task_from_table(tmp_path / "t.xlsx")
