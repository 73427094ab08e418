import json

import numpy as np
import pytest

from bertvision_tf.errors import RunError, TaskError
from bertvision_tf.tasks import task_from_table
from bertvision_tf.training.draw import split_task

ROWS = 20
TEXTS = [f"text {row}" for row in range(ROWS)]
LABELS = ["good" if row % 4 else "bad" for row in range(ROWS)]
CODES = [LABELS[row] == "good" for row in range(ROWS)]  # "bad" goes before "good"


def columns(**changes):
    return {"text": TEXTS, "label": LABELS} | changes


def write_csv(file, rows, delimiter=","):
    file.write_text("".join(delimiter.join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return file


def write_json_lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def complaint(*args, **options):
    with pytest.raises(TaskError) as raised:
        task_from_table(*args, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


class Frame:
    """What of a pandas DataFrame is read: its names, and a column by its name."""

    def __init__(self, **columns):
        self.columns = columns

    def __iter__(self):
        return iter(self.columns)

    def __getitem__(self, name):
        return np.array(self.columns[name])


# Where rows come from


def make_source(form, folder):
    if form == "mapping":
        return columns()
    if form == "frame":
        return Frame(**columns())
    if form == "jsonl":
        return write_json_lines(
            folder / "reviews.jsonl", [{"text": t, "label": k} for t, k in zip(TEXTS, LABELS, strict=True)]
        )
    if form == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns()), folder / "reviews.parquet")
        return folder / "reviews.parquet"
    rows = [("text", "label"), *zip(TEXTS, LABELS, strict=True)]
    return write_csv(folder / f"reviews.{form}", rows, "," if form == "csv" else "\t")


@pytest.mark.parametrize("form", ["mapping", "frame", "csv", "tsv", "jsonl", "parquet"])
def test_every_form_of_a_table_gives_the_same_rows(form, tmp_path):
    source = make_source(form, tmp_path)
    task = task_from_table(source, source)
    assert task.name == ("table" if form in ("mapping", "frame") else "reviews")
    assert (task.kind, task.label_names, task.num_outputs) == ("classification", ("bad", "good"), 2)
    assert (task.text, task.text_pair, task.label) == ("text", None, "label")
    assert (task.main_metric, task.metrics) == ("accuracy", ("accuracy", "f1_macro", "matthews"))
    assert task.splits == ("train", "dev")
    for split in ("train", "dev"):
        rows = task.load(split)
        assert (rows.task, rows.split, rows.text_pairs) == (task.name, split, None)
        assert rows.ids == [f"{split}-{row}" for row in range(ROWS)]
        assert rows.texts == TEXTS
        assert rows.labels.dtype == np.int32 and rows.labels.tolist() == CODES


def test_json_lines_hold_numbers_lists_and_gaps(tmp_path):
    scores = [{"text": row, "score": row if row % 2 else row / 4} for row in range(ROWS)]
    file = write_json_lines(tmp_path / "scores.jsonl", scores)
    task = task_from_table(file, file)
    assert task.kind == "regression" and task.load("dev").texts == [str(row) for row in range(ROWS)]
    assert task.load("dev").labels.tolist() == [row["score"] for row in scores]

    labels = [["red", "big"], [], None, ["big"]] * 5
    rows = [{"text": text, "labels": found} for text, found in zip(TEXTS, labels, strict=True)]
    del rows[2]["labels"]
    file = write_json_lines(tmp_path / "colours.jsonl", rows)
    task = task_from_table(file, file, kind="multilabel")
    assert task.label_names == ("big", "red")
    assert task.load("dev").labels.tolist() == [[1, 1], [0, 0], [0, 0], [1, 0]] * 5

    del rows[6]["text"]
    assert complaint(write_json_lines(file, rows), kind="multilabel") == f"{file}, line 7: 'text' is empty."


def test_a_task_is_named_after_its_file_or_as_asked(tmp_path):
    file = write_csv(tmp_path / "my reviews (2).csv", [("text", "label"), *zip(TEXTS, LABELS, strict=True)])
    assert task_from_table(file).name == "my_reviews__2_"
    assert task_from_table(str(file)).load("train").task == "my_reviews__2_"
    task = task_from_table(file, name="mine", max_length=40)
    assert (task.name, task.title, task.max_length, task.load("dev").task) == ("mine", "mine", 40, "mine")


# Columns


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        (("text", "label"), "text", "label"),
        (("Review", "Class"), "Review", "Class"),
        ((" Text ", "LABEL"), " Text ", "LABEL"),
        (("CONTENT", "Target "), "CONTENT", "Target "),
        (("question", "category"), "question", "category"),
    ],
)
def test_columns_are_found_by_their_names(header, text, label, tmp_path):
    rows = [(*header, "note"), *((*row, "") for row in zip(TEXTS, LABELS, strict=True))]
    task = task_from_table(write_csv(tmp_path / "t.csv", rows), columns_like(header))
    assert (task.text, task.label) == (text, label)
    assert task.load("train").texts == task.load("dev").texts == TEXTS


def columns_like(header):
    return dict(zip(header, (TEXTS, LABELS), strict=True))


def test_columns_are_named_by_the_user():
    table = {"a, b": TEXTS, "text": ["no"] * ROWS, 'the "label"': LABELS, "label": ["no"] * ROWS, "": TEXTS, 3: TEXTS}
    task = task_from_table(table, table, text="a, b", label='the "label"')
    assert task.load("train").texts == TEXTS and task.load("train").labels.tolist() == CODES
    task = task_from_table(table, table, text="", text_pair="3", label='the "label"')
    assert task.load("train").texts == task.load("train").text_pairs == TEXTS


def test_a_file_with_awkward_cells(tmp_path):
    (tmp_path / "t.csv").write_bytes(
        b'\xef\xbb\xbf"text",label\r\n"two\r\nlines, one text"," b "\r\n\r\n"a ""quote""",a\r\n "z\xc3\xbcrich ,b\r\n'
    )
    task = task_from_table(tmp_path / "t.csv", tmp_path / "t.csv")
    rows = task.load("dev")
    assert rows.texts == ["two\r\nlines, one text", 'a "quote"', ' "zürich ']
    assert task.label_names == ("a", "b") and rows.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sentence1", "sentence2"),
        ("premise", "hypothesis"),
        ("question1", "question2"),
        ("text", "text_pair"),
        ("Sentence1", "Sentence2"),
        (" premise", " HYPOTHESIS"),
    ],
)
def test_the_second_text_is_found_beside_the_first(first, second):
    others = [f"other {row}" for row in range(ROWS)]
    table = {second: others, first: TEXTS, "label": LABELS}
    task = task_from_table(table, table)
    assert (task.text, task.text_pair) == (first, second)
    assert task.load("dev").texts == TEXTS and task.load("dev").text_pairs == others
    single = task_from_table(table, table, text=first)
    assert (single.text_pair, single.load("dev").text_pairs) == (None, None)
    turned = task_from_table(table, table, text=second, text_pair=first)
    assert turned.load("dev").texts == others and turned.load("dev").text_pairs == TEXTS


# Kinds


@pytest.mark.parametrize(
    ("labels", "kind", "classes"),
    [
        ([0, 1] * 10, "classification", ("0", "1")),
        ([10, 9, 2, 10] * 5, "classification", ("2", "9", "10")),
        ([1.0, 2.0] * 10, "classification", ("1", "2")),
        ([0, 1.5] * 10, "regression", ()),
        (["0", "-0.25", "1e-1", "7"] * 5, "regression", ()),
        (["1.5", "b"] * 10, "classification", ("1.5", "b")),
        (["b", "2", "B", "10", "a"] * 4, "classification", ("2", "10", "B", "a", "b")),
        ([True, False] * 10, "classification", ("False", "True")),
        (["-1", "1", "0", "-10"] * 5, "classification", ("-10", "-1", "0", "1")),
        (["a;b", "a"] * 10, "multilabel", ("a", "b")),
    ],
)
def test_the_kind_is_guessed_and_classes_are_put_in_order(labels, kind, classes):
    table = columns(label=labels)
    task = task_from_table(table, table)
    assert (task.kind, task.label_names) == (kind, classes)
    found = task.load("train").labels
    if kind == "regression":
        assert found.dtype == np.float32 and task.num_outputs == 1
        np.testing.assert_array_equal(found, np.array(labels, np.float32))
        assert (task.main_metric, task.metrics) == ("pearson_and_spearman", ("pearson", "spearman"))
    else:
        shown = [str(int(label)) if isinstance(label, float) else str(label) for label in labels]
        assert [task.kind.show(label, task.label_names) for label in found] == shown


def test_whole_numbers_are_a_regression_when_asked():
    task = task_from_table(columns(label=range(ROWS)), columns(label=range(ROWS)), kind="regression")
    assert (task.kind, task.load("dev").labels.tolist()) == ("regression", list(range(ROWS)))


@pytest.mark.parametrize("score", [3.8, 20231.25, 16777215])
def test_a_score_is_shown_as_it_was_read(score):
    task = task_from_table(columns(label=[score] * ROWS), kind="regression")
    label = task.load("train").labels[0]
    assert np.float32(task.kind.show(label, task.label_names)) == label


def test_several_label_columns_are_classes_of_which_several_hold():
    table = columns(warm=[1, 0] * 10, red=["true", "1", "False", " 0 "] * 5, big=[0.0, 0.0, 1.0, 1.0] * 5)
    task = task_from_table(table, table, label=["warm", "red", "big"])
    assert (task.kind, task.label_names, task.label) == ("multilabel", ("warm", "red", "big"), "warm;red;big")
    assert (task.main_metric, task.metrics) == ("f1_micro", ("f1_micro", "f1_macro", "accuracy"))
    labels = task.load("dev").labels
    assert labels.dtype == np.int32
    assert labels.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]] * 5


@pytest.mark.parametrize("name", [" red", "red "])
def test_a_label_column_may_have_spaces_around_its_name(name):
    table = columns(**{name: [1, 0] * 10, "big": [1, 1] * 10})
    task = task_from_table(table, table, label=[name, "big"])
    assert task.num_outputs == 2
    assert task.load("dev").labels.tolist() == [[1, 1], [0, 1]] * 10


def test_several_classes_in_a_cell():
    table = columns(label=["red; big", "", "10;2", "big"] * 5)
    task = task_from_table(table, table, kind="multilabel")
    assert task.label_names == ("2", "10", "big", "red")
    assert task.load("dev").labels[:4].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0]]


# Dev rows


def test_a_fifth_of_train_is_dev_with_its_share_of_each_class():
    labels = ["a"] * 50 + ["b"] * 30 + ["c"] * 20
    table = {"text": [f"t{row}" for row in range(100)], "label": labels}
    task = task_from_table(table)
    train, dev = task.load("train"), task.load("dev")
    assert (len(train), len(dev), train.split, dev.split) == (80, 20, "train", "dev")
    assert np.bincount(dev.labels).tolist() == [10, 6, 4]
    assert sorted([*train.texts, *dev.texts]) == sorted(table["text"])
    for rows in (train, dev):
        places = [int(text[1:]) for text in rows.texts]
        assert places == sorted(places)
        assert rows.ids == [f"train-{place}" for place in places]
        assert [task.label_names[label] for label in rows.labels] == [labels[place] for place in places]


def test_always_the_same_rows_are_dev():
    table = {"text": [f"t{row}" for row in range(40)], "label": ["a", "b"] * 20}
    assert task_from_table(table).load("dev").ids == task_from_table(table, name="other").load("dev").ids
    assert [int(text[1:]) for text in task_from_table(table).load("dev").texts] == [6, 11, 17, 20, 21, 22, 25, 28]


@pytest.mark.parametrize(
    "options",
    [
        {"label": [row / 3 for row in range(ROWS)]},
        {"label": ["a;b", "", "b", "a"] * 5, "kind": "multilabel"},
        {"label": ["a"] * 19 + ["b"]},  # a class of one row has no share to give
        {"label": [f"c{row % 10}" for row in range(ROWS)]},  # more classes than dev rows
    ],
)
def test_a_fifth_where_classes_have_no_share(options):
    task = task_from_table(columns(label=options.pop("label")), **options)
    assert (len(task.load("train")), len(task.load("dev"))) == (16, 4)


def test_ids_are_those_of_the_table_where_they_are_unique():
    ids = [f"r{row}" for row in range(ROWS)]
    table, twice = columns(id=ids), columns(id=[*ids[:-1], ids[0]])
    task = task_from_table(table, twice)
    assert task.load("train").ids == ids
    assert task.load("dev").ids == [f"dev-{row}" for row in range(ROWS)]
    task = task_from_table(table)
    assert sorted([*task.load("train").ids, *task.load("dev").ids]) == sorted(ids)


# What goes wrong


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("text,label\n", {}, "{file} has no rows."),
        ("", {}, "{file} is empty: expected a header and rows."),
        (
            "body,label\nx,a\n",
            {},
            "{file}: which column is the text? Name it with --text-column; there are 'body', 'label'.",
        ),
        (
            "text,mark\nx,a\n",
            {},
            "{file}: which column is the label? Name it with --label-column; there are 'text', 'mark'.",
        ),
        ("text,label\nx,a\ny,b\n", {"label": "mark"}, "{file} has no column 'mark'; it has 'text', 'label'."),
        ("text,label\nx,a\ny,b\n", {"text": "body"}, "{file} has no column 'body'; it has 'text', 'label'."),
        (
            "text,label\nx,a\ny,b\n",
            {"text": "text", "text_pair": "body"},
            "{file} has no column 'body'; it has 'text', 'label'.",
        ),
        (
            "text,text,label\nx,x,a\ny,y,b\n",
            {},
            "{file} has more than one column 'text'; it has 'text', 'text', 'label'.",
        ),
        ("text,label\nx,a\n  ,b\n", {}, "{file}, line 3: 'text' is empty."),
        ("sentence1,sentence2,label\nx,x,a\n\ny,,b\n", {}, "{file}, line 4: 'sentence2' is empty."),
        ("text,label\nx,a\ny,b\nz, \n", {}, "{file}, line 4: the label is empty."),
        (
            "text,label\nx,1.5\ny,much\n",
            {"kind": "regression"},
            "{file}, line 3: expected a number as label, got 'much'.",
        ),
        ("text,label\nx,1.5\ny,\n", {"kind": "regression"}, "{file}, line 3: the label is empty."),
        (
            "text,label\nx,a\ny,a\n",
            {},
            "{file}: column 'label' has one class only ('a'); there is nothing to tell apart.",
        ),
        ("text,label\nx,\ny,\n", {}, "{file}: column 'label' has no label; there is nothing to tell apart."),
        (
            "text,red,big\nx,1,0\ny,2,1\n",
            {"label": ["red", "big"]},
            "{file}, line 3: 'red' needs 0 or 1, got '2'.",
        ),
        (
            "text,label\nx,a\ny,b\n",
            {"kind": "ranking"},
            "task kind 'ranking' is not known; known: classification, regression, multilabel.",
        ),
        (
            "text,label\n" + "".join(f"x,{row}\n" for row in range(30)),
            {},
            "{file}: column 'label' has 30 different labels in 30 rows: name the --kind (classification where they "
            "are classes, regression where they are numbers), or another column.",
        ),
        ("text,label\nx,a\ny,b\nz\n", {}, "{file}, line 4: 1 cells, the header has 2 (text, label)."),
        (
            "text,label\n" + "x,a\ny,b\n" * 2 + "z,a\n",
            {},
            "5 rows are too few to set dev rows aside: name a dev file.",
        ),
    ],
)
def test_a_complaint_names_the_file_and_the_line(rows, options, message, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text(rows, encoding="utf-8")
    assert complaint(file, **options) == message.format(file=file)


def test_a_multilabel_task_needs_a_class():
    message = complaint(columns(label=["", " ; "] * 10), kind="multilabel")
    assert message.startswith("the table: column 'label' has no label")


def test_labels_of_dev_that_train_lacks(tmp_path):
    dev = write_csv(tmp_path / "dev.csv", [("text", "label"), ("x", "good"), ("y", "fair")])
    assert complaint(columns(), dev) == f"{dev}, line 3: label 'fair' is not known; known: bad, good."
    dev = write_csv(tmp_path / "dev.csv", [("text", "label"), ("x", "2"), ("y", "1")])
    assert complaint(columns(label=[2, 5] * 10), dev) == f"{dev}, line 3: label '1' is not known; known: 2, 5."
    dev = write_csv(tmp_path / "dev.csv", [("text", "label"), ("x", "1")])  # nor is a number the index of a name
    assert complaint(columns(), dev) == f"{dev}, line 2: label '1' is not known; known: bad, good."
    dev = write_csv(tmp_path / "dev.csv", [("text", "label"), ("x", "a"), ("y", "a;c")])
    assert complaint(columns(label=["a;b", "b"] * 10), dev, kind="multilabel") == (
        f"{dev}, line 3: label 'c' is not known; known: a, b."
    )


def test_dev_is_checked_like_train(tmp_path):
    dev = write_csv(tmp_path / "dev.csv", [("review", "label"), ("x", "good")])
    assert complaint(columns(), dev) == f"{dev} has no column 'text'; it has 'review', 'label'."
    dev = write_csv(tmp_path / "dev.csv", [("text", "label"), ("x", "")])
    assert complaint(columns(), dev) == f"{dev}, line 2: the label is empty."
    dev = write_csv(tmp_path / "dev.csv", [("text", "label")])
    assert complaint(columns(), dev) == f"{dev} has no rows."
    assert task_from_table(columns(), columns(label=["good"] * ROWS)).load("dev").labels.tolist() == [1] * ROWS


def test_bytes_that_are_not_utf8(tmp_path):
    (tmp_path / "t.csv").write_bytes("text,label\nx,a\nZürich,b\n".encode("latin-1"))
    assert complaint(tmp_path / "t.csv").startswith(f"{tmp_path / 't.csv'}, line 3: not UTF-8 (")
    (tmp_path / "t.jsonl").write_bytes('{"text": "Zürich"}\n'.encode("latin-1"))
    assert complaint(tmp_path / "t.jsonl").startswith(f"{tmp_path / 't.jsonl'}, line 1: not UTF-8 (")


def test_columns_of_different_length():
    assert complaint(columns(label=LABELS[1:])) == (
        "the columns of the table differ in length: {'text': 20, 'label': 19}."
    )


def test_a_row_of_a_mapping_is_counted_from_one():
    assert complaint(columns(text=["x", "", *TEXTS[2:]])) == "the table, line 2: 'text' is empty."
    assert complaint(columns(label=[0.5, None] * 10), kind="regression") == "the table, line 2: the label is empty."


def test_the_kind_that_was_named_is_taken_at_its_word():
    rows = columns(label=[f"class {row}" for row in range(ROWS)])
    task = task_from_table(rows, rows, kind="classification")
    assert (task.kind, len(task.label_names)) == ("classification", ROWS)
    assert sorted(task.load("train").labels) == list(range(ROWS))


@pytest.mark.parametrize("cells", [("[0 1 1]", "[1 0 1]"), ("['red', 'blue']", "['red']"), ("{'a'}", "(1, 0)")])
def test_lists_as_a_program_prints_them_are_no_classes(cells):
    message = complaint(columns(label=cells * (ROWS // 2)))
    assert message.startswith(f"the table, line 1: the label {cells[0]!r} is a list as a program prints it")


@pytest.mark.parametrize(
    "cell",
    [
        "tensor([0, 1])",
        "array([[0, 1],\n [1, 0]])",
        "frozenset({'a'})",
        "OrderedDict([('a', 1)])",
        "'red', 'blue'",
        "np.int64(1)",
        "np.str_('pos')",
        "tensor(1)",
        "tf.Tensor(1, shape=(), dtype=int32)",
        "Row(label='pos')",
        "b'pos'",
        '"pos"',
        "<Label.POS: 1>",
        "<__main__.Label object at 0x7f30a>",
    ],
)
@pytest.mark.parametrize("kind", [None, "multilabel"])
def test_values_as_a_program_prints_them_are_no_classes(cell, kind):
    message = complaint(columns(label=[cell, "neg"] * (ROWS // 2)), kind=kind)
    assert message.startswith(f"the table, line 1: the label {cell!r} is a value as a program prints it")
    named = task_from_table(columns(label=[cell, "neg"] * (ROWS // 2)), kind="classification")
    assert cell in named.label_names


@pytest.mark.parametrize("cells", [("0|1|1", "1|0|0"), ("0-1-1", "1-1-0"), ("0/1/1/0", "")])
def test_switches_between_other_signs_are_no_classes(cells):
    message = complaint(columns(label=cells * (ROWS // 2)))
    assert message.startswith(f"the table, line 1: the label {cells[0]!r} is a list as a program prints it")


def test_signs_in_names_of_classes():
    names = ["state-of-the-art", "c++", "b", "1-3", "<5", "O'Brien", "noun(s)", "Art.5(1)", "rock 'n' roll", "''"]
    names += ["<unk>", "1-0", "0-1", "n't", "print(1)", "group(2)", "0.1.1", "<b>", "a, 'b'", "'90s"]
    task = task_from_table(columns(label=names))
    assert set(task.label_names) == set(names)


@pytest.mark.parametrize("cell", ["nan", "NaN", "NA", "n/a", "inf", "-inf", "null", "None"])
@pytest.mark.parametrize("kind", [None, "regression"])
def test_a_missing_number_is_no_class(cell, kind):
    labels = [f"{row / 2}" for row in range(ROWS - 1)] + [cell]
    message = complaint(columns(label=labels), kind=kind)
    assert message.startswith(f"the table, line {ROWS}: the label {cell!r} is no number")


@pytest.mark.parametrize("cells", [("0;0;1", "1;0;1"), ("0;1", "1;1"), ("2;2;0", "1;0")])
def test_texts_of_0_and_1_are_no_classes(cells):
    message = complaint(columns(label=cells * (ROWS // 2)))
    assert message.startswith(f"the table, line 1: the label '{cells[0]}' is a list of 0 and 1, or of numbers")


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (("1.0;0.0", "0.0;1.0"), "0 and 1, or of numbers"),
        (("0.9;0.1", "0.2;0.8"), "0 and 1, or of numbers"),
        (("1;0", ""), "0 and 1, or of numbers"),
        (("true;false", "False;True"), "words such as true and false"),
        (("yes;no;no", "no;yes;no"), "words such as true and false"),
        ((["True", "False"], ["False", "True"]), "words such as true and false"),
        ((["0.0", "1.0"], ["1.0", "1.0"]), "0 and 1, or of numbers"),
    ],
)
def test_switches_in_any_words_are_no_classes(cells, what):
    cell = ";".join(cells[0]) if isinstance(cells[0], list) else cells[0]
    message = complaint(columns(label=cells * (ROWS // 2)))
    assert message.startswith(f"the table, line 1: the label {cell!r} is a list of {what}: write the names")


@pytest.mark.parametrize("cells", [("3.8;3.9", "3.9;3.10"), ("red;big", "big;old"), ("red;big", "")])
def test_lists_of_one_length_may_be_of_classes(cells):
    task = task_from_table(columns(label=cells * (ROWS // 2)))
    assert set(task.label_names) == {name for cell in cells for name in cell.split(";") if name}


def test_numbers_of_classes_with_separators():
    assert task_from_table(columns(label=["0;1", "1"] * (ROWS // 2))).label_names == ("0", "1")


@pytest.mark.parametrize(
    "cell",
    ["-nan", "1e999", "#N/A", "NaT", "missing", "\u22121.5", "$2.5", "50%", "1,234.5", "1,000,000", "x", "1.2.3"],
)
def test_one_odd_cell_makes_scores_no_classes(cell):
    labels = [str(row / 2) for row in range(ROWS)]
    labels[4] = cell
    assert complaint(columns(label=labels)).startswith(f"the table, line 5: the label {cell!r} ")
    assert complaint(columns(label=labels), kind="regression").startswith("the table, line 5: ")
    dev = columns(label=labels)
    assert "line 5: " in complaint(columns(label=[str(row / 2) for row in range(ROWS)]), dev)
    task = task_from_table(columns(label=labels), columns(label=labels), kind="classification")
    assert cell in task.label_names


def test_versions_and_words_are_classes():
    assert task_from_table(columns(label=["1.5", "beta", "rc", "2.0"] * 5)).label_names == ("1.5", "2.0", "beta", "rc")


def test_what_dev_spells_with_a_separator_is_refused():
    train = columns(label=[str(row / 2) for row in range(ROWS)])
    dev = columns(label=[*train["label"][:-1], "1_000"])
    assert "the label '1_000' has a decimal comma or a separator" in complaint(train, dev)


def test_several_columns_are_of_several_classes():
    table = {"text": TEXTS, "a": [0, 1] * (ROWS // 2), "b": [1, 1] * (ROWS // 2)}
    assert complaint(table, label=["a", "b"], kind="classification") == (
        "the table: 2 label columns are the classes of a multilabel task, not a classification."
    )


def test_commas_are_no_separators_of_classes():
    message = complaint(columns(label=["red,big", "red"] * (ROWS // 2)), kind="multilabel")
    assert message.startswith("the table, line 1: the label 'red,big' has ',', and no label has ';'")


@pytest.mark.parametrize(
    ("cells", "sign"),
    [(("red|big", "red"), "|"), (("red\tbig", "big"), "\t"), (("red", "big", "big / red", ""), "/")],
)
def test_other_signs_are_no_separators_of_classes_either(cells, sign):
    message = complaint(columns(label=cells * (ROWS // len(cells))), kind="multilabel")
    assert f"has {sign!r}, and no label has ';', which stands between classes" in message


def test_signs_in_the_names_of_several_classes():
    names = ["c", "c++", "", "science/tech", "tech", "new york", "new", "state-of-the-art", "R&B", "b"]
    task = task_from_table(columns(label=names * (ROWS // len(names))), kind="multilabel")
    assert set(task.label_names) == set(names) - {""}


def test_equal_texts_stay_on_one_side():
    texts = [f"ship {row} carried salt" for row in range(60)] * 4
    task = task_from_table({"text": texts, "label": LABELS[:2] * 120})
    train, dev = task.load("train"), task.load("dev")
    assert not set(train.texts) & set(dev.texts)
    assert len(train) + len(dev) == 240 and 40 <= len(dev) <= 56
    training, selection = split_task(task, train)
    assert not {train.texts[row] for row in training} & {train.texts[row] for row in selection}


def test_rows_of_one_class_are_refused():
    table = {"text": TEXTS, "label": sorted(LABELS)}
    task = task_from_table(table, table)
    with pytest.raises(RunError, match=r"the 4 rows of table train hold 1 of 2 classes"):
        split_task(task, task.load("train").take(4))


def test_a_few_equal_texts_move_few_rows():
    texts = [f"ship {row} carried salt" for row in range(200)]
    table = {"text": texts, "label": ["a", "b"] * 100}
    apart = task_from_table(table)
    joined = task_from_table(table | {"text": [*texts[:-1], texts[0]]})
    moved = set(joined.load("train").ids) ^ set(apart.load("train").ids)
    assert len(moved) <= 2
    assert [len(joined.load(split)) for split in joined.splits] == [160, 40]
    assert [joined.load("dev").labels.sum(), apart.load("dev").labels.sum()] == [20, 20]
    assert not set(joined.load("train").texts) & set(joined.load("dev").texts)


def test_a_text_is_no_label():
    assert complaint(columns(), text="label") == "the table: 'label' cannot be both a text and the label."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ["text"]}, "`text` needs a text, got ['text']."),
        ({"name": 5}, "`name` needs a text, got 5."),
        ({"label": 5}, "`label` needs the name of a column, or a list of names, got 5."),
        ({"label": [5]}, "`label` needs the name of a column, or a list of names, got [5]."),
        ({"max_length": "128"}, "`max_length` needs 3 tokens or more, got '128'."),
        ({"max_length": 0}, "`max_length` needs 3 tokens or more, got 0."),
        ({"max_length": True}, "`max_length` needs 3 tokens or more, got True."),
    ],
)
def test_options_of_another_type(options, message):
    assert complaint(columns(), **options) == message


def test_columns_of_fractions_0_and_1(tmp_path):
    """As pandas writes a column of floats."""
    rows = [("text", "a", "b"), *((text, "1.0", "0.0") for text in TEXTS)]
    file = write_csv(tmp_path / "t.csv", rows)
    assert task_from_table(file, file, label=["a", "b"]).load("dev").labels.tolist() == [[1, 0]] * ROWS


def test_a_text_is_no_pair_with_itself():
    assert complaint(columns(), text="text", text_pair="text") == "the table: 'text' cannot be both texts of a pair."


@pytest.mark.parametrize("share", [0.12, 0.3, 0.5])
def test_a_frequent_text_takes_no_rows_from_dev(share):
    count = 1000
    texts = ["ok" if row < share * count else f"ship {row}" for row in range(count)]
    task = task_from_table({"text": texts, "label": ["a", "b"] * (count // 2)})
    train, dev = task.load("train"), task.load("dev")
    assert not set(train.texts) & set(dev.texts) and len(dev) >= 0.9 * 200
    training, selection = split_task(task, train)
    assert not {train.texts[row] for row in training} & {train.texts[row] for row in selection}
    assert len(selection) >= 0.9 * 200 or share == 0.5  # where half of the rows have one text, others are few
