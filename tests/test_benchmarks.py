"""The contenders of the benchmarks."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "contenders.py"


@pytest.fixture(scope="module")
def contenders():
    spec = importlib.util.spec_from_file_location("contenders", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_contender_answers(contenders):
    assert contenders.run_contender("one", [sys.executable, "-c", "print('noise'); print([1, 2.5])"]) == [1, 2.5]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "one was killed by SIGSEGV"),
        ("raise ValueError('no such thing')", "one failed: ValueError: no such thing"),
        ("raise SystemExit(3)", "one failed: exit status 3"),
    ],
)
def test_a_contender_that_fails_is_named(contenders, code, line):
    with pytest.raises(SystemExit, match=f"^{line}$"):
        contenders.run_contender("one", [sys.executable, "-c", code])


def test_batches_go_there_and_back(contenders, tmp_path):
    batches = [{"a": np.arange(place + 1), "b": np.ones((2, place))} for place in range(12)]
    contenders.write_batches(tmp_path / "batches.npz", batches)
    for one, other in zip(contenders.read_batches(tmp_path / "batches.npz"), batches, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
