import dataclasses
import errno
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import StoreError
from bertvision_tf.extraction import extract
from bertvision_tf.store import CODECS, StoreWriter, open_store, reader, schema, writer

SMALL = {"batch_tokens": 64, "shard_rows": 80}  # five shards of the tiny examples


def read_files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def only_line(raised):
    """The error's message, which must be one line."""
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.fixture(scope="module")
def whole(tiny_encoder, tiny_examples, tmp_path_factory):
    """The folder of a finished int8 store; not to be changed."""
    path = tmp_path_factory.mktemp("whole") / "store"
    extract(tiny_encoder, tiny_examples, path, **SMALL)
    return path


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "store")


@pytest.fixture(scope="module")
def expected(tiny_encoder, tiny_examples):
    """The hidden states of each text, run alone."""
    return [tiny_encoder.hidden_states(tiny_encoder.tokenize([text]))[0] for text in tiny_examples.texts]


# Write and read


@pytest.mark.parametrize(
    ("codec", "most"),
    [("float32", 1e-6), ("float16", 4e-4), ("bfloat16", 3e-3), ("int8", 0.012), ("int4", 0.12), ("int2", 0.37)],
)
def test_states_come_back(codec, most, tiny_encoder, tiny_examples, expected, tmp_path):
    store = extract(tiny_encoder, tiny_examples, tmp_path / "store", codec=codec, **SMALL)
    assert len(store) == 40 and len(store.manifest.shards) >= 5
    calibration, same, error, size = store.manifest.calibration, [], 0, 0
    for i, states in enumerate(expected):
        found = store[i]["hidden_states"]
        assert found.shape == states.shape and found.dtype == np.float32
        rows = states.transpose(1, 0, 2)
        coded = store.codec.decode(store.codec.encode(rows, calibration), calibration).transpose(1, 0, 2)
        same.append((abs(found - coded) < 1e-5).mean())
        error, size = error + np.square(found - states).sum(), size + np.square(states).sum()
    assert np.sqrt(error / size) <= most
    # float32's noise between batches of other padding can move a number over the edge of a step
    assert np.mean(same) > (0.97 if codec == "bfloat16" else 0.995)


def test_all_else_comes_back_in_the_tasks_order(tiny_encoder, tiny_examples, whole):
    store = open_store(whole)
    assert list(store.ids) == list(tiny_examples.ids)
    np.testing.assert_array_equal(store.labels, tiny_examples.labels)
    for i, text in enumerate(tiny_examples.texts):
        tokens = tiny_encoder.tokenize([text])
        np.testing.assert_array_equal(store[i]["token_ids"], tokens["token_ids"][0])
        np.testing.assert_array_equal(store[i]["segment_ids"], tokens["segment_ids"][0])
        assert store[i]["id"] == f"train-{i}"
        assert store[i]["label"] == tiny_examples.labels[i]
        assert store.lengths[i] == len(tokens["token_ids"][0])
    assert store.rows == store.lengths.sum()
    assert store.bytes == sum(file.stat().st_size for file in whole.glob("*.h5"))


def test_indices_are_those_of_a_list(whole):
    store = open_store(whole)
    assert store[-1]["id"] == "train-39"
    assert store[np.int64(3)]["id"] == "train-3"
    assert [example["id"] for example in store] == store.ids
    for outside in (40, -41):
        with pytest.raises(IndexError):
            store[outside]


def test_pairs_keep_their_segments(tiny_encoder, tiny_examples, tmp_path):
    pairs = dataclasses.replace(tiny_examples, text_pairs=tiny_examples.texts[::-1])
    store = extract(tiny_encoder, pairs, tmp_path / "store", **SMALL)
    tokens = tiny_encoder.tokenize(pairs.texts[5:6], pairs.text_pairs[5:6])
    assert 0 < tokens["segment_ids"].sum() < tokens["segment_ids"].size
    np.testing.assert_array_equal(store[5]["segment_ids"], tokens["segment_ids"][0])
    np.testing.assert_array_equal(store[5]["token_ids"], tokens["token_ids"][0])


def test_cls_alone(tiny_encoder, tiny_examples, expected, tmp_path):
    store = extract(tiny_encoder, tiny_examples, tmp_path / "store", tokens="cls", codec="float32", **SMALL)
    assert store.rows == 40
    for i, states in enumerate(expected):
        np.testing.assert_allclose(store[i]["hidden_states"], states[:, :1], atol=1e-5)
        assert store[i]["token_ids"].tolist() == [2]


def test_pooler_goes_first(tiny_encoder, tiny_examples, expected, tmp_path):
    store = extract(tiny_encoder, tiny_examples, tmp_path / "s", tokens="cls", pooler=True, codec="float32", **SMALL)
    assert store.num_hidden_states == 4
    dense = tiny_encoder.backbone.get_layer("pooled_dense")
    for i, states in enumerate(expected):
        pooled = np.tanh(states[-1, 0] @ np.asarray(dense.kernel) + np.asarray(dense.bias))
        np.testing.assert_allclose(store[i]["hidden_states"][0, 0], pooled, atol=1e-5)
        np.testing.assert_allclose(store[i]["hidden_states"][1:, 0], states[:, 0], atol=1e-5)


@pytest.mark.parametrize(("layers", "kept"), [([2, 0], [0, 2]), ([-1], [2]), ([1, 1, -2], [1])])
def test_some_layers(layers, kept, tiny_encoder, tiny_examples, expected, tmp_path):
    store = extract(tiny_encoder, tiny_examples, tmp_path / "store", layers=layers, codec="float32", **SMALL)
    assert store.spec.layers == tuple(kept)
    for i, states in enumerate(expected):
        np.testing.assert_allclose(store[i]["hidden_states"], states[kept], atol=1e-5)


def test_float_labels_stay_floats(tiny_encoder, tiny_examples, tmp_path):
    scores = dataclasses.replace(tiny_examples, labels=np.linspace(0, 5, 40, dtype=np.float32))
    store = extract(tiny_encoder, scores, tmp_path / "store", **SMALL)
    assert store.labels.dtype == np.float32
    np.testing.assert_array_equal(store.labels, scores.labels)


def test_bytes_do_not_depend_on_workers(whole, tiny_encoder, tiny_examples, tmp_path):
    for workers in (1, 2, 4):
        path = tmp_path / str(workers)
        extract(tiny_encoder, tiny_examples, path, workers=workers, **SMALL)
        assert read_files(path) == read_files(whole)


def test_no_time_is_written(whole, tiny_encoder, tiny_examples, tmp_path):
    """HDF5 counts seconds: a store of another second has the same bytes."""
    time.sleep(1.01)
    extract(tiny_encoder, tiny_examples, tmp_path / "store", **SMALL)
    assert read_files(tmp_path / "store") == read_files(whole)


def test_few_files_are_open_at_a_time(whole, monkeypatch):
    monkeypatch.setattr(reader, "OPEN_SHARDS", 2)
    before = len(os.listdir("/proc/self/fd"))
    store = open_store(whole)
    assert len(store.manifest.shards) >= 5
    states = [example["hidden_states"] for example in store]
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    monkeypatch.setattr(reader, "OPEN_SHARDS", 256)
    for one, other in zip(states, open_store(whole), strict=True):
        np.testing.assert_array_equal(one, other["hidden_states"])


# Damage


def test_verify_catches_any_flipped_bit(copy):
    store = open_store(copy)
    store.verify()
    file = copy / "shard-00001.h5"
    data = bytearray(file.read_bytes())
    for place in range(len(data)):
        with open(file, "r+b") as stream:
            stream.seek(place)
            stream.write(bytes([data[place] ^ 1 << place % 8]))
            stream.flush()
            with pytest.raises(StoreError, match=r"shard-00001\.h5 is damaged") as raised:
                store.verify()
            stream.seek(place)
            stream.write(bytes([data[place]]))
    only_line(raised)
    store.verify()


def open_and_verify(folder):
    store = open_store(folder)
    store.verify()
    return store


def test_a_flipped_bit_never_ends_in_another_error(tiny_encoder, tiny_examples, tmp_path):
    extract(tiny_encoder, tiny_examples.take(9), tmp_path, layers=[2])
    (file,) = tmp_path.glob("*.h5")
    data = file.read_bytes()
    for place in range(0, len(data), 5):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        with pytest.raises(StoreError, match=r"shard-00000\.h5 is damaged|shards of .* do not hold") as raised:
            open_and_verify(tmp_path)
        only_line(raised)


def test_a_flipped_bit_in_the_manifest(copy):
    """Such as one in the calibration, which would scale every number wrongly."""
    file = copy / "manifest.json"
    data = file.read_bytes()
    places = [place for place in range(0, len(data), 3) if not data[place : place + 1].isspace()]
    for place in places:
        file.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        with pytest.raises(StoreError, match=r"manifest\.json") as raised:
            open_store(copy)
        only_line(raised)


@pytest.mark.parametrize("size", [0, 100, 2048, -1])
def test_truncated_shard(size, copy):
    file = copy / "shard-00000.h5"
    whole = file.stat().st_size
    os.truncate(file, size if size >= 0 else whole - 1)
    with pytest.raises(StoreError) as raised:
        open_store(copy)
    assert f"shard-00000.h5 has {size % whole} bytes, the manifest says {whole}" in only_line(raised)


def test_missing_shard(copy):
    store = open_store(copy)
    (copy / "shard-00003.h5").unlink()
    with pytest.raises(StoreError) as raised:
        open_store(copy)
    assert "shard-00003.h5 is missing" in only_line(raised)
    with pytest.raises(StoreError, match=r"shard-00003\.h5 cannot be read: No such file"):
        store.verify()


def test_shards_that_changed_places(copy):
    one, other = copy / "shard-00000.h5", copy / "shard-00001.h5"
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    with pytest.raises(StoreError) as raised:
        open_store(copy).verify()
    assert "shard-00000.h5" in only_line(raised)


def test_another_format_version(copy):
    file = copy / "manifest.json"
    file.write_text(file.read_text().replace('"format": 1,', '"format": 7,'))
    with pytest.raises(StoreError, match=r"has format version 7, this library reads 1: extract again\.$"):
        open_store(copy)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no JSON object"),
        (b"[1, 2]", "no JSON object"),
        (b'{"format": 1', "no JSON object"),
        (b"\xff\xfe\x00", "not text"),
        (b'{"format": 1}', "damaged"),
        (b"{}", "format version None"),
    ],
)
def test_damaged_manifest(content, complaint, copy, tiny_encoder, tiny_examples):
    (copy / "manifest.json").write_bytes(content)
    for action in (lambda: open_store(copy), lambda: extract(tiny_encoder, tiny_examples, copy, **SMALL)):
        with pytest.raises(StoreError) as raised:
            action()
        assert complaint in only_line(raised) and "manifest.json" in str(raised.value)


def test_no_store(tmp_path):
    with pytest.raises(StoreError, match=f"^no store at {tmp_path / 'none'}: "):
        open_store(tmp_path / "none")


# Another store than the one that is asked for


@pytest.mark.parametrize(
    ("choices", "sides"),
    [
        ({"max_length": 64}, ("max_length 128", "asked for 64")),
        ({"codec": "int4"}, ("codec int8", "asked for int4")),
        ({"layers": [0, 1]}, ("layers (0, 1, 2)", "asked for (0, 1)")),
        ({"tokens": "cls"}, ("tokens all", "asked for cls")),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_choices_are_refused(choices, sides, finished, copy, tiny_encoder, tiny_examples):
    if not finished:
        leave_unfinished(copy)
    before = read_files(copy)
    with pytest.raises(StoreError) as raised:
        extract(tiny_encoder, tiny_examples, copy, **SMALL | choices)
    assert all(side in only_line(raised) for side in sides)
    assert read_files(copy) == before


def test_another_encoder_is_refused(copy, tiny_encoder, tiny_examples):
    name = tiny_encoder.name.replace("eps1e-12", "eps0.001")
    other = load_encoder(name)
    with pytest.raises(StoreError) as raised:
        extract(other, tiny_examples, copy, **SMALL)
    for side in (tiny_encoder.name, tiny_encoder.fingerprint, name, other.fingerprint):
        assert side in only_line(raised)


def test_other_examples_are_refused(copy, tiny_encoder, tiny_examples):
    with pytest.raises(StoreError, match=r"examples 40 .* asked for 39"):
        extract(tiny_encoder, tiny_examples.take(39), copy, **SMALL)
    relabelled = dataclasses.replace(tiny_examples, labels=1 - tiny_examples.labels)
    with pytest.raises(StoreError, match=rf"{tiny_examples.fingerprint} .* {relabelled.fingerprint}"):
        extract(tiny_encoder, relabelled, copy, **SMALL)


def test_a_finished_store_is_opened_whatever_its_shards(copy, tiny_encoder, tiny_examples, monkeypatch):
    monkeypatch.setattr(type(tiny_encoder), "tokenize_rows", None)  # and nothing is run
    before = read_files(copy)
    assert len(extract(tiny_encoder, tiny_examples, copy, batch_tokens=100, shard_rows=7)) == 40
    assert read_files(copy) == before


# Unfinished stores


def leave_unfinished(folder, shards=2):
    """Takes all but the first shards away, as a run leaves it that was ended there."""
    manifest = schema.read_manifest(folder)
    schema.write_manifest(folder, dataclasses.replace(manifest, shards=manifest.shards[:shards]))
    for entry in manifest.shards[shards:]:
        (folder / entry.name).unlink()
    return manifest


def test_unfinished_is_refused_and_gone_on_with(copy, whole, tiny_encoder, tiny_examples):
    total = len(leave_unfinished(copy).shards)
    with pytest.raises(StoreError) as raised:
        open_store(copy)
    assert f"{copy} is unfinished (2 of {total} shards): run the same extraction again" in only_line(raised)
    extract(tiny_encoder, tiny_examples, copy, **SMALL)
    assert read_files(copy) == read_files(whole)


@pytest.mark.parametrize("choices", [{"batch_tokens": 20}, {"shard_rows": 30}, {"shard_rows": None}])
def test_going_on_keeps_to_the_batches_it_was_begun_with(choices, copy, whole, tiny_encoder, tiny_examples):
    leave_unfinished(copy)
    extract(tiny_encoder, tiny_examples, copy, **SMALL | choices)
    assert read_files(copy) == read_files(whole)


def test_other_versions_do_not_go_on(copy, tiny_encoder, tiny_examples, monkeypatch):
    from bertvision_tf.extraction import extract as module  # the function shadows its module

    leave_unfinished(copy)
    described = sys.modules[module.__module__]._describe_versions(tiny_encoder)
    monkeypatch.setattr(
        sys.modules[module.__module__], "_describe_versions", lambda encoder: described | {"tensorflow": "1.0"}
    )
    with pytest.raises(StoreError) as raised:
        extract(tiny_encoder, tiny_examples, copy, **SMALL)
    assert f"begun with tensorflow {described['tensorflow']}, now it is 1.0" in only_line(raised)


def test_a_whole_shard_that_is_not_in_the_manifest_is_taken(copy, whole, tiny_encoder, tiny_examples, monkeypatch):
    manifest = leave_unfinished(copy)
    shutil.copy(whole / manifest.shards[2].name, copy)
    written = []
    write = StoreWriter.write_shard
    monkeypatch.setattr(
        StoreWriter, "write_shard", lambda self, *rest: written.append(self.next_shard) or write(self, *rest)
    )
    extract(tiny_encoder, tiny_examples, copy, **SMALL)
    assert written == list(range(3, len(manifest.shards)))
    assert read_files(copy) == read_files(whole)


@pytest.mark.parametrize("damage", ["another shard", "truncated", "no HDF5", "empty"])
def test_a_strange_shard_is_written_anew(damage, copy, whole, tiny_encoder, tiny_examples):
    leave_unfinished(copy)
    data = (whole / "shard-00002.h5").read_bytes()
    strange = {"another shard": (whole / "shard-00003.h5").read_bytes(), "truncated": data[:-9], "no HDF5": b"x" * 900}
    (copy / "shard-00002.h5").write_bytes(strange.get(damage, b""))
    extract(tiny_encoder, tiny_examples, copy, **SMALL)
    assert read_files(copy) == read_files(whole)


def test_leftovers_are_swept_away(copy, whole, tiny_encoder, tiny_examples):
    leave_unfinished(copy)
    (copy / ".shard-00002.h5.partial").write_bytes(b"half")
    (copy / ".manifest.json.partial").write_bytes(b"half")
    extract(tiny_encoder, tiny_examples, copy, **SMALL)
    assert read_files(copy) == read_files(whole)


# Where it cannot be written


def test_a_folder_with_strangers(tiny_encoder, tiny_examples, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError) as raised:
        extract(tiny_encoder, tiny_examples, tmp_path, **SMALL)
    assert f"{tmp_path} holds 'thesis.tex' and no manifest" in only_line(raised)
    assert read_files(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize(("name", "reason"), [("file", "File exists"), ("file/store", "Not a directory")])
def test_a_file_in_the_way(name, reason, tiny_encoder, tiny_examples, tmp_path):
    (tmp_path / "file").write_text("here first")
    with pytest.raises(StoreError) as raised:
        extract(tiny_encoder, tiny_examples, tmp_path / name, **SMALL)
    assert only_line(raised) == f"{tmp_path / name} cannot be written: {reason}."
    assert (tmp_path / "file").read_text() == "here first"


def test_two_writers(tiny_encoder, tiny_examples, whole, tmp_path):
    path = tmp_path / "store"
    path.mkdir()
    hold = f"import fcntl, os; fcntl.flock(os.open({str(path)!r}, os.O_RDONLY), fcntl.LOCK_EX); print(1); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as other:
        other.stdout.readline()
        with pytest.raises(StoreError) as raised:
            extract(tiny_encoder, tiny_examples, path, **SMALL)
        other.communicate(b"\n")
    assert only_line(raised) == f"{path} is being written by another process."
    assert not any(path.iterdir())
    extract(tiny_encoder, tiny_examples, path, **SMALL)
    assert read_files(path) == read_files(whole)


def test_the_folder_is_let_go_after_an_error(tiny_encoder, tiny_examples, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SPARE_BYTES", 2**60)
    with pytest.raises(StoreError):
        extract(tiny_encoder, tiny_examples, tmp_path, **SMALL)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


def test_too_little_room_is_known_before_anything_runs(tiny_encoder, tiny_examples, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SPARE_BYTES", 2**60)
    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", None)
    with pytest.raises(StoreError) as raised:
        extract(tiny_encoder, tiny_examples, tmp_path / "store", **SMALL)
    assert "needs 0.0 MiB and 1073741824.00 GiB beside it, the disk has" in only_line(raised)
    assert not any((tmp_path / "store").iterdir())


class FullDisk:
    """Stands in for `os.fsync`: the disk is full at the call of this number, and at the next ones."""

    def __init__(self, call):
        self.calls, self.full_at = 0, call

    def __call__(self, file):
        self.calls += 1
        if self.calls >= self.full_at:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("call", range(1, 11))  # manifest, shard, folder, manifest, shard, …
def test_a_disk_that_fills_up(call, tiny_encoder, tiny_examples, whole, tmp_path, monkeypatch):
    path = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", FullDisk(call))
        with pytest.raises(StoreError) as raised:
            extract(tiny_encoder, tiny_examples, path, **SMALL)
    assert only_line(raised).startswith(f"the disk of {path} is full; what is finished is kept")
    found, all_files = read_files(path), read_files(whole)
    assert not [name for name in found if "partial" in name]
    for name in found.keys() - {"manifest.json"}:
        assert found[name] == all_files[name]
    extract(tiny_encoder, tiny_examples, path, **SMALL)
    assert read_files(path) == all_files


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("room", [0, 4, 12, 16, 24, 40])  # KiB
def test_a_disk_that_is_really_full(room, tiny_encoder, tiny_examples, whole, small_disk, monkeypatch):
    monkeypatch.setattr(writer, "SPARE_BYTES", -(2**30))  # else it is known before
    (small_disk / "filler").write_bytes(b"x" * (1024 - room) * 1024)
    path = small_disk / "store"
    with pytest.raises(StoreError) as raised:
        extract(tiny_encoder, tiny_examples, path, **SMALL)
    assert only_line(raised).startswith(f"the disk of {path} is full; what is finished is kept")
    assert not list(path.glob(".*"))
    finished = len(list(path.glob("*.h5")))
    assert finished >= (2 if room == 40 else 0)
    (small_disk / "filler").unlink()
    extract(tiny_encoder, tiny_examples, path, **SMALL)
    assert read_files(path) == read_files(whole)


def test_choices_that_contradict_themselves(tiny_encoder, tiny_examples, tmp_path):
    for choices, complaint in [
        ({"pooler": True}, "`pooler=True` needs `tokens='cls'`"),
        ({"tokens": "some"}, "`tokens` needs 'all' or 'cls', got 'some'"),
        ({"layers": []}, "`layers` needs at least one hidden state"),
        ({"layers": [3]}, "`layers` needs indices below 3"),
        ({"codec": "int3"}, f"codec 'int3' is not known; known: {', '.join(CODECS)}"),
    ]:
        with pytest.raises(StoreError, match=re.escape(complaint)) as raised:
            extract(tiny_encoder, tiny_examples, tmp_path / "store", **choices)
        only_line(raised)
    assert not (tmp_path / "store").exists()


def test_manifest_reads_as_json(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["spec"]["examples"] == 40
    assert sum(shard["examples"] for shard in manifest["shards"]) == 40
