"""Tables in memory, of every library that users bring."""

import math

import numpy as np
import pytest

from bertvision_tf import task_from_table
from bertvision_tf.errors import TaskError
from bertvision_tf.tasks.tables import read_table

TEXTS = [f"colour {row}" for row in range(12)]
COLUMNS = {"text": TEXTS, "label": [row % 2 for row in range(12)], "id": [f"row {row}" for row in range(12)]}


def make_pandas(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def make_polars(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def make_pyarrow(columns):
    return pytest.importorskip("pyarrow").table(columns)


def make_dataset(columns):
    return pytest.importorskip("datasets").Dataset.from_dict(columns)


MAKERS = [dict, make_pandas, make_polars, make_pyarrow, make_dataset]
frames = pytest.mark.parametrize("make", MAKERS)


def complaint(source, **options):
    with pytest.raises(TaskError) as raised:
        task_from_table(source, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@frames
def test_every_frame_reads_as_the_mapping_of_its_columns(make):
    assert read_table(make(COLUMNS)) == read_table(COLUMNS)
    task, expected = task_from_table(make(COLUMNS)), task_from_table(COLUMNS)
    for split in ("train", "dev"):
        assert task.load(split).fingerprint == expected.load(split).fingerprint


@frames
def test_a_missing_cell_is_named_with_its_row(make):
    assert complaint(make(COLUMNS | {"text": [*TEXTS[:4], None, *TEXTS[5:]]})) == "the table, line 5: 'text' is empty."
    scores = [row / 2 for row in range(12)]
    scores[6] = math.nan
    assert complaint(make(COLUMNS | {"label": scores}), kind="regression") == ("the table, line 7: the label is empty.")


@frames
def test_lists_are_names_of_classes_and_no_texts(make):
    names = [["red", "big"], ["red"]] * 6
    task = task_from_table(make(COLUMNS | {"label": names}))
    assert (task.kind, task.label_names) == ("multilabel", ("big", "red"))
    assert complaint(make({"text": names, "label": COLUMNS["label"]})) == (
        "the table, line 1: 'text' is a list, expected a text or a number."
    )


@frames
def test_objects_are_refused(make):
    assert complaint(make(COLUMNS | {"label": [{"a": 1}] * 12})) == (
        "the table, line 1: 'label' is an object or a list of lists, expected names, or a list of them."
    )
    assert "an object or a list of lists" in complaint(make(COLUMNS | {"label": [[["a"], ["b"]]] * 12}))


@pytest.mark.parametrize("make", [dict, make_pandas, make_polars, make_pyarrow])
def test_bytes_are_utf_8_or_refused(make):
    texts = [text.encode() for text in TEXTS]
    assert read_table(make(COLUMNS | {"text": texts})).column("text") == TEXTS
    texts[3] = b"caf\xe9"
    assert complaint(make(COLUMNS | {"text": texts})) == (
        "the table, line 4: 'text' is bytes that are not UTF-8, expected a text or a number."
    )


def test_a_dataset_keeps_the_order_it_was_given():
    dataset = make_dataset(COLUMNS).shuffle(seed=3).select(range(10))
    assert read_table(dataset).column("text") == list(dataset["text"]) != TEXTS[:10]


def test_categories_and_strings_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"text": pandas.Series(TEXTS, dtype="string"), "label": pandas.Categorical(["a", "b"] * 6)}
    )
    assert task_from_table(frame.iloc[::-1]).label_names == ("a", "b")
    assert read_table(frame.iloc[::-1]).column("text") == TEXTS[::-1]


def test_what_is_no_table_is_refused():
    datasets, polars, pandas = map(pytest.importorskip, ("datasets", "polars", "pandas"))
    several = datasets.DatasetDict({"train": make_dataset(COLUMNS)})
    assert "a mapping of several Datasets: name one, as in datasets['train']" in complaint(several)
    for source, named in (
        (make_dataset(COLUMNS).to_iterable_dataset(), "got IterableDataset"),
        (polars.DataFrame(COLUMNS).lazy(), "LazyFrame"),
        ([{"text": "a", "label": "b"}], "a list of rows: turn it into a mapping of columns"),
        (np.zeros((3, 2)), "ndarray"),
        (7, "got int"),
        (pandas.Series(TEXTS, name="text"), "got Series"),
        ({"text": set(TEXTS), "label": ["a"]}, "column 'text' of the table needs a list of cells, got set"),
        ({"text": np.array("x"), "label": ["a"]}, "column 'text' of the table needs a list of cells, got ndarray"),
        ({"text": "one text", "label": ["a"]}, "column 'text' of the table needs a list of cells, got str"),
        (pandas.DataFrame([["a", "b"]], columns=["text", "text"]), "DataFrame, cannot be read"),
    ):
        assert named in complaint(source)


def test_classes_of_a_dataset_have_their_names():
    datasets = pytest.importorskip("datasets")
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 6}, features=datasets.Features(kinds))
    assert task_from_table(rows).label_names == ("neg", "pos")
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, -1] * 6}, features=datasets.Features(kinds))
    assert complaint(rows, kind="classification").startswith("the table: column 'label' has one class only ('neg')")
