"""Runs that choose their head: a linear one, or the task's default."""

import dataclasses
import json

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.heads import get_preset
from bertvision_tf.notes import Note
from bertvision_tf.settings import RunSettings
from bertvision_tf.training.head_choice import choose_head

from .test_layer_use import plant_label

SLOW = bv.FitConfig(epochs=1, learning_rate=1e-7)  # learns nothing
FAST = bv.FitConfig(epochs=40, patience=40, learning_rate=0.03)


@pytest.fixture(scope="module")
def trial(tiny_encoder, tmp_path_factory):
    """Of labels that a linear model finds."""
    found = plant_label(tiny_encoder, tmp_path_factory.mktemp("store"), 400)
    return dataclasses.replace(found, head=get_preset("linear_all_layers"), config=SLOW)


def build_trials(trial, config, first="linear_all_layers"):
    default = dataclasses.replace(trial, head=get_preset("standardized_adapter_4_shared"), config=config)
    both = {"linear_all_layers": trial, "default": default}
    return {name: both[name] for name in sorted(both, key=lambda name: name != first)}


def test_the_head_that_scores_better_is_taken(trial):
    choice = choose_head(build_trials(trial, SLOW), (0, 1))
    assert choice.taken == "linear_all_layers"
    assert choice.scores["linear_all_layers"] > 0.9 > 0.75 > choice.scores["default"]
    assert choice.standard_errors["linear_all_layers"] == 0
    assert 0.01 < choice.standard_errors["default"] < 0.3
    assert choice.scores["linear_all_layers"] == trial.fit(0).selection_score
    alone = [build_trials(trial, SLOW)["default"].fit(seed).selection_score for seed in (0, 1)]
    assert choice.scores["default"] == pytest.approx(np.mean(alone))
    unlearned = dataclasses.replace(trial, head=get_preset("linear_last_layer"))
    choice = choose_head({"linear_last_layer": unlearned, "default": build_trials(trial, FAST)["default"]}, (0, 1))
    assert choice.scores["default"] > choice.scores["linear_last_layer"]
    assert choice.taken == "default"


def test_of_equals_the_first_is_taken(trial):
    assert choose_head({"one": trial, "two": trial}, (0, 1)).taken == "one"


@pytest.fixture(scope="module")
def run(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    options = {"head": "auto", "seeds": 3, "limit": 400, "baselines": False, "store": folder / "states"}
    options |= {"fit": {"epochs": 1, "learning_rate": 1e-7}, "output": folder / "auto"}
    return bv.train("starter", tiny_encoder, **options), tiny_encoder, options


@pytest.mark.filterwarnings("ignore:a linear head is the same")
def test_a_run_that_chooses_its_head(run):
    found, encoder, options = run
    choice = found.results["head_choice"]
    assert choice["taken"] == found.results["head"] == found.config["head_name"] == "linear_all_layers"
    assert set(choice["scores"]) == {"linear_all_layers", "standardized_adapter_64_shared"}
    assert choice["scores"]["linear_all_layers"] == found.results["selection_scores"][0]
    assert found.results["seconds"]["choose_head"] == choice["seconds"] > 0
    assert found.config["head"] == get_preset("linear_all_layers").to_dict()
    assert found.config["seeds"] == found.results["seeds"] == [0]  # all would give the same head
    assert found.config["choose_head"] == {"seeds": [0, 1, 2], "fit": options["fit"]}
    plain = bv.train("starter", encoder, **options | {"head": "linear_all_layers", "output": found.path.parent / "one"})
    assert plain.results["scores"] == found.results["scores"]
    assert plain.results["head_choice"] is None


@pytest.mark.filterwarnings("ignore:a linear head is the same")
def test_a_choice_is_resumed_and_repeated(run):
    found, encoder, options = run
    before = (found.path / "results.json").stat().st_mtime_ns
    bv.train("starter", encoder, resume=True, **options)
    assert (found.path / "results.json").stat().st_mtime_ns == before
    settings = RunSettings.from_file(found.path / "config.json")
    assert settings.head.auto
    assert settings.head.all_seeds == [0, 1, 2]
    assert dict(settings.head.fit) == options["fit"]
    again = bv.train("starter", encoder, resume=True, **options | {"fit": {"epochs": 2, "learning_rate": 1e-7}})
    assert (again.path / "results.json").stat().st_mtime_ns != before  # other heads were asked for


def test_the_default_is_taken_with_all_its_seeds(tiny_encoder, tmp_path, monkeypatch):
    from bertvision_tf.experiments import experiment

    def prefer_default(trials, seeds):
        choice = choose_head(trials, seeds)
        return dataclasses.replace(choice, taken="standardized_adapter_64_shared")

    monkeypatch.setattr(experiment, "choose_head", prefer_default)
    options = {"seeds": 2, "limit": 300, "baselines": False, "fit": {"epochs": 1}, "store": tmp_path / "states"}
    found = bv.train("starter", tiny_encoder, head="auto", output=tmp_path / "auto", **options)
    plain = bv.train("starter", tiny_encoder, output=tmp_path / "plain", **options)
    assert found.results["head"] == plain.results["head"] == "standardized_adapter_64_shared"
    assert found.results["scores"] == plain.results["scores"]
    assert found.results["head_choice"]["scores"]["standardized_adapter_64_shared"] == pytest.approx(
        np.mean(plain.results["selection_scores"])
    )


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("starter_qa", {}, "auto chooses among heads for labels, and starter_qa asks for answers"),
        ("starter", {"folds": 3}, "`folds` set none aside: name a head"),
    ],
)
def test_what_cannot_choose_is_refused_first(tiny_encoder, tmp_path, task, options, message):
    with pytest.raises(RunError, match=message):
        bv.train(task, tiny_encoder, head="auto", store=tmp_path / "s", output=tmp_path / "o", **options)
    assert not (tmp_path / "s").exists()


def test_a_linear_head_that_does_not_fit_is_left_out(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("bertvision_tf.training.linear.FEATURES_BYTES", 100)
    options = {"seeds": 1, "limit": 300, "baselines": False, "fit": {"epochs": 1}, "store": tmp_path / "states"}
    with pytest.warns(Note, match="linear_all_layers is not tried: .* needs the features"):
        found = bv.train("starter", tiny_encoder, head="auto", output=tmp_path / "auto", **options)
    assert found.results["head"] == found.results["head_choice"]["taken"] == "standardized_adapter_64_shared"
    assert found.results["head_choice"]["scores"] == {}  # one alone is not tried


def test_the_choice_is_told(run, capsys):
    from bertvision_tf.cli.show import show_notes

    results = json.loads((run[0].path / "results.json").read_text())
    show_notes(results)
    told = capsys.readouterr().out
    assert "Head linear_all_layers: on the selection rows" in told
    assert "of standardized_adapter_64_shared (standard error of the difference" in told
