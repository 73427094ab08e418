"""Stores that were made to do harm: no other file is read, no memory is taken beyond the file's, one line is said."""

import dataclasses
import hashlib
import json
import os
import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from bertvision_tf.errors import StoreError
from bertvision_tf.extraction import extract
from bertvision_tf.store import open_store
from bertvision_tf.store.schema import read_manifest, write_manifest

SMALL = {"batch_tokens": 64, "shard_rows": 80}


@pytest.fixture
def store(tiny_encoder, tiny_examples, tmp_path):
    return extract(tiny_encoder, tiny_examples.take(9), tmp_path / "store")


def enter(store):
    """Makes the manifest say that the shard's file is as it should be."""
    manifest = read_manifest(store.path)
    content = (store.path / "shard-00000.h5").read_bytes()
    own = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    entry = dataclasses.replace(manifest.shards[0], **own)
    write_manifest(store.path, dataclasses.replace(manifest, shards=(entry,)))


def refuse(store, says):
    for check in ("once", "never"):
        with pytest.raises(StoreError) as raised:
            open_store(store.path, check=check)
        message = str(raised.value)
        assert "\n" not in message and says in message and "shard-00000.h5 is damaged (" in message


def replace(store, name, build):
    with h5py.File(store.path / "shard-00000.h5", "r+") as shard:
        kept = shard[name][()]
        del shard[name]
        build(shard, kept)
    enter(store)


@pytest.mark.parametrize("name", ["labels", "ids", "token_ids", "lengths", "hidden_states"])
def test_links_are_not_followed(store, name, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["held"] = np.zeros(9, np.int32)
    for build in (
        lambda shard, kept: shard.__setitem__(name, h5py.ExternalLink(str(tmp_path / "secret.h5"), "held")),
        lambda shard, kept: shard.__setitem__(name, h5py.SoftLink("/example_index")),
    ):
        content = (store.path / "shard-00000.h5").read_bytes()
        replace(store, name, build)
        refuse(store, f"{name} is a link to another place")
        (store.path / "shard-00000.h5").write_bytes(content)


def test_bytes_in_other_files_are_not_read(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(36)))

    def build(shard, kept):
        shard.create_dataset("labels", (9,), np.int32, external=[(str(secret), 0, 36)])

    replace(store, "labels", build)
    refuse(store, "labels is not stored as numbers in one piece")


def test_virtual_packed_and_other_datasets_are_refused(store):
    layout = h5py.VirtualLayout((9,), np.int32)
    layout[:] = h5py.VirtualSource("shard-00000.h5", "lengths", (9,))
    for build in (
        lambda shard, kept: shard.create_virtual_dataset("labels", layout),
        lambda shard, kept: shard.create_dataset("labels", data=kept, chunks=(9,), compression="gzip"),
        lambda shard, kept: shard.create_dataset("labels", data=["a"] * 9, dtype=h5py.string_dtype()),
        lambda shard, kept: shard.create_dataset("labels", (9,), [("a", "<i4")]),
        lambda shard, kept: shard.create_group("labels"),
    ):
        content = (store.path / "shard-00000.h5").read_bytes()
        replace(store, "labels", build)
        refuse(store, "labels")
        (store.path / "shard-00000.h5").write_bytes(content)


def test_absurd_shapes_take_no_memory(store):
    """Of a dataset that says to have a terabyte, and of a bomb of packed zeros."""
    huge = {"chunks": (9, 10**6), "compression": "gzip"}
    for name, build in (
        ("ids", lambda shard, kept: shard.create_dataset("ids", (9,), "S1000000000")),
        ("labels", lambda shard, kept: shard.create_dataset("labels", (9, 10**11), np.int32)),
        ("labels", lambda shard, kept: shard.create_dataset("labels", (9, 10**7), np.int32, **huge)),
    ):
        content = (store.path / "shard-00000.h5").read_bytes()
        replace(store, name, build)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refuse(store, "")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
        (store.path / "shard-00000.h5").write_bytes(content)


def forge(store, change):
    """Writes the manifest anew, with the checksum that belongs to it."""
    content = json.loads((store.path / "manifest.json").read_text())
    del content["sha256"]
    change(content)
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (store.path / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one["shards"][0].update(name="../../secret.h5"),
        lambda one: one["shards"][0].update(name="/etc/passwd"),
        lambda one: one["shards"][0].update(rows=10**30),
        lambda one: one["shards"][0].update(examples=-1),
        lambda one: one["shards"][0].update(bytes="1"),
        lambda one: one["shards"][0].update(rows=True),
        lambda one: one["shards"][0].update(sha256="0"),
        lambda one: one["shards"].append({}),
        lambda one: one["spec"].update(examples=10**15),
        lambda one: one["spec"].update(hidden_dim=10**18),
        lambda one: one["spec"].update(layers=["0"]),
        lambda one: one["spec"].update(layers=[-1, 0, 1]),
        lambda one: one["spec"].update(codec={"a": 1}),
        lambda one: one["spec"].update(max_length=float("nan")),
        lambda one: one.update(num_shards=1.5),
        lambda one: one.update(made_with={"dtype": 3}),
        lambda one: one.update(made_with=[]),
        lambda one: one.update(more=1),
        lambda one: one["calibration"].update(mean="AAAA"),
        lambda one: one["calibration"].update(mean=7),
        lambda one: one.update(shards="all"),
        lambda one: one.update(spec=None),
    ],
)
def test_forged_manifests_are_refused_in_one_line(store, change):
    forge(store, change)
    with pytest.raises(StoreError) as raised:
        open_store(store.path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"format": 1, "a": ' + "[" * 100_000,
        '{"format": 1, "format": 1}',
        '{"format": 1e400}',
        '{"format": 1, "sha256": null}',
        "9" * 5000,
        '{"format": ' + "9" * 5000 + "}",
    ],
)
def test_manifests_that_no_reader_likes(store, content):
    (store.path / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match=r"manifest\.json") as raised:
        open_store(store.path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1000


def test_a_store_of_many_examples_that_are_not_there_takes_no_memory(store):
    forge(store, lambda one: one["spec"].update(examples=2**46))
    code = f"""
import resource
from bertvision_tf.store import open_store
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
open_store({str(store.path)!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.stderr.splitlines()[-1].endswith(f"do not hold each of its {2**46} examples once.")
