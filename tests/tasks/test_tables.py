import pytest

from bertvision_tf.errors import TaskError
from bertvision_tf.tasks.tables import read_table, write_table


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
