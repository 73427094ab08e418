"""What is read of a shard is compared with the checksums of its blocks, before it is first used."""

import dataclasses
import os
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xxhash

import bertvision_tf as bv
from bertvision_tf.errors import BertvisionError, RunError, StoreError
from bertvision_tf.extraction import extract, repair_store
from bertvision_tf.store import blocks, check, checking, open_store
from bertvision_tf.store.blocks import Blocks, BlockSums, parse_sums
from bertvision_tf.store.schema import read_manifest, write_manifest

from ..command import run_here

SMALL = {"batch_tokens": 64, "shard_rows": 80}  # five shards of the tiny examples
BLOCK = 256


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch, tmp_path):
    """Of which a small shard has many; and a cache of its own, which remembers small shards too."""
    for module in (blocks, check):
        monkeypatch.setattr(module, "BLOCK", BLOCK)
    monkeypatch.setattr(check, "REMEMBERED", 0)
    monkeypatch.setenv("BERTVISION_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def whole(tiny_encoder, tiny_examples, tmp_path):
    return extract(tiny_encoder, tiny_examples, tmp_path / "store", **SMALL)


@pytest.fixture
def counted(monkeypatch):
    """How many blocks were compared since."""
    count, compare = [], check.sum_block
    monkeypatch.setattr(check, "sum_block", lambda content: count.append(1) or compare(content))
    return count


def flip(file, place, bit=0):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def read_all(store):
    return store.gather(range(len(store)))


def count_blocks(store):
    return sum(len(Blocks.of(entry, store.spec.row_bytes)) for entry in store.manifest.shards)


@pytest.mark.parametrize("start", [0, 1, 255, 256, 300])
@pytest.mark.parametrize("size", [300, 511, 512, 2000])
def test_checksums_of_parts_are_those_of_the_whole(start, size):
    content, found = np.random.default_rng(start).bytes(size), Blocks(start, size)
    sums, rest = BlockSums(start), memoryview(content)
    for count in (1, 700, 3, 255, 256, size):
        sums.update(rest[:count])
        rest = rest[count:]
    expected = [xxhash.xxh3_64_intdigest(content[slice(*found.bounds(block))]) for block in range(len(found))]
    assert parse_sums(sums.to_bytes("ab" * 32), found, "ab" * 32).tolist() == expected
    assert b"".join(content[slice(*found.bounds(block))] for block in range(len(found))) == content
    for first in range(start, size, 97):
        own = found.of_states(first, first + 1)
        assert len(own) == 1 and found.bounds(own[0])[0] <= first < found.bounds(own[0])[1]


def test_no_flipped_bit_is_read(whole):
    """Each of the bytes of a shard, when it is opened or when it is read."""
    file, random = whole.path / "shard-00002.h5", np.random.default_rng(0)
    data = file.read_bytes()
    for place in random.permutation(len(data))[:200].tolist():
        flip(file, place, place % 8)
        with pytest.raises(StoreError) as raised:
            read_all(open_store(whole.path))
        found = re.fullmatch(
            rf"{re.escape(str(file))} is damaged: block \d+ of \d+ \(bytes (\d+) to (\d+)\) is not what was written\. "
            rf"`bertvision repair {re.escape(str(whole.path))}` makes it again\.",
            str(raised.value),
        )
        assert found and int(found[1]) <= place <= int(found[2])
        file.write_bytes(data)
    read_all(open_store(whole.path))


def test_other_rows_are_read_though_some_are_damaged(whole, tiny_examples):
    file = whole.path / "shard-00002.h5"
    flip(file, len(file.read_bytes()) - 1)
    store, damaged = open_store(whole.path), []
    for index in range(len(store)):
        try:
            np.testing.assert_array_equal(store.gather([index]).states, whole.gather([index]).states)
        except StoreError:
            damaged.append(index)
    assert 0 < len(damaged) < 10
    assert {int(store._shard[index]) for index in damaged} == {2}


def test_always_once_and_never(whole, counted):
    every = count_blocks(whole)
    for how, first, later in (("always", every, every), ("never", 0, 0), ("once", every, 0)):
        for expected in (first, later):
            counted.clear()
            store = open_store(whole.path, check=how)
            read_all(store)
            assert len(counted) == expected, how
            read_all(store)  # an epoch later
            assert len(counted) == expected, how


def test_a_file_that_has_changed_is_compared_again(whole, counted, tmp_path):
    read_all(open_store(whole.path))
    file = whole.path / "shard-00001.h5"
    status = file.stat()
    flip(file, -1)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nothing had happened
    with pytest.raises(StoreError, match=r"shard-00001\.h5 is damaged: block \d+"):
        read_all(open_store(whole.path))
    flip(file, -1)
    counted.clear()
    shutil.copytree(whole.path, tmp_path / "copy")
    read_all(open_store(tmp_path / "copy"))
    assert len(counted) == count_blocks(whole)


def test_what_was_damaged_is_not_remembered_as_whole(whole):
    flip(whole.path / "shard-00001.h5", -1)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"shard-00001\.h5 is damaged"):
            read_all(open_store(whole.path))


def test_a_cache_that_cannot_be_written_remembers_nothing(whole, counted, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BERTVISION_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        counted.clear()
        read_all(open_store(whole.path))
        assert len(counted) == count_blocks(whole)


def test_lines_of_shards_that_are_gone_are_removed(whole, tmp_path):
    read_all(open_store(whole.path))
    (file,) = (tmp_path / "cache" / "checked").iterdir()
    file.write_text("".join(f"shard-00000.h5 {number}\n" for number in range(200)))
    open_store(whole.path)
    assert not file.exists()
    file.write_bytes(b"\xff\xfe")
    read_all(open_store(whole.path))


def test_views_and_other_processes_compare_too(whole, counted):
    store = open_store(whole.path, check="always")
    view = store.select([1])
    flip(whole.path / "shard-00000.h5", -1)
    for one in (view, pickle.loads(pickle.dumps(store)), pickle.loads(pickle.dumps(view))):
        with pytest.raises(StoreError, match=r"shard-00000\.h5 is damaged"):
            read_all(one)
    flip(whole.path / "shard-00000.h5", -1)
    read_all(pickle.loads(pickle.dumps(store)).select([0]))


def test_a_store_of_an_earlier_version_is_compared_whole(whole, counted):
    for file in whole.path.glob("*.sums"):
        file.unlink()
    read_all(open_store(whole.path))
    open_store(whole.path).verify()
    flip(whole.path / "shard-00003.h5", -1)
    with pytest.raises(
        StoreError, match=r"shard-00003\.h5 is damaged: its SHA-256 is not the manifest's\. `bertvision"
    ):
        open_store(whole.path)
    read_all(open_store(whole.path, check="never"))
    assert not counted


def test_checksums_that_are_damaged_themselves(whole, tiny_encoder, tiny_examples):
    """The SHA-256 counts then, and `verify` says so."""
    file = whole.path / "shard-00001.sums"
    data = file.read_bytes()
    for content in (
        b"",
        data[:-1],
        data + b"0",
        *(data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :] for i in (0, 9, len(data) - 1)),
    ):
        file.write_bytes(content)
        read_all(open_store(whole.path))
        with pytest.raises(StoreError, match=r"shard-00001\.sums is damaged: `bertvision repair"):
            whole.verify()
    shutil.copyfile(whole.path / "shard-00002.sums", file)  # of another shard
    read_all(open_store(whole.path))
    assert repair_store(tiny_encoder, tiny_examples, whole.path) == ["shard-00001.sums"]
    assert file.read_bytes() == data
    whole.verify()


def test_verify_names_the_blocks(whole):
    file = whole.path / "shard-00004.h5"
    flip(file, 0)
    flip(file, -1)
    count = len(Blocks.of(whole.manifest.shards[4], whole.spec.row_bytes))
    with pytest.raises(
        StoreError, match=rf"not the manifest's \(block 0, {count - 1} of {count}\)\. `bertvision repair"
    ):
        whole.verify()


def test_how_is_one_of_three(whole):
    with pytest.raises(StoreError, match=r"`check` needs always, once or never, got 'twice'\."):
        open_store(whole.path, check="twice")
    with pytest.raises(RunError, match=r"`check` needs always, once or never, got 'twice'\."):
        bv.train("starter", check="twice")
    with checking("never"):
        flip(whole.path / "shard-00000.h5", -1)
        read_all(open_store(whole.path))
        with pytest.raises(StoreError):
            read_all(open_store(whole.path, check="always"))
    with pytest.raises(StoreError):
        read_all(open_store(whole.path))


# Repair


def test_repair_makes_only_the_damaged_shards_again(whole, tiny_encoder, tiny_examples, monkeypatch):
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in whole.path.iterdir()}
    flip(whole.path / "shard-00001.h5", 50)
    (whole.path / "shard-00003.h5").unlink()
    (whole.path / "shard-00003.sums").unlink()
    run, rows = tiny_encoder.hidden_state_rows, []
    monkeypatch.setattr(
        type(tiny_encoder), "hidden_state_rows", lambda self, tokens, **more: rows.append(1) or run(tokens, **more)
    )
    assert repair_store(tiny_encoder, tiny_examples, whole.path) == ["shard-00001.h5", "shard-00003.h5"]
    assert len(rows) < 12  # batches, of over 20 in all
    for name, (content, changed) in before.items():
        assert (whole.path / name).read_bytes() == content
        again = name.split(".")[0] in ("shard-00001", "shard-00003")
        assert again or (whole.path / name).stat().st_mtime_ns == changed
    assert repair_store(tiny_encoder, tiny_examples, whole.path) == []
    read_all(open_store(whole.path))


def test_repair_refuses_what_is_not_the_store_s_own(whole, tiny_encoder, tiny_examples):
    flip(whole.path / "shard-00001.h5", 50)
    damaged = (whole.path / "shard-00001.h5").read_bytes()
    with pytest.raises(StoreError, match=r"has states of 40 rows of cola train, and these 20 rows have other texts"):
        repair_store(tiny_encoder, tiny_examples.take(20), whole.path)
    other = bv.load_encoder(tiny_encoder.name, "bfloat16")
    with pytest.raises(StoreError, match="has states of the encoder"):
        repair_store(other, tiny_examples, whole.path)
    assert (whole.path / "shard-00001.h5").read_bytes() == damaged


def test_repair_leaves_what_it_cannot_make_again(whole, tiny_encoder, tiny_examples, monkeypatch):
    file = whole.path / "shard-00001.h5"
    flip(file, 50)
    damaged, run = file.read_bytes(), tiny_encoder.hidden_state_rows
    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", lambda self, *a, **more: run(*a, **more) * 1.5)
    with pytest.raises(
        StoreError, match=r"shard-00001\.h5 cannot be made again here: the encoder gives other bytes than it gave"
    ):
        repair_store(tiny_encoder, tiny_examples, whole.path)
    assert file.read_bytes() == damaged
    assert not list(whole.path.glob(".*"))


def test_the_command(tiny_encoder, tmp_path):
    path = tmp_path / "starter"
    done = run_here("extract", "--encoder", tiny_encoder.name, "--limit", 60, "--output", path, "--split", "dev")
    assert done.returncode == 0, done.stderr
    file = path / "shard-00000.h5"
    content = file.read_bytes()
    flip(file, -1)
    assert run_here("verify", path).returncode == 1
    done = run_here("repair", path, "--limit", 30)
    assert done.returncode == 1 and "these 30 rows have other texts" in done.stderr
    done = run_here("repair", path)
    assert (done.returncode, done.stdout) == (0, f"{path}: made again: shard-00000.h5\n"), done.stderr
    assert file.read_bytes() == content
    assert run_here("repair", path).stdout == f"{path}: whole, nothing was made again\n"
    done = run_here("repair", tmp_path / "nowhere")
    assert done.returncode == 1 and done.stderr.startswith("error: no store at ")


def test_the_selection_rows_of_a_run_are_repaired(tiny_encoder, tmp_path):
    common = {"head": "learned_pooling", "seeds": 1, "limit": 600, "baselines": False, "store": tmp_path / "states"}
    bv.train("starter", tiny_encoder, output=tmp_path / "run", **common)
    bv.train("starter", tiny_encoder, output=tmp_path / "top", fine_tune_from=tmp_path / "run", fine_tune_epochs=1,
             fine_tune={"parts": "top_1"}, **common)  # fmt: skip
    (file,) = (tmp_path / "states" / "starter" / "selection").glob("*/shard-00000.h5")
    content = file.read_bytes()
    flip(file, -1)
    done = run_here("repair", file.parent, "--limit", 600)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == content


def test_tokens_that_change_before_another_process_reads_them(whole):
    """What stands before the states is compared in that process too."""
    store = pickle.loads(pickle.dumps(open_store(whole.path, check="always")))
    held = pickle.dumps(store)
    read_all(store)
    offset = store._places[2]["token_ids"][0]
    flip(whole.path / "shard-00002.h5", offset)
    with pytest.raises(StoreError, match=r"shard-00002\.h5 is damaged: block \d+"):
        pickle.loads(held)


def test_a_shard_that_was_damaged_before_its_entry_is_made_anew(whole, tiny_encoder, tiny_examples):
    """By a kill between the two, and a bit that changed since."""
    manifest = read_manifest(whole.path)
    file = whole.path / manifest.shards[-1].name
    content = file.read_bytes()
    write_manifest(whole.path, dataclasses.replace(manifest, shards=manifest.shards[:-1]))
    flip(file, -1)
    again = extract(tiny_encoder, tiny_examples, whole.path, **SMALL)
    assert file.read_bytes() == content
    again.verify()


def test_threads_compare_one_shard_together(whole, counted):
    store = open_store(whole.path, check="always")
    before = len(counted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: store.gather([index]).states, [*range(len(store))] * 3))
    for index, states in enumerate(found[: len(store)]):
        np.testing.assert_array_equal(states, whole.gather([index]).states)
    assert all(check.passed for check in store._checks)
    assert len(counted) - before < 8 * count_blocks(whole)
    counted.clear()
    read_all(store)
    assert not counted


def test_where_there_is_no_home_folder_nothing_is_remembered(whole, monkeypatch):
    def fail():
        raise BertvisionError("could not determine home directory")

    monkeypatch.setattr(check, "find_cache", fail)
    read_all(open_store(whole.path))


def test_a_shard_that_cannot_be_read_is_said_in_one_line(whole, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(check.ShardCheck, "compare_start", fail)
    with pytest.raises(StoreError, match=r"shard-00000\.h5 cannot be read: Permission denied\.$"):
        open_store(whole.path)


def test_a_repair_that_was_killed_leaves_nothing(whole, tiny_encoder, tiny_examples):
    left = whole.path / f".shard-00001.h5.{'0' * 32}.part"
    left.write_bytes(b"0" * 1000)
    assert repair_store(tiny_encoder, tiny_examples, whole.path) == []
    assert not left.exists()
