"""`bertvision doctor`: what is there, what is missing, and a trial of the whole way."""

import importlib.util
import sys

import pytest

from bertvision_tf.errors import EncoderError
from bertvision_tf.experiments import doctor
from bertvision_tf.experiments.doctor import EXTRAS, examine

from .command import run_here


def find(findings, topic, name):
    return next(one for one in findings if (one.topic, one.name) == (topic, name))


def test_what_is_there_is_told():
    findings = list(examine(trial=False))
    assert not any(finding.broken for finding in findings)
    assert {finding.topic for finding in findings} == {"versions", "machine", "places", "encoders", "packages"}
    assert find(findings, "versions", "tensorflow").found[0] == "2"
    assert "GiB free of " in find(findings, "machine", "memory").found
    assert find(findings, "encoders", "minilm").found.endswith("model")


def test_a_missing_package_is_told_with_its_remedy(monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in EXTRAS else known(name))
    found = find(examine(trial=False), "packages", "ray")
    assert (found.found, found.remedy, found.broken) == (
        "missing, for --ray",
        "pip install 'bertvision-tf[ray]'",
        False,
    )


def test_a_folder_that_cannot_be_written_is_broken(monkeypatch, tmp_path):
    monkeypatch.setenv("BERTVISION_CACHE", str(tmp_path / "cache" / "deeper"))
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: place != tmp_path)
    found = find(examine(trial=False), "places", "cache")
    assert found.broken
    assert found.remedy == "set BERTVISION_CACHE to another folder"


def test_the_whole_way_is_tried():
    done = run_here("doctor")
    assert done.returncode == 0, done.output
    lines = done.stdout.splitlines()
    steps = lines[lines.index("trial") + 1 : -1]
    assert [line.split()[0] for line in steps] == ["extract", "read", "train", "predict"]
    assert "100 texts in 7 hidden states" in steps[0]
    assert lines[-1] == "the library works here"


def test_a_tensorflow_that_cannot_be_imported_is_told(monkeypatch):
    def fail():
        raise ImportError("libcuda is missing\nand more")

    monkeypatch.setattr(sys.modules["bertvision_tf.cli.doctor"], "start_tensorflow", fail)
    done = run_here("doctor")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: TensorFlow cannot be imported: libcuda is missing; install the library anew.\n"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(EncoderError("no encoder."), "no encoder."), (OSError("\nno disk\nat all"), "OSError: no disk")],
)
def test_a_step_that_fails_is_the_last(error, remedy, monkeypatch):
    def fail(name):
        raise error

    monkeypatch.setattr(doctor, "load_encoder", fail)
    done = run_here("doctor")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-4:] == [
        "trial",
        "  extract          failed",
        f"                   → {remedy}",
        "the library does not work here",
    ]
