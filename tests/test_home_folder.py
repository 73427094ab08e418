"""A path that begins with ~ means the home folder, in the functions and in the command."""

import os
import pickle
import sys

import numpy as np
import pytest

from bertvision_tf import extract, load_encoder, load_run, open_store, task_from_table, train
from bertvision_tf.cli.process import expand_home
from bertvision_tf.errors import BertvisionError

from .conftest import TINY


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield tmp_path / "home"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_every_path_of_a_run(home, tiny_encoder, tiny_examples):
    rows = [f"{text},{'yes' if row % 2 else 'no'}" for row, text in enumerate(tiny_examples.texts)]
    (home / "t.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    task = task_from_table("~/t.csv", "~/t.csv")
    run = train(
        task, tiny_encoder, head="learned_pooling", seeds=1, store="~/states", output="~/run", tensorboard="~/logs",
        baselines=False, fit={"epochs": 1},
    )  # fmt: skip
    assert run.path == home / "run"
    assert (home / "states").is_dir() and (home / "logs").is_dir()
    assert load_run("~/run").results == run.results
    extract(tiny_encoder, tiny_examples, "~/kept", max_length=16)
    assert len(open_store("~/kept")) == len(tiny_examples)
    (home / "encoder").symlink_to(TINY)
    assert load_encoder("~/encoder").fingerprint == tiny_encoder.fingerprint


def test_a_run_outlives_a_change_of_folder(home, tiny_encoder, tiny_examples, monkeypatch):
    monkeypatch.chdir(home)
    table = {"text": tiny_examples.texts, "label": ["no", "yes"] * 20}
    train(
        task_from_table(table, table), tiny_encoder, head="learned_pooling", seeds=1, store="states", output="run",
        baselines=False, fit={"epochs": 1},
    )  # fmt: skip
    run = load_run("run")
    monkeypatch.chdir(home.parent / "elsewhere")
    run._encoder = tiny_encoder
    expected = run.predict(["the cat eats ."])
    copied = pickle.loads(pickle.dumps(run))  # after it has loaded what cannot be pickled
    np.testing.assert_array_equal(copied.predict(["the cat eats ."]).probabilities, expected.probabilities)
    assert [len(store) for store in run.open_stores()] == [40, 40]


def test_arguments_of_the_command(monkeypatch, home):
    for argument, expected in {
        "--output=~/runs": f"--output={home}/runs",
        "--store=~": f"--store={home}",
        "~/a.csv": f"{home}/a.csv",
        "--name=a~/b": "--name=a~/b",
        "~user/a": "~user/a",
        "a=~/b": "a=~/b",
    }.items():
        assert expand_home(argument) == expected
    assert os.path.expanduser("~") == str(home) and sys.argv


@pytest.mark.parametrize("function", [open_store, load_run, load_encoder, task_from_table])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("~nobody-of-this-name/a.csv", "could not determine home"),
        ("a\0.csv", "null character"),
        ("/".join(["z" * 200] * 40), "longer than a path may be"),
        ("z" * 300, "longer than a path may be"),
    ],
)
def test_what_is_no_path(function, path, reason):
    with pytest.raises(BertvisionError, match=f"is no path: .*{reason}"):
        function(path)
