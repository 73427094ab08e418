"""Long columns in little memory: equal to the lists that they stand for, in memory and in files."""

import contextlib
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from bertvision_tf import packed
from bertvision_tf.errors import TaskError
from bertvision_tf.packed import ArrayWriter, ByteNames, NumberedNames, Texts, TextWriter
from bertvision_tf.tasks import Examples, frames, tables, task_from_table
from bertvision_tf.tasks.equal_rows import Hashes, number_equal
from bertvision_tf.tasks.files import TextFile
from bertvision_tf.tasks.tables import read_table

TEXTS = ["", "a", "größer", "日本", "", "x" * 300, "\ud7ff\ue000", "line\nline\r\n\x00"] * 5


@pytest.fixture(params=[True, False], ids=["file", "memory"])
def place(request, monkeypatch):
    """Columns in files, or in memory; in small pieces."""
    monkeypatch.setattr(packed, "AT_ONCE", 130)
    if request.param:
        monkeypatch.setattr(ArrayWriter.__init__, "__defaults__", (16,))
    return request.param


def test_texts_are_the_list_that_they_stand_for(place):
    texts = TextWriter(TEXTS).finish()
    assert (texts._data.flags.writeable) != place
    assert texts == TEXTS and texts != TEXTS[:-1] and texts != ["b", *TEXTS[1:]]
    assert [*texts] == TEXTS and len(texts) == len(TEXTS)
    assert texts[3] == TEXTS[3] and texts[-1] == TEXTS[-1] and texts[0] == ""
    for part in (slice(None), slice(2, 7), slice(5, 2), slice(None, None, 3), slice(None, None, -1), slice(-3, None)):
        assert texts[part] == TEXTS[part]
    assert texts.index("日本") == 3 and texts.count("a") == 5 and "größer" in texts and "b" not in texts
    with pytest.raises(IndexError):
        texts[len(TEXTS)]
    chosen = [5, 0, 5, -1 % len(TEXTS), 2]
    part = texts.select(chosen)
    assert part == [TEXTS[place] for place in chosen] and [*part] == [TEXTS[place] for place in chosen]
    assert part.select([4, 0]) == [TEXTS[2], TEXTS[5]] and part[1:3] == [TEXTS[0], TEXTS[5]]
    assert pickle.loads(pickle.dumps(part)) == part and len(pickle.dumps(texts.select([1]))) < 200
    assert texts + ["b"] == [*TEXTS, "b"] and ["b"] + texts == ["b", *TEXTS]  # noqa: RUF005
    assert TextWriter().finish() == [] and [*TextWriter().finish()] == []
    with pytest.raises(UnicodeEncodeError):
        TextWriter(["\ud83d"])


def test_arrays_of_parts(place):
    parts = [np.arange(12).reshape(-1, 2) + start for start in (0, 5, 90)]
    writer = ArrayWriter(np.int32)
    for part in parts:
        writer.append(part)
    found = writer.finish()
    np.testing.assert_array_equal(found, np.concatenate(parts))
    assert found.dtype == np.int32
    assert ArrayWriter(np.uint8).finish().shape == (0,)


def fill(writer, size):
    writer.append(np.zeros(size))
    writer.finish()


def test_a_folder_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(packed.tempfile, "TemporaryFile", lambda **_: open("/dev/full", "w+b"))  # noqa: SIM115
    for size in (10**2, 10**6):  # which is written when it is finished, and before
        writer = ArrayWriter(np.uint8, limit=10)
        with pytest.raises(TaskError, match="No space left on device; let TMPDIR name a folder with more room"):
            fill(writer, size)


class Same(str):
    """Texts of one hash."""

    __hash__ = lambda self: 7  # noqa: E731


@pytest.mark.parametrize("kind", [str, Same])
def test_equal_rows_have_one_number_whatever_their_hashes(kind):
    for count in (0, 1, 2, 50):
        rows = [kind(number) for number in np.random.default_rng(count).integers(0, 20, count)]
        known = {}
        expected = [known.setdefault(row, len(known)) for row in rows]
        found = number_equal(rows, rows.__getitem__)
        assert found.tolist() == expected if len(known) < count else found is None
    assert number_equal(list("abc"), "abc".__getitem__) is None


def test_hashes():
    known = Hashes(["a", "b"])
    assert "a" in known and "b" in known and "c" not in known and "a" not in Hashes([])


def test_names():
    names = NumberedNames("train", 5)
    assert names == ["train-0", "train-1", "train-2", "train-3", "train-4"] and names.unique
    assert names.select([3, 1]) == ["train-3", "train-1"] and not names.select([1, 1]).unique
    assert ByteNames(np.array(["ä".encode(), b"bc"])) == ["ä", "bc"]
    labels = np.zeros(2, np.int32)
    with pytest.raises(TaskError, match="ids of a train are not unique"):
        Examples("a", "train", names.select([1, 1]), ["a", "b"], None, labels)


def read_lines(path):
    with contextlib.closing(TextFile(path)) as file:
        assert next(file.walk(), None) == next(file.walk(), None)
        return list(file.walk())


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb\r\nc", ["a\n", "b\r\n", "c"]),
        (b"\xef\xbb\xbfa\n\xc3\xa4\n", ["a\n", "ä\n"]),
        (b"a\rb\r", ["a\n", "b\n"]),
        (b"", []),
        (b"a", ["a"]),
    ],
)
def test_lines_of_a_file(tmp_path, content, lines):
    (tmp_path / "f").write_bytes(content)
    assert read_lines(tmp_path / "f") == lines


def test_lines_that_cannot_be_read(tmp_path):
    file = tmp_path / "f"
    with pytest.raises(TaskError, match="cannot be read: No such file"):
        read_lines(file)
    file.write_bytes(b"a\n\xff\n")
    with pytest.raises(TaskError, match="line 2: not UTF-8"):
        read_lines(file)
    file.write_bytes("a\nb".encode("utf-16"))
    with pytest.raises(TaskError, match="it is UTF-16"):
        read_lines(file)


def test_a_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    writer = threading.Thread(target=(tmp_path / "t.csv").write_bytes, args=(b"a;b\n1;2\n",))
    writer.start()
    assert read_table(tmp_path / "t.csv").rows == [["1", "2"]]
    writer.join()
    (tmp_path / "t.jsonl").write_bytes(b'{"a":\r1}')
    assert read_table(tmp_path / "t.jsonl").rows == [["1"]]


ROWS = [
    {"text": "good", "label": ["a"], "all": [0, 1], "most": [0, 1]},
    {"text": "bad", "label": ["a", "b"], "all": [1, 1], "most": [1, 0]},
    {"text": "so", "label": [], "all": [0, 0], "most": [1, 0, 1]},
    {"text": "fine", "label": ["b"], "all": [1, 0], "most": [1, 1]},
    {"text": "ünfein", "label": None, "all": [0, 1], "most": [0, 0]},
]


@pytest.mark.parametrize("kind", ["parquet", "frame", "jsonl"])
def test_a_table_read_in_pieces_is_the_one_read_at_once(tmp_path, monkeypatch, kind, place):
    pyarrow = pytest.importorskip("pyarrow")
    import json

    from pyarrow import parquet

    source = pyarrow.Table.from_pylist(ROWS)
    if kind == "parquet":
        parquet.write_table(source, tmp_path / "t.parquet")
        source = tmp_path / "t.parquet"
    if kind == "jsonl":
        lines = [{name: cell for name, cell in row.items() if cell is not None} for row in ROWS]
        (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        source = tmp_path / "t.jsonl"
    whole = read_table(source)
    monkeypatch.setattr(tables, "ROWS", 2)
    monkeypatch.setattr(frames, "ROWS", 2)
    pieces = read_table(source)
    assert (pieces.header, pieces.rows, pieces.lines, pieces.odd) == (whole.header, whole.rows, whole.lines, whole.odd)
    assert pieces.column("label", ("a list",)) == ["a", "a;b", "", "b", ""]
    assert pieces.odd["all"] == {"a list of 0 and 1": 0}
    assert pieces.odd["most"] == {"a list of 0 and 1 in most rows and not here": 2}


def test_a_folder_of_parquet_files(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    (tmp_path / "t.parquet").mkdir()
    for number, rows in enumerate((ROWS[:2], ROWS[2:])):
        table = pyarrow.Table.from_pylist([{"text": row["text"]} for row in rows])
        parquet.write_table(table, tmp_path / "t.parquet" / f"{number}.parquet")
    assert read_table(tmp_path / "t.parquet").column("text") == [row["text"] for row in ROWS]
    parquet.write_table(pyarrow.table({"text": ["x"], "more": [1]}), tmp_path / "t.parquet" / "2.parquet")
    with pytest.raises(TaskError, match=r"2\.parquet has a column 'more' that the first file of .* lacks"):
        read_table(tmp_path / "t.parquet")
    (tmp_path / "t.parquet" / "2.parquet").unlink()
    (tmp_path / "t.parquet" / "README.md").write_text("no table")
    with pytest.raises(TaskError, match=r"t\.parquet cannot be read: .*README"):
        read_table(tmp_path / "t.parquet")


def test_a_folder_named_like_a_column_changes_no_cell(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    (tmp_path / "label=1").mkdir()
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [0, 1]}), tmp_path / "label=1" / "t.parquet")
    assert read_table(tmp_path / "label=1" / "t.parquet").rows == [["a", "0"], ["b", "1"]]


def test_a_folder_whose_files_differ_in_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    (tmp_path / "t.parquet").mkdir()
    for name, more in (("a", [1, 2]), ("b", [1.0, 2.0])):
        parquet.write_table(
            pyarrow.table({"text": ["x", "y"], "more": more}), tmp_path / "t.parquet" / f"{name}.parquet"
        )
    assert read_table(tmp_path / "t.parquet").column("more") == ["1", "2", "1", "2"]


def test_short_columns_are_lists(tmp_path):
    """As TensorFlow, JSON and tokenizers take them; and of long ones TensorFlow and numpy too."""
    import tensorflow as tf

    rows = task_from_table({"text": ["good", "bad"] * 20, "label": ["+", "-"] * 20}).load("train")
    assert type(rows.texts) is list and type(rows.ids) is list
    texts = TextWriter(["a", "ä"]).finish()
    assert np.array(texts).tolist() == ["a", "ä"]
    assert [one.decode() for one in tf.data.Dataset.from_tensor_slices(texts).as_numpy_iterator()] == ["a", "ä"]
    assert [one.decode() for one in tf.constant(NumberedNames("a", 2)).numpy()] == ["a-0", "a-1"]


def test_a_task_whose_columns_lie_in_files(tmp_path, place, monkeypatch):
    """Its rows, fingerprints and tokens are those of lists."""
    monkeypatch.setattr(packed, "LISTED", 0)
    rows = [(f"text {number % 37} of {number}", "ab"[number % 2]) for number in range(200)]
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    task = task_from_table(tmp_path / "t.csv")
    for split in ("train", "dev"):
        found = task.load(split)
        assert isinstance(found.texts, Texts)
        listed = Examples(found.task, split, list(found.ids), list(found.texts), None, found.labels)
        assert found.fingerprint == listed.fingerprint
        before, found.labels[0] = found.fingerprint, 1 - found.labels[0]
        assert found.fingerprint != before
        found.labels[0] = 1 - found.labels[0]
        assert found.select([5, 2]).texts == [found.texts[5], found.texts[2]]
        for name, text, label in zip(found.ids, found.texts, found.labels, strict=True):
            assert rows[int(name.removeprefix("train-"))] == (text, "ab"[label])


LONG = """
import threading, time
import bertvision_tf.tasks.tables, sklearn.model_selection
from bertvision_tf.tasks import task_from_table

def read():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))

def watch():
    while True:
        seen.append(read())
        time.sleep(0.005)

seen = [read()]
threading.Thread(target=watch, daemon=True).start()
task = task_from_table(FILE)
len(task.load("train").fingerprint)
print(len(task.load("train")), max(seen) - seen[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_long_table_takes_little_memory(tmp_path):
    with open(tmp_path / "t.csv", "w") as file:
        file.write("text,label\n")
        file.writelines(f"{number} {'word ' * 200},{'ab'[number % 2]}\n" for number in range(200_000))
    size = (tmp_path / "t.csv").stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", LONG.replace("FILE", repr(str(tmp_path / "t.csv")))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows, kibibytes = map(int, done.stdout.split())
    assert rows == 160_000
    assert size > 190 * 2**20
    assert kibibytes < 100 * 2**10
