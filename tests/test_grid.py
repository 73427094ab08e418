"""Grids over epochs and training rows: each cell a run, found again where it is finished."""

import json
from pathlib import Path

import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.experiments import grid as grids
from bertvision_tf.experiments.grid import Grid, plot_grid, train_grid

from .command import run_here

TINY = str(Path(__file__).parent / "checkpoints" / "bert-gelu-eps1e-12-segments2")
OPTIONS = {
    "head": "learned_pooling", "seeds": 2, "fit": bv.FitConfig(epochs=1, patience=1), "limit": 500, "codec": "float32",
    "fine_tune": {"learning_rate": 1e-3},
}  # fmt: skip
GRID = Grid(["starter"], epochs=(0.0, 0.5), shares=(0.5, 1.0), shots=(8,))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("grid")


@pytest.fixture(scope="module")
def run_grid(root, tiny_encoder):
    def run(**changes):
        options = OPTIONS | {"store": root / "states", "output": root / "runs"} | changes
        return train_grid(GRID, tiny_encoder, baseline_parts=["lora_2"], baseline_epochs=[0.5], **options)

    return run


@pytest.fixture(scope="module")
def runs(run_grid):
    return list(run_grid())


def test_each_cell_has_a_folder_and_its_rows(runs, root):
    names = [run.path.relative_to(root / "runs").as_posix() for run in runs]
    folders = ("shots-8", "share-0.5", "share-1")
    assert names == [f"{folder}/epochs-{epochs}" for folder in folders for epochs in ("0", "0.5")]
    assert [run.results["rows"]["training"] for run in runs] == [16, 16, 150, 150, 300, 300]
    assert [bool(run.results["fine_tune"]) for run in runs] == [False, True] * 3


def test_simple_rivals_stand_in_the_first_cell_and_tuned_ones_in_the_last(runs):
    for first, last in zip(runs[::2], runs[1::2], strict=True):
        assert "majority" in first.results["baselines"]
        assert list(last.results["baselines"]) == ["LoRA of rank 2, best epoch"]
        assert len(last.results["baselines"]["LoRA of rank 2, best epoch"]["scores"]) == 2
    assert len(runs[0].results["baselines"]["majority"]["scores"]) == 2  # each seed has rows of its own
    assert len(runs[4].results["baselines"]["majority"]["scores"]) == 1


def test_a_grid_that_was_stopped_goes_on_with_what_is_missing(runs, run_grid, root, monkeypatch):
    begun = {run.path: (run.path / "results.json").read_bytes() for run in runs}
    (runs[3].path / "results.json").unlink()  # as a run that was not finished
    (runs[3].path / "config.json").unlink()
    for file in sorted(runs[3].path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    again = list(run_grid())
    assert [run.results["scores"] for run in again] == [run.results["scores"] for run in runs]
    for path, content in begun.items():
        assert ((path / "results.json").read_bytes() == content) == (path != runs[3].path)


@pytest.mark.parametrize("changes", [{"seeds": 1}, {"codec": "int8"}])
def test_other_settings_are_run(changes, run_grid, runs, monkeypatch):
    class Ran(Exception):
        pass

    def refuse(*args, **options):
        raise Ran

    monkeypatch.setattr("bertvision_tf.experiments.experiment.extract_once", refuse)
    list(run_grid())  # all are found
    with pytest.raises(Ran):
        list(run_grid(**changes))


def test_pictures_of_rows_and_epochs(runs, tmp_path):
    files = plot_grid(GRID, runs, tmp_path / "pictures")
    assert [file.name for file in files] == ["starter-training_rows.png", "starter-epochs.png"]
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in files)
    assert plot_grid(Grid(["starter"]), runs[:1], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_the_command_shows_a_column_for_each_draw(root):
    options = ["--task", "starter", "--encoder", TINY, "--head", "learned_pooling", "--seeds", "1", "--limit", "500"]
    options += ["--epochs", "1", "--train-share", "0.5,1", "--shots", "8", "--store", str(root / "states")]
    done = run_here("train", *options, "--output", root / "command")
    assert done.returncode == 0, done.output
    for part in ("8 a class: 16", "50%: 150", "100%: 300", "majority", "starter-training_rows.png", "McNemar"):
        assert part in done.output
    config = json.loads((root / "command" / "share-0.5" / "config.json").read_text())
    assert (config["train_share"], config["shots"]) == (0.5, None)


@pytest.mark.parametrize("option", ["--shots=0", "--shots=a", "--train-share=0.1,0.1", "--fine-tune-epochs=-1"])
def test_numbers_that_are_none(option):
    done = run_here("train", option)
    assert done.returncode == 2
    assert option.split("=")[0] in done.output


@pytest.mark.parametrize("share", [0, 1.5])
def test_shares_that_are_none(share, tmp_path, tiny_encoder):
    with pytest.raises(RunError, match="`train_share` needs more than 0 and at most 1"):
        bv.train("starter", tiny_encoder, train_share=share, output=tmp_path / "o", store=tmp_path / "s")
    assert len(grids.Grid(["a", "b"], (0, 1), (0.5, 1.0), (8,))) == 12


def test_a_draw_of_one_class_is_refused_before_the_encoder_runs(tmp_path, tiny_encoder):
    share = {"train_share": 0.002, "output": tmp_path / "o", "store": tmp_path / "s"}
    message = (
        r"training rows of starter that seed 0 draws \(1\) hold one class only, '.*nothing to learn; take more rows"
    )
    with pytest.raises(RunError, match=message):
        bv.train("starter", tiny_encoder, **OPTIONS | share | {"limit": 400})
    with pytest.raises(RunError, match=message):
        bv.search("starter", tiny_encoder, limit=400, **share)
    assert not list(tmp_path.glob("s/*"))


def test_a_rival_at_another_rate_is_run_again(tiny_encoder, tmp_path):
    options = OPTIONS | {"seeds": 1, "baselines": False, "baseline_parts": ["lora_2"], "baseline_epochs": [0.5]}
    options |= {"store": tmp_path / "s", "output": tmp_path / "o", "resume": True}
    first = bv.train("starter", tiny_encoder, **options)
    other = bv.train("starter", tiny_encoder, **(options | {"fine_tune": {"learning_rate": 1e-4}}))
    assert (first.config["fine_tune"]["learning_rate"], other.config["fine_tune"]["learning_rate"]) == (1e-3, 1e-4)


@pytest.mark.parametrize(
    ("grid", "options"),
    [
        (Grid(["starter"], shares=(0.5, 2.0)), {}),
        (Grid(["starter"], epochs=(0.0, float("nan"))), {}),
        (Grid(["starter"]), {"baseline_parts": ["half"]}),
        (Grid(["starter"]), {"baseline_parts": ["all"], "baseline_epochs": [0]}),
    ],
)
def test_what_is_wrong_with_the_last_cell_is_said_before_the_first(grid, options, tiny_encoder, tmp_path):
    with pytest.raises(RunError):
        next(train_grid(grid, tiny_encoder, output=tmp_path / "o", store=tmp_path / "s", **OPTIONS, **options))
    assert not list(tmp_path.iterdir())
