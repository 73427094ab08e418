"""Processes forked from one in which TensorFlow has run."""

import multiprocessing
import subprocess
import sys

import pytest

from bertvision_tf import load_encoder
from tests.conftest import CHECKPOINTS

TINY = str(CHECKPOINTS / "bert-gelu-eps1e-12-segments2")
FORK = """
import multiprocessing, sys
import bertvision_tf as bv

def run(what, name):
    try:
        if what == "early":
            return encoder.hidden_states(tokens).shape[0] == 1
        if what == "load":
            bv.load_encoder(name)
        elif what == "run":
            encoder.hidden_states(tokens)
        elif what == "head":
            bv.build_head("last_layer", num_hidden_states=3, hidden_dim=8)
        elif what == "images":
            bv.images_from_encoder(encoder, examples)
        return "done"
    except bv.BertvisionError as error:
        return str(error)

pool = multiprocessing.get_context("fork").Pool
encoder = bv.load_encoder(sys.argv[1])
examples = bv.get_task("starter").load("dev").take(3)
tokens = encoder.tokenize(["She sleeps."])
with pool(1) as early:  # TensorFlow is imported, and has not run
    assert early.apply_async(run, ("early", sys.argv[1])).get(60) is True
encoder.hidden_states(tokens)
with pool(1) as late:
    for what in ("load", "run", "head", "images"):
        print(what, late.apply_async(run, (what, sys.argv[1])).get(60))
print(encoder.hidden_states(tokens).shape[0])
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no forks here")
def test_a_forked_process_says_that_it_would_hang():
    done = subprocess.run([sys.executable, "-c", FORK, TINY], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *said, parent = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in said] == ["load", "run", "head", "images"]
    assert all("forked" in line and "'spawn'" in line for line in said)
    assert parent == "1"


def _count(name):
    encoder = load_encoder(name)
    return encoder.hidden_states(encoder.tokenize(["She sleeps."])).shape


def test_a_spawned_process_runs():
    here = _count(TINY)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(_count, (TINY,)).get(120) == here
