"""What is read equals what was written, by every writer, or it is refused with one line."""

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertvision_tf import task_from_table
from bertvision_tf.errors import TaskError
from bertvision_tf.tasks.tables import read_table


def check_line(error, *parts):
    assert "\n" not in str(error)
    assert all(part in str(error) for part in parts)


FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = "\"',;\t|\n\r\\ \u00a0\x0b\x0c\x1c\x85\u2028\ufeff\x00[]{}()-.0123456789naNé漢😀#"
LETTERS = st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"]))
CELLS = st.text(LETTERS, max_size=12)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8)
HEADER = ["text", "label"]


def write_python(rows, file, dialect="excel", **options):
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, dialect, **options).writerows([HEADER, *rows])


def write_pandas(rows, file):
    pytest.importorskip("pandas").DataFrame(rows, columns=HEADER).to_csv(file, index=False)


def write_polars(rows, file):
    polars = pytest.importorskip("polars")
    polars.DataFrame({name: [row[place] for row in rows] for place, name in enumerate(HEADER)}).write_csv(file)


def build_arrow(rows):
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.table({name: [row[place] for row in rows] for place, name in enumerate(HEADER)})


def write_pyarrow(rows, file):
    from pyarrow import csv as arrow_csv

    arrow_csv.write_csv(build_arrow(rows), file)


def write_parquet(rows, file):
    from pyarrow import parquet

    parquet.write_table(build_arrow(rows), file)


def write_json(rows, file):
    lines = [json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=False) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


WRITERS = {
    "python.csv": write_python,
    "unix.csv": lambda rows, file: write_python(rows, file, "unix"),
    "excel.tsv": lambda rows, file: write_python(rows, file, "excel-tab"),
    "semicolon.csv": lambda rows, file: write_python(rows, file, "excel", delimiter=";"),
    "pandas.csv": write_pandas,
    "polars.csv": write_polars,
    "pyarrow.csv": write_pyarrow,
    "arrow.parquet": write_parquet,
    "lines.jsonl": write_json,
}


@pytest.mark.parametrize("name", WRITERS)
@FEW
@given(rows=ROWS)
def test_tables_of_every_writer(name, rows, tmp_path):
    file = tmp_path / name
    WRITERS[name](rows, file)
    try:
        table = read_table(file)
    except TaskError as error:
        check_line(error, name)
    else:
        assert (table.header, table.rows) == (HEADER, [list(row) for row in rows])


@FEW
@given(data=st.binary(max_size=80), name=st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.parquet"]))
def test_any_bytes_are_read_or_refused(data, name, tmp_path):
    (tmp_path / name).write_bytes(data)
    try:
        table = read_table(tmp_path / name)
    except TaskError as error:
        check_line(error)
    else:
        assert all(len(row) == len(table.header) for row in table.rows)


VALUES = st.one_of(
    CELLS, st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=6), st.lists(CELLS, max_size=3),
    st.lists(st.integers(0, 1), max_size=3), st.dictionaries(CELLS, CELLS, max_size=2),
)  # fmt: skip


@FEW
@given(labels=st.lists(VALUES, min_size=12, max_size=12), kind=st.sampled_from([None, "classification", "regression"]))
def test_labels_are_read_as_they_stand_or_refused(labels, kind):
    table = {"text": [f"colour {row}" for row in range(12)], "label": labels}
    try:
        task = task_from_table(table, table, kind=kind)
    except TaskError as error:
        check_line(error)
        return
    found = task.load("train").labels
    assert len(found) == 12
    if task.kind == "regression":
        assert np.isfinite(found).all()
        assert found == pytest.approx([float(label) for label in labels], rel=1e-6)
    elif task.kind == "classification":
        shown = [str(int(one)) if isinstance(one, float) and one.is_integer() else one for one in labels]
        shown = [one.decode() if isinstance(one, bytes) else str(one) for one in shown]
        assert [task.label_names[place] for place in found] == [one.strip() for one in shown]


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=";"), min_size=1, max_size=6)


@FEW
@given(rows=st.lists(st.lists(NAMES, max_size=3), min_size=12, max_size=12))
def test_several_labels_are_those_written_or_refused(rows):
    table = {"text": [f"colour {row}" for row in range(12)], "label": rows}
    try:
        task = task_from_table(table, table, kind="multilabel")
    except TaskError as error:
        check_line(error)
        return
    for names, held in zip(rows, task.load("train").labels, strict=True):
        assert {task.label_names[place] for place in np.flatnonzero(held)} == {name.strip() for name in names} - {""}


def test_a_table_in_another_encoding_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes("text,label\ncafé,1\n".encode("latin-1"))
    with pytest.raises(TaskError, match=r"line 2: not UTF-8 .*save the file as UTF-8"):
        read_table(tmp_path / "t.csv")
    for encoding in ("utf-16", "utf-32"):
        stream = io.BytesIO("text,label\na,1\n".encode(encoding))
        (tmp_path / "t.csv").write_bytes(stream.getvalue())
        with pytest.raises(TaskError, match=rf"not UTF-8 \(it is {encoding.upper()}\)"):
            read_table(tmp_path / "t.csv")
