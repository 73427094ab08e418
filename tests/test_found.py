"""Inputs that a fuzzer found and that once ended in a traceback or in several lines; see benchmarks/torture/fuzz.py."""

import sys
import time
from pathlib import Path

import pytest

from bertvision_tf.errors import TaskError

FOLDER = Path(__file__).parent / "found"
sys.path.insert(0, str(FOLDER.parents[1] / "benchmarks" / "torture"))

import fuzz  # noqa: E402


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    fuzz.make_small(folder)
    return folder


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*/*")), ids=lambda file: f"{file.parent.name}-{file.name}")
def test_found_inputs_are_read_or_refused(file, small, tmp_path):
    target = fuzz.TARGETS[file.parent.name]
    (tmp_path / fuzz.SMALL).symlink_to(small)
    target.prepare(tmp_path)
    assert fuzz.judge(target, tmp_path, file.read_bytes()) == ""


@pytest.mark.parametrize("name", [name for name in fuzz.TARGETS if not name.startswith("page")])
def test_targets_read_what_they_begin_with(name, small, tmp_path):
    target = fuzz.TARGETS[name]
    (tmp_path / fuzz.SMALL).symlink_to(small)
    for content in target.prepare(tmp_path):
        assert fuzz.judge(target, tmp_path, content) == ""
        assert fuzz.judge(target, tmp_path, content[: len(content) // 2]) == ""


def test_an_error_of_another_kind_is_told():
    target = fuzz.Target(lambda folder: [b""], lambda folder, content: content.decode("ascii"), ())
    assert fuzz.judge(target, Path(), b"a") == ""
    assert fuzz.judge(target, Path(), b"\xff").startswith("UnicodeDecodeError at elsewhere: ")


def test_an_input_that_takes_too_long_is_told(monkeypatch):
    def wait(folder, content):
        try:
            time.sleep(10)
        except OSError:  # which TimeoutError is
            raise TaskError("it cannot be read") from None

    monkeypatch.setattr(fuzz, "SLOWEST", 1)
    assert fuzz.judge(fuzz.Target(lambda folder: [b""], wait, ()), Path(), b"a") == "longer than 1 seconds"
