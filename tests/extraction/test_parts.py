"""A store that several processes write at a time: the same bytes as by one, whatever becomes of them."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import bertvision_tf as bv
from bertvision_tf.errors import StoreError
from bertvision_tf.extraction import extract, extract_part
from bertvision_tf.store import merge_store, open_store
from bertvision_tf.store import parts as module
from bertvision_tf.store.codecs import Calibration
from bertvision_tf.store.parts import PartWriter
from bertvision_tf.store.schema import read_manifest
from bertvision_tf.store.writer import fingerprint_calibration

from ..command import run_here

OPTIONS = {"batch_tokens": 64, "shard_rows": 100}
SCRIPT = """
import sys
import bertvision_tf as bv
from bertvision_tf.extraction import extract_part

rows = bv.get_task("starter").load("train").take(300)
part, parts = int(sys.argv[3]), int(sys.argv[4])
tell = lambda done, total: print(done, flush=True)
encoder = bv.load_encoder(sys.argv[1])
extract_part(encoder, rows, sys.argv[2], part, parts, batch_tokens=64, shard_rows=100, progress=tell)
"""


@pytest.fixture(scope="module")
def rows():
    return bv.get_task("starter").load("train").take(300)


@pytest.fixture(scope="module")
def whole(rows, tiny_encoder, tmp_path_factory):
    """The store as one process writes it."""
    return extract(tiny_encoder, rows, tmp_path_factory.mktemp("whole") / "store", **OPTIONS)


def start(encoder, path, part, parts):
    command = [sys.executable, "-c", SCRIPT, encoder.name, str(path), str(part), str(parts)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def write_parts(encoder, rows, path, *numbers, parts=3):
    return [extract_part(encoder, rows, path, number, parts, **OPTIONS) for number in numbers]


def assert_same(store, whole):
    """Byte by byte, and nothing beside."""
    assert store.manifest.to_json() == whole.manifest.to_json()
    names = sorted(file.name for file in whole.path.iterdir())
    assert sorted(file.name for file in store.path.iterdir()) == names
    for name in names:
        assert (store.path / name).read_bytes() == (whole.path / name).read_bytes(), name


def test_processes_at_a_time_write_the_bytes_of_one(whole, tiny_encoder, tmp_path):
    path = tmp_path / "store"
    running = [start(tiny_encoder, path, part, 3) for part in (1, 2, 3, 2)]  # one part twice
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
    assert len(whole.manifest.shards) > 6
    assert not read_manifest(path).shards
    assert_same(merge_store(path), whole)
    assert_same(merge_store(path), whole)  # once more


def test_a_killed_part_is_gone_on_with(whole, rows, tiny_encoder, tmp_path):
    path = tmp_path / "store"
    process = start(tiny_encoder, path, 1, 2)
    for line in process.stdout:
        if int(line) > 200:
            time.sleep(random.uniform(0, 0.05))
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate()
    left = path / ".shard-00000.h5.0123.part"
    left.write_bytes(b"left")
    write_parts(tiny_encoder, rows, path, 1, 2, parts=2)
    for file in path.glob(".*.part"):  # by the killed one too
        os.utime(file, (0, 0))
    assert_same(merge_store(path), whole)
    assert not left.exists()


def test_what_is_there_is_not_made_again(whole, rows, tiny_encoder, tmp_path, monkeypatch):
    path, count = tmp_path / "store", len(whole.manifest.shards)
    assert write_parts(tiny_encoder, rows, path, 1) == [len(range(0, count, 3))]
    assert write_parts(tiny_encoder, rows, path, 1) == [0]
    (path / "shard-00000.json").unlink()  # killed between the shard and its entry
    monkeypatch.setattr(module, "WAIT", 0.0)
    assert write_parts(tiny_encoder, rows, path, 1) == [0]
    assert (path / "shard-00000.json").is_file()
    (path / "shard-00000.json").unlink()
    flip(path / "shard-00000.h5")  # which nobody vouches for
    with pytest.raises(StoreError, match=r"shard-00000\.h5 is not what its rows are here: delete it"):
        write_parts(tiny_encoder, rows, path, 1)
    (path / "shard-00000.h5").unlink()
    assert write_parts(tiny_encoder, rows, path, 1) == [1]
    assert write_parts(tiny_encoder, rows, path, 1, parts=1) == [count - len(range(0, count, 3))]
    assert_same(merge_store(path), whole)
    assert write_parts(tiny_encoder, rows, path, 2) == [0]


@pytest.mark.parametrize("damaged", [False, True])
def test_one_process_ends_what_parts_have_begun(whole, rows, tiny_encoder, tmp_path, damaged, monkeypatch):
    path, ran, run = tmp_path / "store", [], type(tiny_encoder).hidden_state_rows
    write_parts(tiny_encoder, rows, path, 1, 3)
    if damaged:
        flip(path / "shard-00002.h5")
    monkeypatch.setattr(
        type(tiny_encoder), "hidden_state_rows", lambda *args, **options: ran.append(1) or run(*args, **options)
    )
    assert_same(extract(tiny_encoder, rows, path, **OPTIONS), whole)
    alone = len(ran)
    ran.clear()
    extract(tiny_encoder, rows, tmp_path / "anew", **OPTIONS)
    assert alone < len(ran) / 2  # only what was left


def test_parts_need_no_locks(whole, rows, tiny_encoder, tmp_path, monkeypatch):
    from bertvision_tf.store import writer

    monkeypatch.setattr(writer, "lock_folder", lambda path: None)
    path = tmp_path / "store"
    with ThreadPoolExecutor(3) as pool:
        written = list(pool.map(lambda part: write_parts(tiny_encoder, rows, path, part)[0], (1, 2, 3)))
    assert sum(written) == len(whole.manifest.shards)
    assert_same(merge_store(str(path)), whole)


def test_a_file_system_without_hard_links(whole, rows, tiny_encoder, tmp_path, monkeypatch):
    def link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    path = tmp_path / "store"
    assert sum(write_parts(tiny_encoder, rows, path, 1, 2, 3)) == len(whole.manifest.shards)
    monkeypatch.setattr(PartWriter, "has", lambda self, number: False)
    assert write_parts(tiny_encoder, rows, path, 2) == [0]
    assert_same(merge_store(path), whole)


def test_the_first_manifest_counts(rows, tiny_encoder, tmp_path, monkeypatch):
    """Of another machine, whose calibration differs."""
    path, calibrate, other = tmp_path / "store", Calibration.of, []

    def differ(states):
        if not other:
            other.append(1)
            write_parts(tiny_encoder, rows, path, 1, 3)  # meanwhile, by another process
            return calibrate(2 * states)
        return calibrate(states)

    monkeypatch.setattr(Calibration, "of", differ)
    write_parts(tiny_encoder, rows, path, 2)
    monkeypatch.undo()
    expected = extract(tiny_encoder, rows, tmp_path / "whole", **OPTIONS)
    assert_same(merge_store(path), expected)


def test_missing_shards_are_named_and_nothing_is_entered(whole, rows, tiny_encoder, tmp_path):
    path, count = tmp_path / "store", len(whole.manifest.shards)
    write_parts(tiny_encoder, rows, path, 1, 3)
    missing = range(1, count, 3)
    with pytest.raises(StoreError, match=rf"lacks {len(missing)} of {count} shards: run part 2/3 first"):
        merge_store(path)
    assert not read_manifest(path).shards
    with pytest.raises(StoreError, match=r"unfinished .*`bertvision merge .*` says which parts are missing"):
        open_store(path)
    write_parts(tiny_encoder, rows, path, 2)
    assert_same(merge_store(path), whole)


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: flip(path / "shard-00001.h5"), "shard-00001.h5 is not what its entry says: delete"),
        (lambda path: (path / "shard-00002.json").write_text("{"), "shard-00002.json is no entry of a shard"),
        (lambda path: (path / "shard-00002.json").write_text("[1]"), "shard-00002.json is no entry of a shard"),
        (lambda path: (path / "shard-00002.h5").unlink(), "shard-00002.h5 is not what its entry says"),
        (
            lambda path: (path / "shard-00002.json").write_text(
                json.dumps(json.loads((path / "shard-00002.json").read_text()) | {"calibration": "0" * 16})
            ),
            "shard-00002.h5 was made with another calibration",
        ),
    ],
)
def test_a_shard_that_is_not_what_it_says_is_refused(whole, rows, tiny_encoder, tmp_path, damage, message):
    path = tmp_path / "store"
    write_parts(tiny_encoder, rows, path, 1, 2, 3)
    damage(path)
    with pytest.raises(StoreError, match=message) as caught:
        merge_store(path)
    assert "\n" not in str(caught.value)
    assert not read_manifest(path).shards
    number = "00001" if "00001" in message else "00002"
    for end in ("h5", "json"):
        (path / f"shard-{number}.{end}").unlink(missing_ok=True)  # as it says
    write_parts(tiny_encoder, rows, path, 1, 2, 3)
    assert_same(merge_store(path), whole)


def test_the_faster_process_wins(whole, rows, tiny_encoder, tmp_path, monkeypatch):
    path = tmp_path / "store"
    has = PartWriter.has
    write_parts(tiny_encoder, rows, path, 1)
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir() if "shard" in file.name}
    monkeypatch.setattr(PartWriter, "has", lambda self, number: False)  # as both looked at the same time
    assert write_parts(tiny_encoder, rows, path, 1) == [0]
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir() if "shard" in file.name} == before
    monkeypatch.setattr(PartWriter, "has", has)
    write_parts(tiny_encoder, rows, path, 2, 3)
    assert_same(merge_store(path), whole)


def test_another_store_and_other_parts_are_refused(rows, tiny_encoder, tmp_path):
    path = tmp_path / "store"
    write_parts(tiny_encoder, rows, path, 1)
    with pytest.raises(StoreError, match="name another folder"):
        extract_part(tiny_encoder, rows, path, 2, 3, codec="int4", **OPTIONS)
    for part in (0, 4):
        with pytest.raises(StoreError, match=f"parts are counted from 1, as 1/8 to 8/8; got {part}/3"):
            write_parts(tiny_encoder, rows, path, part)
    with pytest.raises(StoreError):
        merge_store(tmp_path / "nothing")


def test_calibrations_have_a_fingerprint():
    import numpy as np

    one, two = (Calibration.of(np.full((2, 3, 4), value, np.float32)) for value in (1, 2))
    assert fingerprint_calibration(one) != fingerprint_calibration(two)
    assert len(fingerprint_calibration(one)) == 16


def test_the_commands(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["extract", "--task", "starter", "--encoder", tiny_encoder.name, "--limit", "60", "--output", "parts"]
    done = run_here(*common, "--shard", "1/1")
    assert "parts: part 1/1, 1 shards written; when all parts are done: bertvision merge parts" in done.stdout, (
        done.output
    )
    done = run_here("merge", "parts")
    assert "parts: whole (1 shards" in done.stdout, done.output
    assert open_store(Path("parts")).spec.examples == 60


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "1/3/4", "-1/3"])
def test_a_part_is_written_in_one_way(shard, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_here("extract", "--task", "starter", "--encoder", tiny_encoder.name, f"--shard={shard}")
    assert done.returncode != 0
    assert "--shard needs a part and how many there are, as 2/8; 1/8 is the first" in done.stderr
    assert not list(tmp_path.iterdir())


def test_merge_says_what_is_missing(tmp_path):
    done = run_here("merge", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
