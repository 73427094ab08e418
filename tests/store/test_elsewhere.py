"""A store in other folders and processes."""

import multiprocessing
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from bertvision_tf import extract, open_store


@pytest.fixture(scope="module")
def store(tiny_encoder, tiny_examples, tmp_path_factory):
    return extract(tiny_encoder, tiny_examples, tmp_path_factory.mktemp("elsewhere") / "states", max_length=16)


def read_row(store, row):
    return store[row]["hidden_states"]


def test_a_pickled_store_reads_the_same(store):
    copy = pickle.loads(pickle.dumps(store))
    assert len(copy) == len(store) == 40
    for row in (0, 7, 39):
        np.testing.assert_array_equal(copy[row]["hidden_states"], store[row]["hidden_states"])
    view = pickle.loads(pickle.dumps(store.select([0, 2])))
    np.testing.assert_array_equal(view[7]["hidden_states"], store[7]["hidden_states"][[0, 2]])


@pytest.mark.parametrize("method", ["spawn"])
def test_a_store_in_another_process(store, method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(read_row, (store, 7)), store[7]["hidden_states"])


def test_a_store_outlives_a_change_of_folder(store, monkeypatch, tmp_path):
    monkeypatch.chdir(store.path.parent)
    opened = open_store("states")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(opened[7]["hidden_states"], store[7]["hidden_states"])
    opened.verify()


def test_the_home_folder(store, monkeypatch):
    monkeypatch.setenv("HOME", str(store.path.parent))
    assert open_store("~/states").path.samefile(store.path)
    assert not os.path.exists("~")


def test_a_store_in_a_forked_process(store):
    code = (
        "import multiprocessing, sys; from bertvision_tf import open_store\n"
        "store = open_store(sys.argv[1]); row = store[7]['hidden_states']\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: found = pool.map(store.__getitem__, [7, 8, 7])\n"
        "print((found[0]['hidden_states'] == row).all(), (found[2]['hidden_states'] == row).all())"
    )
    command = [sys.executable, "-c", code, str(store.path)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert found.stdout == "True True\n", found.stderr


@pytest.mark.parametrize("index", [True, np.True_, slice(0, 2), "0", 1.5, None])
def test_an_example_is_named_by_a_whole_number(store, index):
    with pytest.raises(TypeError, match="by whole numbers"):
        store[index]
