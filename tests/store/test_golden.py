import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bertvision_tf.store import CODECS, open_store

GOLDEN = Path(__file__).parent / "golden"
MOST = {"float32": 0, "float16": 4e-4, "bfloat16": 3e-3, "int8": 0.01, "int4": 0.12, "int2": 0.38}


@pytest.mark.parametrize("codec", list(CODECS))
def test_golden_store_gives_its_numbers(codec):
    numbers = np.load(GOLDEN / "numbers.npz")
    store = open_store(GOLDEN / codec)
    store.verify()
    start = 0
    for i, length in enumerate([3, 1, 4, 2]):
        rows = np.arange(start, start + length)
        start += length
        assert store[i]["id"] == f"é-{i}"
        assert store[i]["label"] == i % 3
        np.testing.assert_array_equal(store[i]["token_ids"], 100 + rows)
        np.testing.assert_array_equal(store[i]["segment_ids"], rows % 2)
        np.testing.assert_array_equal(store[i]["hidden_states"], numbers[codec][rows].transpose(1, 0, 2))
    error = np.linalg.norm(numbers[codec] - numbers["states"]) / np.linalg.norm(numbers["states"])
    assert error <= MOST[codec]
    assert store.manifest.truncated == 1
    assert store.spec.layers == (0, 3)


@pytest.mark.parametrize("codec", ["int8", "int4"])
def test_writing_it_anew_gives_its_bytes(codec, tmp_path):
    """For the HDF5 version at hand: what is written today is what was written then."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("make_golden", Path(__file__).with_name("make_golden.py"))
    make_golden = module_from_spec(spec)
    spec.loader.exec_module(make_golden)
    make_golden.write_store(tmp_path / codec, codec, np.load(GOLDEN / "numbers.npz")["states"])
    for file in ("shard-00000.h5", "shard-00001.h5", "manifest.json"):
        assert (tmp_path / codec / file).read_bytes() == (GOLDEN / codec / file).read_bytes()


def test_golden_manifest_is_of_version_1(tmp_path):
    manifest = json.loads((GOLDEN / "int8" / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert [shard["rows"] for shard in manifest["shards"]] == [7, 3]
    copy = shutil.copytree(GOLDEN / "int8", tmp_path / "copy")
    assert open_store(copy)[2]["id"] == "é-2"  # a store may be moved
