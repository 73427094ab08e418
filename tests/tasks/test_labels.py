import numpy as np
import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.kinds.cells import split_classes
from bertvision_tf.tasks import TaskSpec
from bertvision_tf.tasks.labels import encode_labels

COLOURS = ("red", "green", "blue")


def encode(cells, names=COLOURS, kind="classification"):
    task = TaskSpec(name="mine", kind=kind, label_names=names)
    return encode_labels(task, cells, "mine.csv", range(2, 2 + len(cells)))


@pytest.mark.parametrize(
    ("names", "cells", "indices"),
    [
        (COLOURS, ["blue", "red", "green", "red"], [2, 0, 1, 0]),
        (COLOURS, ["2", "red", "1"], [2, 0, 1]),
        (COLOURS, ["green", None], [1, -1]),
        (("10", "2"), ["10", "2", "2", "10"], [0, 1, 1, 0]),
        (("1", "0"), ["0", "1", "1"], [1, 0, 0]),  # a name goes before an index
        (("2", "10", "1"), ["1", "2", "10"], [2, 0, 1]),
        (("0", "1"), ["1", "0"], [1, 0]),
        (("-1", "1"), ["-1", "1", None], [0, 1, -1]),
        (("new york", "los angeles"), ["los angeles", "new york"], [1, 0]),
        (("yes;no", "no"), ["yes;no", "no"], [0, 1]),  # one class a row: ";" is a letter
        (COLOURS, [], []),
    ],
)
def test_classes_become_indices(names, cells, indices):
    labels = encode(cells, names)
    assert labels.dtype == np.int32 and labels.shape == (len(cells),)
    assert labels.tolist() == indices


def test_numbers_stay_numbers():
    labels = encode(["5.000", "0", "-1.5", "2e-1", ".25", None], names=(), kind="regression")
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, np.array([5, 0, -1.5, 0.2, 0.25, np.nan], np.float32))


def test_several_classes_become_a_row_of_zeros_and_ones():
    cells = ["red;blue", "blue ; red;blue", "green", "", " ; ", "0;2", None]
    labels = encode(cells, kind="multilabel")
    assert labels.dtype == np.int32
    assert labels.tolist() == [[1, 0, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 1], [-1, -1, -1]]
    numbers = encode(["10;2", "2", "7;10"], ("10", "2", "7"), "multilabel")
    assert numbers.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert encode([], kind="multilabel").shape == (0, 3)


@pytest.mark.parametrize(
    ("cell", "classes"),
    [("a;b", ["a", "b"]), (" a ; b c ", ["a", "b c"]), ("a", ["a"]), ("a;;b;", ["a", "b"]), ("", []), (" ", [])],
)
def test_classes_of_a_cell(cell, classes):
    assert split_classes(cell) == classes


@pytest.mark.parametrize(
    ("cells", "kind", "complaint"),
    [
        (["red", "pink"], "classification", "mine.csv, line 3: label 'pink' is not known; known: red, green, blue."),
        (["Red"], "classification", "mine.csv, line 2: label 'Red' is not known; known: red, green, blue."),
        (["3"], "classification", "mine.csv, line 2: label '3' is not known; known: red, green, blue."),
        (["-1"], "classification", "mine.csv, line 2: label '-1' is not known; known: red, green, blue."),
        (["1.0"], "classification", "mine.csv, line 2: label '1.0' is not known; known: red, green, blue."),
        ([""], "classification", "mine.csv, line 2: label '' is not known; known: red, green, blue."),
        (["red", "red;pink"], "multilabel", "mine.csv, line 3: label 'pink' is not known; known: red, green, blue."),
        (["red,blue"], "multilabel", "mine.csv, line 2: label 'red,blue' is not known; known: red, green, blue."),
        (["1", "much"], "regression", "mine.csv, line 3: expected a number as label, got 'much'."),
        (["1,5"], "regression", "mine.csv, line 2: expected a number as label, got '1,5'."),
        ([""], "regression", "mine.csv, line 2: expected a number as label, got ''."),
        (["nan"], "regression", "mine.csv, line 2: expected a number as label, got 'nan'."),
        (["-inf"], "regression", "mine.csv, line 2: expected a number as label, got '-inf'."),
        (["1e400"], "regression", "mine.csv, line 2: expected a number as label, got '1e400'."),
        (["1e39"], "regression", "mine.csv, line 2: expected a number as label, got '1e39'."),  # inf in float32
    ],
)
def test_a_label_that_is_none_is_named(cells, kind, complaint):
    with pytest.raises(TaskError) as raised:
        encode(cells, () if kind == "regression" else COLOURS, kind)
    assert str(raised.value) == complaint


def test_an_error_names_twenty_classes_at_most():
    with pytest.raises(TaskError) as raised:
        encode(["x"], tuple(f"c{index}" for index in range(21)))
    known = ", ".join(f"c{index}" for index in range(20))
    assert str(raised.value) == f"mine.csv, line 2: label 'x' is not known; known: {known} …."


def test_rows_are_counted_where_there_are_no_lines():
    with pytest.raises(TaskError, match=r"^rows, row 1: label 'x' is not known; known: red\.$"):
        encode_labels(TaskSpec(name="mine", label_names=("red",)), ["red", "x"], "rows", [])
