"""GLUE's leaderboard files from finished runs, in the leaderboard's own format."""

from pathlib import Path

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError, TaskError
from bertvision_tf.runs.submission import write_submission

from .command import run_here

FIT = bv.FitConfig(epochs=1, patience=1)
OPTIONS = {"head": "learned_pooling", "seeds": 1, "fit": FIT, "baselines": False, "max_length": 12}
WORDS = "the a cat cats dog dogs bird has have eat is can not run".split()


@pytest.fixture(scope="module")
def glue(tmp_path_factory):
    """A folder laid out as GLUE's download, of made-up rows."""
    root, random = tmp_path_factory.mktemp("glue"), np.random.default_rng(0)

    def text() -> str:
        return " ".join(random.choice(WORDS, 4))

    def write(file: str, header: str | None, rows: list[str]) -> None:
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text("\n".join(([header] if header else []) + rows) + "\n")

    for split in ("train", "dev"):
        write(f"CoLA/{split}.tsv", None, [f"x\t{row % 2}\t\t{text()}" for row in range(60)])
        rows = [f"{row}\t{text()}\t{text()}\t{random.uniform(0, 5):.2f}" for row in range(60)]
        write(f"STS-B/{split}.tsv", "index\tsentence1\tsentence2\tscore", rows)
    write("CoLA/test.tsv", "index\tsentence", [f"{row}\t{text()}" for row in range(7)])
    write("STS-B/test.tsv", "index\tsentence1\tsentence2", [f"{row}\t{text()}\t{text()}" for row in range(5)])
    names = ("entailment", "neutral", "contradiction")
    for split in ("train", "dev_matched", "dev_mismatched"):
        rows = [f"{row}\t{text()}\t{text()}\t{names[row % 3]}" for row in range(60)]
        write(f"MNLI/{split}.tsv", "index\tsentence1\tsentence2\tgold_label", rows)
    for file, count in (("MNLI/test_matched", 6), ("MNLI/test_mismatched", 4), ("diagnostic/diagnostic", 3)):
        rows = [f"{row}\t{text()}\t{text()}" for row in range(count)]
        write(f"{file}.tsv", "index\tsentence1\tsentence2", rows)
    return root


@pytest.fixture(scope="module")
def runs(glue, tiny_encoder, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    options = OPTIONS | {"data_dir": glue, "store": root / "states"}
    return {task: bv.train(task, tiny_encoder, output=root / task, **options) for task in ("cola", "stsb", "mnli")}


def read(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text().splitlines()]


def test_each_file_has_the_leaderboards_name_header_and_labels(runs, glue, tmp_path):
    paths = [str(run.path) for run in runs.values()]
    done = run_here("submit", *paths, "--data-dir", glue, "--output", tmp_path / "out")
    assert done.returncode == 0, done.output
    sizes = {"CoLA": 7, "STS-B": 5, "MNLI-m": 6, "MNLI-mm": 4, "AX": 3}
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{name}.tsv" for name in sizes}
    for name, size in sizes.items():
        header, *rows = read(tmp_path / "out" / f"{name}.tsv")
        assert header == ["index", "prediction"]
        assert [row[0] for row in rows] == [str(place) for place in range(size)]
    assert {row[1] for row in read(tmp_path / "out" / "CoLA.tsv")[1:]} <= {"0", "1"}
    assert {row[1] for row in read(tmp_path / "out" / "AX.tsv")[1:]} <= {"entailment", "neutral", "contradiction"}
    scores = [row[1] for row in read(tmp_path / "out" / "STS-B.tsv")[1:]]
    assert all(len(score.split(".")[1]) == 3 and 0 <= float(score) <= 5 for score in scores)


def test_predictions_are_the_runs_own(runs, glue, tmp_path):
    list(write_submission([runs["cola"]], tmp_path, glue))
    texts = [line.split("\t")[1] for line in (glue / "CoLA" / "test.tsv").read_text().splitlines()[1:]]
    names = ("unacceptable", "acceptable")
    expected = [str(names.index(label)) for label in runs["cola"].predict(texts).labels]
    assert [row[1] for row in read(tmp_path / "CoLA.tsv")[1:]] == expected


def test_scores_stay_in_the_tasks_range(runs, glue, tmp_path, monkeypatch):
    class Found:
        labels = (-0.5, 0.0, 2.34567, 5.0, 7.0)

    monkeypatch.setattr(type(runs["stsb"]), "predict", lambda run, texts, pairs: Found)
    list(write_submission([runs["stsb"]], tmp_path, glue))
    assert [row[1] for row in read(tmp_path / "STS-B.tsv")[1:]] == ["0.000", "0.000", "2.346", "5.000", "5.000"]


def test_what_cannot_be_submitted(runs, glue, tmp_path, tiny_encoder):
    with pytest.raises(RunError, match=r"^two runs are on cola: the leaderboard takes one\.$"):
        list(write_submission([runs["cola"]] * 2, tmp_path / "a", glue))
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskError, match=r"no test rows of CoLA"):
        list(write_submission([runs["cola"]], tmp_path / "a", tmp_path / "empty"))
    starter = bv.train("starter", tiny_encoder, output=tmp_path / "run", store=tmp_path / "states", limit=60, **OPTIONS)
    with pytest.raises(RunError, match=r"is a run on starter; the leaderboard takes cola,"):
        list(write_submission([starter], tmp_path / "a", glue))
