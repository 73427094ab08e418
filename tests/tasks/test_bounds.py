"""Tables that ask for more memory than their bytes are refused; long and wide ones that do not are read."""

import json

import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.tasks import delimited, files, tables
from bertvision_tf.tasks.table import MOST_COLUMNS
from bertvision_tf.tasks.tables import read_table


@pytest.fixture
def short(monkeypatch):
    """At most 1,000 bytes a row."""
    for module in (delimited, files, tables):
        monkeypatch.setattr(module, "LONGEST", 1000)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "text,label\na,1\n" + "a" * 1001 + ",1\n", "line 3: it is longer than 1000 bytes"),
        ("t.csv", "text,label\ra,1\r" + "a" * 1100, "line 3: it is longer than 1000 bytes"),
        ("t.csv", "text,label\n" + '"a\n",' * 300 + "b\n", "the row is longer than 1000 letters"),
        (
            "t.csv",
            'text,label\n"' + "a,1\n" * 300,
            r"t.csv, line 25\d: .*1000.*; is a quote left open\?",
        ),
        ("t.tsv", "text\tlabel\n" + "\t" * 1001, "line 2: it is longer than 1000 bytes"),
        ("t.jsonl", json.dumps({"text": "a" * 1001}), "line 1: it is longer than 1000 bytes"),
    ],
)
def test_long_rows_are_refused(name, text, said, tmp_path, short):
    (tmp_path / name).write_bytes(text.encode())
    with pytest.raises(TaskError, match=said):
        read_table(tmp_path / name)


def test_rows_of_any_length_below_are_read(tmp_path, short):
    (tmp_path / "t.csv").write_bytes(b"text,label\r" + b"".join(b"%d,1\r" % number for number in range(1000)))
    assert [row[0] for row in read_table(tmp_path / "t.csv").rows] == [str(number) for number in range(1000)]


def test_many_columns_are_refused(tmp_path):
    names = [f"c{number}" for number in range(MOST_COLUMNS + 1)]
    (tmp_path / "t.csv").write_text(f"{','.join(names)}\n{','.join(names)}\n")
    with pytest.raises(TaskError, match=r"t\.csv has more than 4096 columns"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(f"{','.join(names[1:])}\n{','.join(names[1:])}\n")
    assert len(read_table(tmp_path / "t.csv").header) == MOST_COLUMNS


@pytest.mark.parametrize("kind", ["texts", "lists", "nothing", "dictionary", "struct"])
def test_large_cells_of_parquet_are_refused(kind, tmp_path, short):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = {
        "texts": pyarrow.array(["a", "b" * 1100, "c"]),
        "lists": pyarrow.array([[1], list(range(300)), [2]]),
        "nothing": pyarrow.array([[], [None] * 400, []], pyarrow.list_(pyarrow.null())),
        "dictionary": pyarrow.array(["a", "b" * 1100, "c"]).dictionary_encode(),
        "struct": pyarrow.array([{"x": "a"}, {"x": "b" * 1100}, {"x": "c"}]),
    }[kind]
    parquet.write_table(pyarrow.table({"label": ["0", "1", "0"], "text": cells}), tmp_path / "t.parquet")
    with pytest.raises(TaskError, match=r"row 2: 'text' takes \d+ bytes, at most 1000 are read"):
        read_table(tmp_path / "t.parquet")


def test_a_large_dictionary_of_short_texts_is_read(tmp_path, short):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    texts = [f"text {number}" for number in range(2000)]
    table = pyarrow.table({"text": pyarrow.array(texts).dictionary_encode(), "label": ["0", "1"] * 1000})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").column("text")) == texts


def test_a_folder_of_parquet_is_read_in_pieces(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for year in (2001, 2002):
        (tmp_path / "t.parquet" / f"year={year}").mkdir(parents=True)
        table = pyarrow.table({"text": [f"{year} {number}" for number in range(3)], "label": ["0", "1", "0"]})
        parquet.write_table(table, tmp_path / "t.parquet" / f"year={year}" / "part.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.header == ["text", "label", "year"]
    assert [row[2] for row in table.rows] == ["2001"] * 3 + ["2002"] * 3
