"""Extraction in processes that end themselves at a chosen moment; `make torture` does it at random ones."""

import signal
import subprocess
import sys

import pytest

from bertvision_tf.extraction import extract
from bertvision_tf.store import schema

SMALL = {"batch_tokens": 64, "shard_rows": 80}

# Files are flushed in this order: manifest, then for each shard: the shard, its folder, the manifest.
CHILD = """
import os, signal, sys
import numpy as np
from bertvision_tf.encoders import load_encoder
from bertvision_tf.extraction import extract
from bertvision_tf.tasks import Examples

path, encoder, texts, labels, at_flush = sys.argv[1], sys.argv[2], *map(eval, sys.argv[3:])
examples = Examples("cola", "train", [f"train-{i}" for i in range(40)], texts, None, np.array(labels, np.int32))
encoder, flush, calls = load_encoder(encoder), os.fsync, iter(range(1, 1000))

def flush_or_die(file):
    flush(file)
    if next(calls) == at_flush:
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = flush_or_die
extract(encoder, examples, path, batch_tokens=64, shard_rows=80)
"""
MOMENTS = {  # the flush after which it ends, and what is then there: shards, shards in the manifest, leftovers
    "the second shard is written, not yet named": (5, 1, 1, [".shard-00001.h5.partial"]),
    "the second shard is named, not yet in the manifest": (6, 2, 1, []),
    "the manifest with the second shard is written, not yet named": (7, 2, 1, [".manifest.json.partial"]),
}


def read_files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.slow
def test_killed_extractions_go_on_to_the_same_bytes(tiny_encoder, tiny_examples, tmp_path):
    children = {}
    for moment, (at_flush, *_) in MOMENTS.items():
        texts, labels = repr(list(tiny_examples.texts)), repr(tiny_examples.labels.tolist())
        command = [sys.executable, "-c", CHILD, tmp_path / moment, tiny_encoder.name, texts, labels, repr(at_flush)]
        children[moment] = subprocess.Popen(command, stderr=subprocess.PIPE)
    extract(tiny_encoder, tiny_examples, tmp_path / "left alone", **SMALL)
    left_alone = read_files(tmp_path / "left alone")
    for moment, (_, shards, entries, leftovers) in MOMENTS.items():
        path = tmp_path / moment
        errors = children[moment].communicate(timeout=120)[1]
        assert children[moment].returncode == -signal.SIGKILL, errors.decode()
        assert len(list(path.glob("shard-*.h5"))) == shards
        assert len(schema.read_manifest(path).shards) == entries
        assert [file.name for file in path.glob(".*")] == leftovers
        extract(tiny_encoder, tiny_examples, path, **SMALL)
        assert read_files(path) == left_alone
