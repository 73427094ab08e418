"""Tables in memory, of every library that users bring."""

import io
import math

import numpy as np
import pytest
import tensorflow as tf

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
        (polars.DataFrame(COLUMNS).lazy(), "LazyFrame"),
        ([["a", "b"]], "got list"),
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
    assert complaint(rows, kind="classification") == "the table, line 2: the label is empty."
    kinds["label"] = datasets.List(kinds["label"])
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [[0, 1], [1]] * 6}, features=datasets.Features(kinds))
    task = task_from_table(rows, rows)
    assert (task.kind, task.label_names) == ("multilabel", ("neg", "pos"))
    assert task.load("dev").labels[:2].tolist() == [[1, 1], [0, 1]]


@frames
def test_lists_of_0_and_1_are_classes_by_their_places(make):
    lists = [[row % 2, row // 2 % 2, 1] for row in range(12)]
    for labels in (lists, [list(map(bool, row)) for row in lists], [list(map(float, row)) for row in lists]):
        task = task_from_table(make(COLUMNS | {"label": labels}), make(COLUMNS | {"label": labels}))
        assert (task.kind, task.label_names) == ("multilabel", ("0", "1", "2"))
        assert task.load("train").labels.tolist() == lists


def test_places_that_never_hold_are_classes_too():
    task = task_from_table(COLUMNS | {"label": [[0, row % 2, 0] for row in range(12)]})
    assert task.label_names == ("0", "1", "2")


@frames
def test_lists_of_numbers_of_classes(make):
    labels = [[0], [1], [0, 1]] * 4
    task = task_from_table(make(COLUMNS | {"label": labels}), make(COLUMNS | {"label": labels}))
    assert (task.kind, task.label_names) == ("multilabel", ("0", "1"))
    assert task.load("dev").labels[:3].tolist() == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 1, 1]] * 11 + [[0, 1]], "line 12: 'label' is a list of 0 and 1 in most rows and not here"),
        ([[0, 1, 1]] * 11 + [None], "line 12: 'label' is a list of 0 and 1 in most rows and not here"),
        ([[]] + [[0, 1, 1]] * 11, "line 1: 'label' is a list of 0 and 1 in most rows and not here"),
        ([[-1, 1, 1], [1, -1, 1]] * 6, "line 1: 'label' is a list of what is no name"),
        ([[True], [False, True]] * 6, "line 1: 'label' is a list of what is no name"),
        ([[0.2, 0.8], [0.5, 0.5]] * 6, "line 1: 'label' is a list of what is no name"),
        ([["a"], ["b;c"]] * 6, "line 2: 'label' is a list with a name that holds ';'"),
        ([["a"], ["b", None]] * 6, "line 2: 'label' is a list of what is no name"),
        ([["a"], [" "]] * 6, "line 2: 'label' is a list of what is no name"),
        ([object()] * 12, "line 1: 'label' is of a kind that is not read"),
        ([{"a"}] * 12, "line 1: 'label' is of a kind that is not read"),
    ],
)
def test_lists_that_are_no_classes_are_refused(labels, message):
    assert complaint(COLUMNS | {"label": labels}).startswith(f"the table, {message}")


def test_columns_that_are_called_by_numbers():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({0: TEXTS, 1: COLUMNS["label"]})
    assert task_from_table(frame, text="0", label="1").label_names == ("0", "1")
    several = pandas.MultiIndex.from_tuples([("x", "text"), ("x", "label")])
    assert "which column is the text?" in complaint(frame.set_axis(several, axis="columns"))


def test_cells_of_other_libraries_are_plain_values():
    pyarrow, polars, pandas = map(pytest.importorskip, ("pyarrow", "polars", "pandas"))
    names = [["red", "big"], ["red"]] * 6
    for cells in (
        [pyarrow.scalar(one) for one in names],
        [polars.Series(one) for one in names],
        [pandas.Series(one) for one in names],
        [np.array(one) for one in names],
        [tf.constant(one) for one in names],
    ):
        assert task_from_table(COLUMNS | {"label": cells}).label_names == ("big", "red")
    numbers = {"text": tf.constant(TEXTS), "label": tf.constant(COLUMNS["label"])}
    assert read_table(numbers).rows == read_table({name: COLUMNS[name] for name in ("text", "label")}).rows
    none = pyarrow.scalar(None, pyarrow.string())
    assert complaint(COLUMNS | {"text": [*TEXTS[:3], none, *TEXTS[4:]]}) == "the table, line 4: 'text' is empty."
    dates = [np.datetime64("2020-01-01T00:00:00", "ns"), np.datetime64("2021-01-01T00:00:00", "ns")] * 6
    assert task_from_table(COLUMNS | {"label": dates}).label_names[0].startswith("2020-01-01")
    assert read_table({"text": [memoryview(b"a"), bytearray(b"b"), np.str_("c"), np.bytes_(b"d")]}).column("text") == [
        *"abcd"
    ]


class Unreadable:
    def numpy(self):
        raise RuntimeError("on another device")


def test_a_cell_that_cannot_be_converted():
    assert "line 1: 'label' is of a kind that is not read" in complaint(COLUMNS | {"label": [Unreadable()] * 12})
    assert task_from_table(COLUMNS | {"more": [Unreadable()] * 12}).label_names == ("0", "1")


def test_columns_of_one_name_are_refused():
    assert complaint({1: TEXTS, "1": TEXTS}) == "two columns of the table have one name; it has 1, '1'."
    assert complaint({}) == "the table has no columns."
    assert "the columns 'Label' and 'label' are both called 'label': name one, or rename it" in complaint(
        {"text": TEXTS, "Label": COLUMNS["label"], "label": COLUMNS["label"]}
    )
    assert task_from_table(
        {"text": TEXTS, "Label": COLUMNS["label"], "label": COLUMNS["label"]}, label="label"
    ).label_names == ("0", "1")


def test_dev_is_read_as_train_is():
    """Lists of 0 and 1 are classes by number in dev where they are in train."""
    numbers = [[0, 2], [1], [0, 1], [2]] * 3
    dev = {"text": TEXTS[:3], "label": [[0, 1], [1, 0], [0, 1]]}
    task = task_from_table(COLUMNS | {"label": numbers}, dev)
    assert task.load("dev").labels.tolist() == [[1, 1, 0]] * 3
    switches = COLUMNS | {"label": [[row % 2, 1, 0] for row in range(12)]}
    for labels, form in (([[2], [1, 0], [0]], "a name or a list of names"), ([[0, 1]] * 3, "a list of 2 times 0 or 1")):
        with pytest.raises(TaskError, match=f"line 1: 'label' is {form}, and in train a list of 3 times 0 or 1"):
            task_from_table(switches, dev | {"label": labels})
    with pytest.raises(TaskError, match="is a list of 2 times 0 or 1, and in train a name or a list of names"):
        task_from_table(COLUMNS | {"label": numbers}, dev | {"label": [[0, 0], [1, 0], [0, 1]]})


def test_whole_numbers_as_fractions_and_names_with_separators():
    assert task_from_table(COLUMNS | {"label": [[1.0, 2.0], [0.0]] * 6}).label_names == ("0", "1", "2")
    assert "'label' is a list with a name that holds ';'" in complaint(COLUMNS | {"label": [["a;b"], ["c"]] * 6})


def test_series_of_different_indexes_are_not_paired_by_their_order():
    pandas = pytest.importorskip("pandas")
    texts, labels = (pandas.Series(COLUMNS[name]) for name in ("text", "label"))
    mixed = {"text": texts, "label": labels.sort_values(), "id": COLUMNS["id"]}
    assert "'text' and 'label' are Series of different indexes" in complaint(mixed)
    assert read_table(mixed | {"label": labels}).rows == read_table(COLUMNS).rows

    assert "differ in length" in complaint({"text": texts, "label": labels[:3]})


def test_a_class_beyond_its_names_names_its_column():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"]),
                                  "id": datasets.Value("string")})  # fmt: skip
    table = make_pyarrow(COLUMNS | {"label": [0, 5] * 6})
    source = datasets.Dataset(table, info=datasets.DatasetInfo(features=features))
    assert complaint(source).startswith("the table, a Table, column 'label', cannot be read: ")


def test_a_transform_is_not_left_out():
    source = make_dataset(COLUMNS)
    for changed in (source.with_transform(lambda rows: rows), source.with_transform(lambda rows: rows, ["text"])):
        assert "has a transform, which would be left out" in complaint(changed)
    assert read_table(source.with_format("numpy")).rows == read_table(COLUMNS).rows


def test_an_open_file_is_no_table():
    assert complaint(io.StringIO("text,label\na,1\n")).endswith("got an open file: name its path.")


def test_the_column_that_cannot_be_read_is_named(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    times = pyarrow.array([2**62] * 12, pyarrow.timestamp("ms"))
    table = make_pyarrow(COLUMNS).append_column("when", times)
    assert complaint(table).startswith("the table, a Table, column 'when', cannot be read: ")
    file = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(table, file)
    assert "t.parquet, column 'when', cannot be read" in complaint(file)
    twice = make_pyarrow(COLUMNS).append_column("text", pyarrow.array(TEXTS))
    pyarrow.parquet.write_table(twice, file)
    assert "t.parquet cannot be read: Multiple matches" in complaint(file)
