import shutil

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.extraction import estimate


@pytest.fixture
def splits():
    return [bv.get_task("starter").load("train").take(90), bv.get_task("starter").load("dev").take(30)]


@pytest.mark.parametrize(("codec", "mode"), [("float32", "all"), ("int8", "all"), ("int2", "all"), ("int4", "cls")])
def test_bytes_are_those_of_the_store_but_for_hdf5s_own(codec, mode, tiny_encoder, splits, tmp_path):
    found = estimate(tiny_encoder, splits, tmp_path, max_length=16, seconds=0.1)
    stores = [
        bv.extract(tiny_encoder, rows, tmp_path / rows.split, codec=codec, tokens=mode, max_length=16)
        for rows in splits
    ]
    bytes_ = sum(store.bytes for store in stores)
    own = 2 * 4096  # of HDF5 for a shard and its tables, and the manifest's
    assert found.bytes[codec][mode] == pytest.approx(bytes_, abs=2 * own, rel=0.02)
    assert found.examples == 120
    if mode == "all":
        assert found.tokens == sum(store.rows for store in stores)


def test_counts_and_rate(tiny_encoder, splits, tmp_path):
    found = estimate(tiny_encoder, splits, tmp_path, max_length=5, seconds=0.1)
    assert found.longest == 5
    lengths = [tiny_encoder.tokenize_rows(rows.texts, None, 128).lengths for rows in splits]
    assert found.truncated == sum(int((part > 5).sum()) for part in lengths) > 0
    assert found.tokens == sum(int(np.minimum(part, 5).sum()) for part in lengths)
    assert found.states == 3
    assert found.hours == pytest.approx(found.tokens / found.tokens_per_second / 3600)
    fewer = estimate(tiny_encoder, splits, tmp_path, max_length=5, layers=[-1], seconds=0.1)
    assert (fewer.states, fewer.tokens) == (1, found.tokens)


def test_room_on_the_disk(tiny_encoder, splits, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    found = estimate(tiny_encoder, splits, tmp_path / "not" / "there" / "yet", max_length=16, seconds=0.1)
    assert found.free_bytes == 10_000
    assert not found.fits("float32", "all")
    assert found.fits("int2", "cls") == (found.bytes["int2"]["cls"] < 10_000)
