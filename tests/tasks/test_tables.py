import csv
import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.notes import Note
from bertvision_tf.tasks.tables import check_writable, read_table, write_table


def test_round_trip(tmp_path):
    rows = [['a "quoted" cell', "two\nlines"], ["", "é, ü"]]
    for name in ("t.csv", "t.tsv"):
        write_table(tmp_path / name, ["one", "two"], rows)
        table = read_table(tmp_path / name)
        assert (table.header, table.rows) == (["one", "two"], rows)
        assert table.column("two") == ["two\nlines", "é, ü"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.tsv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n1\n", "line 3: 1 cells, the header has 2"),
        (b"a\n\xff\n", "line 2: not UTF-8"),
        (b"te\rxt,label\na,1\n", "line 1: a carriage return stands inside a cell"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "compressed by gzip: unpack it"),
        (b"PK\x03\x04\0\0", "zip archive or an Excel workbook"),
        ("a,b\n1,2\n".encode("utf-16"), r"line 1: not UTF-8 \(it is UTF-16\)"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TaskError, match=message):
        read_table(tmp_path / "t.csv")


def test_names_and_folders(tmp_path):
    with pytest.raises(TaskError, match=r"ends in \.csv, \.tsv, \.jsonl or \.parquet"):
        read_table(tmp_path / "t.xlsx")
    with pytest.raises(TaskError, match="cannot be read"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(TaskError, match="cannot be written"):
        write_table(tmp_path / "absent" / "t.csv", ["a"], [])


@pytest.mark.parametrize("name", ["https://example.org/t.csv", "s3://bucket/t.parquet", "hf://datasets/owner/t.csv"])
def test_an_address_is_no_file(name):
    for source in (name, Path(name)):
        with pytest.raises(TaskError, match="is an address: name the path of a file on this machine"):
            read_table(source)


def show(source):
    table = read_table(source)
    return table.header, table.rows, table.lines


def test_lines_are_those_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n,\r\n')
    assert show(tmp_path / "t.csv") == (["a", "b"], [["1", "x\r\ny"], ["", ""]], [3, 5])
    (tmp_path / "t.JSONL").write_text('\n{"a": 1}\n  \n{"b": 2, "a": null}\n', encoding="utf-8")
    assert show(tmp_path / "t.JSONL") == (["a", "b"], [["1", ""], ["", "2"]], [2, 4])
    assert show({"a": [1, 2], 3: ["x", "y"]}) == (["a", "3"], [["1", "x"], ["2", "y"]], [1, 2])


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": "x\u2028y\x85z"}\n', encoding="utf-8")
    assert read_table(tmp_path / "t.jsonl").rows == [["x\u2028y\x85z"]]
    (tmp_path / "t.csv").write_text("a,b\nx\u2028y,z\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv").rows == [["x\u2028y", "z"]]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("a", "a"),
        (" a ", " a "),
        (None, ""),
        (float("nan"), ""),
        (3, "3"),
        (3.0, "3"),
        (-0.5, "-0.5"),
        (True, "True"),
        (["a", "b"], "a;b"),
        ((1, 2.0, None), "1;2;"),
        ([], ""),
        (np.float32(0.25), "0.25"),
        (np.float64("nan"), ""),
        (np.int64(7), "7"),
        (np.bool_(False), "False"),
        (np.str_("ü"), "ü"),
        (np.array(["a", "b"]), "a;b"),
        (np.array([1.0, 0.5]), "1;0.5"),
    ],
)
def test_a_cell_reads_as_in_a_csv_file(cell, shown):
    assert read_table({"a": [cell]}).rows == [[shown]]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"a": ["x", None, "ü\n"], "b": [1.0, 0.5, None], "c": [["p", "q"], [], None], "d": [1, None, 2]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    header, rows, lines = show(tmp_path / "t.parquet")
    assert (header, lines) == (["a", "b", "c", "d"], [1, 2, 3])
    assert rows == [["x", "1", "p;q", "1"], ["", "0.5", "", ""], ["ü\n", "", "", "2"]]
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    for name in ("text.parquet", "absent.parquet"):
        with pytest.raises(TaskError, match=f"{name} cannot be read: ") as raised:
            read_table(tmp_path / name)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", "", "{file} is empty: expected an object on each line."),
        ("t.jsonl", " \n\n", "{file} is empty: expected an object on each line."),
        ("t.jsonl", '{"a": 1}\n\n{"a": }\n', "{file}, line 3: no JSON (Expecting value)."),
        ("t.jsonl", "[1, 2]\n", "{file}, line 1: expected an object, got list."),
        ("t.jsonl", '{"a": 1}\n"b"\n', "{file}, line 2: expected an object, got str."),
        ("t.tsv", "a\tb\n1\t2\t3\n", "{file}, line 2: 3 cells, the header has 2 (a, b)."),
        ("t.csv", "a,b\n1,2\n\n3;4\n", "{file}, line 4: 1 cells, the header has 2 (a, b)."),
        ("t.csv", 'a,b\n1,2\n"3,4\n5,6\n', "{file}, line 4: unexpected end of data; is a quote left open?"),
    ],
)
def test_a_complaint_names_the_line(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError) as raised:
        read_table(tmp_path / name)
    assert str(raised.value) == message.format(file=tmp_path / name)


def test_a_cell_without_end_is_one_line(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n1,"' + "x\n" * 70_000)
    with pytest.raises(TaskError, match=r"t\.csv, line \d+: unexpected end of data; is a quote left open\?$"):
        read_table(tmp_path / "t.csv")


def test_columns_by_name():
    table = read_table({"a": [1], "b": [2]})
    assert table.column("b") == ["2"]
    with pytest.raises(TaskError, match=r"^the table has no column 'B'; it has 'a', 'b'\.$"):
        table.column("B")
    with pytest.raises(TaskError, match=r"^the columns of the table differ in length: \{'a': 1, 'b': 2\}\.$"):
        read_table({"a": [1], "b": [1, 2]})


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    write_table(tmp_path / "t.csv", ["a"], [["old"]])

    def rows():
        yield ["new"]
        raise OSError(28, "No space left on device")

    with pytest.raises(TaskError, match=r"t\.csv cannot be written: No space left on device\.$"):
        write_table(tmp_path / "t.csv", ["a"], rows())
    assert read_table(tmp_path / "t.csv").rows == [["old"]]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_what_can_be_written_is_known_before(tmp_path):
    check_writable(tmp_path / "t.tsv")
    assert not list(tmp_path.iterdir())
    with pytest.raises(TaskError, match=r"needs a name that ends in \.csv or \.tsv\.$"):
        check_writable(tmp_path / "t.jsonl")
    with pytest.raises(TaskError, match="absent is no folder"):
        check_writable(tmp_path / "absent" / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_quote_left_open_swallows_no_rows(name, tmp_path):
    delimiter = "," if name.endswith("csv") else "\t"
    rows = [f"1{delimiter}one", f'1{delimiter}"open', *[f"2{delimiter}two"] * 9]
    (tmp_path / name).write_text("\n".join([f"label{delimiter}text", *rows]) + "\n", encoding="utf-8")
    with pytest.raises(TaskError, match="is a quote left open"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out_and_said(name, delimiter, tmp_path):
    with open(tmp_path / name, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([["Text", "Class"], ["a, b; c", "1"], ["two\nlines", "0"]])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert read_table(tmp_path / name).rows == [["a, b; c", "1"], ["two\nlines", "0"]]
    usual = "," if name == "t.csv" else "\t"
    expected = f"the cells are separated by {delimiter!r}, not by {usual!r} as the file's name says."
    assert [str(one.message).partition(": ")[2] for one in said] == [expected] * (delimiter != usual)


@pytest.mark.parametrize("content", ["text\na; b\nc; d\n", "text;x\na\nb\n", "a;b|c\n1;2|3\n"])
def test_one_column_is_not_taken_for_several(content, tmp_path):
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    assert len(read_table(tmp_path / "t.csv").header) == 1


def test_a_quote_that_another_row_closes_is_named(tmp_path):
    (tmp_path / "t.tsv").write_text('text\tlabel\none\t0\n"two\t1\nthree\t0\nfour"\t1\nfive\t0\n', encoding="utf-8")
    with pytest.raises(TaskError, match=r"t\.tsv, line 3: a quote opens a cell that goes on to line 5 and holds tabs"):
        read_table(tmp_path / "t.tsv")


def test_quoted_cells_of_a_tsv_may_hold_a_tab_or_a_line_end(tmp_path):
    (tmp_path / "t.tsv").write_text('text\tlabel\n"a\tb"\t0\n"c\nd"\t1\n', encoding="utf-8")
    assert read_table(tmp_path / "t.tsv").rows == [["a\tb", "0"], ["c\nd", "1"]]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
def test_a_cell_may_have_any_length(name, tmp_path):
    limit = csv.field_size_limit()
    write_table(tmp_path / name, ["text", "label"], [["word " * 60_000, "1"]])
    assert read_table(tmp_path / name).rows == [["word " * 60_000, "1"]]
    assert csv.field_size_limit() == limit


def test_an_empty_line_of_one_column_is_a_row_that_is_missing(tmp_path):
    (tmp_path / "t.csv").write_text("text\na\n\nb\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"line 3: the line is empty, and 'text' is the only column\.$"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("text,label\na,1\n\nb,0\n\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv").lines == [2, 4]


def test_a_name_that_stands_twice_in_an_object(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"a": 1, "b": 2, "a": 3}\n', encoding="utf-8")
    with pytest.raises(TaskError, match=r"t\.jsonl, line 2: 'a' stands there twice\.$"):
        read_table(tmp_path / "t.jsonl")


@pytest.mark.parametrize("cell", ["[" * 100_000 + "]" * 100_000, "1" * 5000])
def test_json_that_python_gives_up_on(cell, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": ' + cell + "}\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"t\.jsonl, line 1: ") as raised:
        read_table(tmp_path / "t.jsonl")
    assert len(str(raised.value)) < 400


def test_a_blank_before_a_quote_is_named(tmp_path):
    (tmp_path / "t.csv").write_text('text, label\na, "b"\n', encoding="utf-8")
    with pytest.raises(TaskError, match="line 2: in ' label' a blank stands before a quote"):
        read_table(tmp_path / "t.csv")


def test_cells_that_may_have_swallowed_rows_are_said(tmp_path):
    (tmp_path / "t.csv").write_text('text,label\na,1\n"b,0\nc,1\nd",0\n"e\nf",1\n', encoding="utf-8")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert len(read_table(tmp_path / "t.csv").rows) == 3
    assert [str(one.message).partition(": ")[2] for one in said] == [
        "rows with a quoted cell that runs over several lines and holds ',': 1, the first in line 3; if a quote was "
        "left open there, rows are lost."
    ]


def test_quoted_cells_that_begin_with_a_blank_and_a_quote(tmp_path):
    for name, delimiter in (("t.csv", ","), ("t.tsv", "\t")):
        with open(tmp_path / name, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=delimiter).writerows([("text", "label"), (' "yes" and "no"', "a")])
        assert read_table(tmp_path / name).rows == [[' "yes" and "no"', "a"]]


def test_long_cells_in_many_rows_are_no_doubt(tmp_path):
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *(("one, two\nthree", "a") for _ in range(40))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_table(tmp_path / "t.csv").rows) == 40


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("text,label", ['"open {0},pos', 'close {0}",neg', "plain {0},pos"]),
        ("label,text", ['pos,"open {0}', 'neg,close {0}"', "neg,plain {0}"]),
        ("id,text,score", ['{0}0,"open {0},0.{0}', "{0}1,middle {0},1.{0}", '{0}2,close {0}",2', "{0}3,plain,0.{0}"]),
        ("one,two,label", ['"open {0},other {0},a', 'close {0}",more {0},b', "plain {0},plain {0},a"]),
    ],
)
def test_quotes_left_open_in_many_rows_are_said(header, rows, tmp_path):
    lines = [row.format(number) for number in range(1, 13) for row in rows]
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    with pytest.warns(Note, match=r"holds ',': 12, the first in line 2; if a quote was left open there, rows are lost"):
        read_table(tmp_path / "t.csv")


def test_line_ends_and_delimiters_in_many_cells_are_no_doubt(tmp_path):
    texts = ["Dear John,\nthank you", "in all, 7\nor 8, or 9", "a,b,c\nd", "good\n\nbad, worse", "red, good\n7, bad"]
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as stream:
        rows = [(text, number, label) for text in texts for number in range(9) for label in ("good", "bad", "")]
        csv.writer(stream).writerows([("text", "number", "label"), *rows])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_table(tmp_path / "t.csv").rows) == len(rows)
