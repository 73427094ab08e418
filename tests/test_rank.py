"""Encoders and their layers in the order of LogME."""

import csv
from pathlib import Path

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import BertvisionError

from .command import run_here

CHECKPOINTS = Path(__file__).parent / "checkpoints"
ENCODERS = [str(CHECKPOINTS / name) for name in ("bert-gelu-eps1e-12-segments2", "mpnet", "modernbert")]
WORDS = "the a cat cats dog dogs bird has have eat is can not run".split()


def make_table(folder, numeric=False):
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 6)) for _ in range(120)]
    labels = [0.5 * text.count("cat") if numeric else int("cat" in text) for text in texts]
    file = folder / "table.csv"
    with open(file, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    return file


def test_the_command_and_its_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = make_table(tmp_path)
    done = run_here("rank", *ENCODERS, "--train", table, "--output", "ranks.csv")
    assert done.returncode == 0, done.stderr
    assert "best layer" in done.stdout and done.stdout.endswith("wrote ranks.csv\n")
    with open("ranks.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["layer"] for row in rows if row["encoder"] == ENCODERS[1]] == ["0", "1", "2", "3", "mean"]
    # Whether a word stands in a text is plain in the mean of its embeddings; random blocks only blur it.
    assert {max(rows[:4], key=lambda row: float(row["log_me"]))["layer"]} <= {"0", "mean"}
    assert all(float(row["h_score"]) >= 0 and float(row["seconds"]) >= 0 for row in rows)


def test_scores_have_no_h_score_and_states_are_found_again(tmp_path):
    task = bv.task_from_table(make_table(tmp_path, numeric=True), text="text", label="label", kind="regression")
    first, again = (list(bv.rank_encoders(ENCODERS[:1], task, store=tmp_path / "s")) for _ in range(2))
    assert [one.log_me for one in first] == [one.log_me for one in again]
    assert {one.h_score for one in first} == {None}
    assert again[0].extraction_seconds < first[0].extraction_seconds


def test_what_is_wrong_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = make_table(tmp_path)
    (tmp_path / "file").write_text("")
    for arguments, says in (
        ([ENCODERS[0], "none"], "no encoder 'none'"),
        ([ENCODERS[0], "--output", "file/a.csv"], ""),
    ):
        done = run_here("rank", *arguments, "--train", table)
        assert done.returncode == 1 and says in done.stderr and done.stderr.count("error: ") == 1
    assert not (tmp_path / "states").exists()


def test_what_cannot_be_ranked(tmp_path):
    done = run_here("rank", ENCODERS[0], "--task", "squad2", "--data-dir", tmp_path)
    assert done.returncode == 1 and "asks for answers in a text" in done.stderr
    task = bv.task_from_table(make_table(tmp_path), text="text", label="label")
    ranks = bv.rank_encoders(ENCODERS[:1], task, store=tmp_path / "s", limit=1)
    with pytest.raises(BertvisionError) as error:
        next(ranks)
    assert "\n" not in str(error.value)
    assert run_here("rank").returncode == 2
