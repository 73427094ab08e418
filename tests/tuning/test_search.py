"""Searches over states of the tiny encoder: every tuner, stopped and resumed, failing, in several processes."""

import csv
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras_tuner
import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf import kinds
from bertvision_tf.errors import BertvisionError, HeadError, RunError
from bertvision_tf.heads import HeadConfig, build_head
from bertvision_tf.tasks.selection import split_folds
from bertvision_tf.training import FitConfig, trial
from bertvision_tf.tuning import OBJECTIVE, TUNERS, HeadHyperModel, HeadSpace, HeadTuner, hypermodel, read_only
from bertvision_tf.tuning import tuner as tuning

ROOT = Path(__file__).parents[2]
TINY = str(ROOT / "tests" / "checkpoints" / "bert-gelu-eps1e-12-segments2")
WORDS = "the a cat cats dog dogs has have eat eats is can not run she he".split()
SMALL = {"front_dim": [4, 8], "body": ["none"], "convolution": ["none"], "front": ["adapter"], "standardize": [False]}
FIT = {"epochs": 2}


def make_table(rows=420):
    random = np.random.default_rng(0)
    table = {"text": [" ".join(random.choice(WORDS, 6)) for _ in range(rows)]}
    table["label"] = ["cat" if "cat" in text.split() else "none" for text in table["text"]]
    table["second"] = table["text"][::-1]
    return table


def make_task(pairs=False):
    return bv.task_from_table(make_table(), name="words", text="text", text_pair="second" if pairs else None)


@pytest.fixture
def search(tiny_encoder, tmp_path):
    def run(name="found", pairs=False, **options):
        given = {"tuner": "random", "trials": 2, "fit": FIT, "only": SMALL, "store": tmp_path / "states"}
        return bv.search(make_task(pairs), tiny_encoder, output=tmp_path / name, **(given | options))

    return run


def read_trials(folder, but="seconds"):
    with open(folder / "trials.csv", newline="", encoding="utf-8") as stream:
        return [{key: value for key, value in row.items() if value and key != but} for row in csv.DictReader(stream)]


@pytest.mark.parametrize("tokens", ["all", "cls"])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_choice_is_a_head(kind, pairs, tokens, tmp_path):
    """A hundred draws of the whole space make a config each, and what can be chosen is chosen."""
    model = HeadHyperModel(HeadSpace(kind, pairs, tokens), [])
    model.build = model.choose  # no Keras layers are built
    oracle = keras_tuner.oracles.RandomSearchOracle(OBJECTIVE, max_trials=100, seed=1)
    HeadTuner(oracle, model, str(tmp_path), "draws")
    found = [model.choose(oracle.create_trial(str(number)).hyperparameters) for number in range(100)]
    seen = {name: {head.to_dict()[name] for head, _ in found} for name in HeadConfig().to_dict()}
    for name in (
        "standardize",
        "convolution",
        "pooling",
        "adapter_dim",
        "shared",
        "parts_dim",
        "body",
        "skip",
        "dropout",
    ):
        assert len(seen[name]) > 1, name
    compares = pairs and tokens == "all" and kind is not kinds.SPAN
    assert (seen["comparison"] == {True, False}) == compares
    assert (len(seen["token_pooling"]) > 1) == (tokens == "all" and kind is not kinds.SPAN)
    assert {type(fit) for _, fit in found} == {FitConfig}
    assert ({fit.mixup for _, fit in found} == {0.0, 0.2}) == (kind is kinds.CLASSIFICATION)


@pytest.mark.parametrize("kind", [kinds.CLASSIFICATION, kinds.SPAN])
def test_networks_read_one_layer_where_they_are_asked_for(kind, tmp_path):
    bodies = ["none", "cnn", "inception", "xception"]
    model = HeadHyperModel(HeadSpace(kind, only={"body": bodies}), [])
    model.build = model.choose
    oracle = keras_tuner.oracles.RandomSearchOracle(OBJECTIVE, max_trials=60, seed=1)
    HeadTuner(oracle, model, str(tmp_path), "draws")
    found = [model.choose(oracle.create_trial(str(number)).hyperparameters)[0] for number in range(60)]
    assert {head.body for head in found} == set(bodies)
    pooled = {name: {head.pooling for head in found if head.body == name} for name in bodies}
    assert "none" in pooled["cnn"] and "none" not in pooled["inception"] | pooled["xception"]
    for body in ("inception", "xception"):
        head = next(head for head in found if head.body == body)
        build_head(head, num_hidden_states=3, hidden_dim=4, kind="span" if kind is kinds.SPAN else "classification")
    with pytest.raises(RunError, match="answers no questions"):
        HeadSpace(kinds.SPAN, only={"body": ["xception_abbreviated"]})


def test_bayesian_search_is_not_random_for_ever(tmp_path):
    """Once ten trials have scores, they decide the next."""
    chosen = []
    for name in ("random", "bayesian"):
        model = HeadHyperModel(HeadSpace(kinds.CLASSIFICATION, only=SMALL), [])
        model.build = model.choose
        oracle = tuning.build_oracle(name, 12, 4, 0, lambda oracle: None)
        HeadTuner(oracle, model, str(tmp_path), name)
        for number in range(12):
            begun = oracle.create_trial("one")
            oracle.update_trial(begun.trial_id, {OBJECTIVE.name: float(number % 5)})
            begun.status = "COMPLETED"
            oracle.end_trial(begun)
        chosen.append([oracle.trials[one].hyperparameters.values for one in oracle.start_order])
    assert chosen[0][:10] == chosen[1][:10] and chosen[0][10:] != chosen[1][10:]


@pytest.mark.parametrize("failing", [(), (3,), (0, 9, 10)])
@pytest.mark.parametrize("tuner", TUNERS)
def test_waves_choose_the_trials_of_one_after_the_other(tuner, failing, tmp_path, monkeypatch):
    """Whatever fails: nothing is trained here, and a score is made of the values."""
    found, sizes = [], []

    def score(many):
        sizes.append(len(many))
        for place, hp in enumerate(many):
            number = len(seen)
            seen.append(hp.values)
            own = hash(str(sorted((name, str(hp.values[name])) for name in hp.values))) % 1000
            yield {place: RunError("no number") if number in failing else own / 1000}, 1.0

    for wave in (1, 32):
        monkeypatch.setattr(tuning, "WAVE", wave)
        model = HeadHyperModel(HeadSpace(kinds.CLASSIFICATION, only=SMALL), [])
        model.build, model.fit_all, seen = model.choose, score, []
        oracle = tuning.build_oracle(tuner, 24, 12, 0, lambda oracle: None)
        HeadTuner(oracle, model, str(tmp_path), f"{tuner}{wave}").search()
        trials = [oracle.trials[name] for name in oracle.start_order]
        found.append([(one.trial_id, one.status, one.score, one.hyperparameters.values) for one in trials])
    assert found[0] == found[1]
    assert sizes[:24] == [1] * 24 and sum(sizes[24:]) == 24 and max(sizes[24:]) >= 4


@pytest.mark.parametrize(("tuner", "trials"), [("random", 4), ("hyperband", 8)])  # which ends two rounds
def test_trials_begun_together_are_those_of_one_after_the_other(search, monkeypatch, tuner, trials):
    given = {"tuner": tuner, "trials": trials, "fit": {"epochs": 4, "batch_size": 32, "mixup": 0.0}}
    sizes, plan = [], hypermodel.plan_passes

    def watch(jobs):
        passes = plan(jobs)
        sizes.extend(len(one) for one in passes)
        return passes

    monkeypatch.setattr(hypermodel, "plan_passes", watch)
    together = search("together", **given)
    assert max(sizes) > 1 and sum(sizes) == trials
    monkeypatch.setattr(tuning, "WAVE", 1)
    alone = search("alone", **given)
    assert sizes[-trials:] == [1] * trials
    assert [one.values for one in together.trials] == [one.values for one in alone.trials]
    np.testing.assert_allclose(*([one.score for one in found.trials] for found in (together, alone)), atol=0.02)


@pytest.mark.parametrize(("tuner", "writing"), [("grid", 6), ("random", 8)])  # as it begins, and as it ends
def test_a_search_interrupted_between_two_files_loses_and_repeats_nothing(search, monkeypatch, tuner, writing):
    whole, calls, write = search("whole", tuner=tuner, trials=3), iter(range(100)), tuning.replace_json

    def stop(file, content):
        if next(calls) == writing:
            raise KeyboardInterrupt
        write(file, content)

    with monkeypatch.context() as patched:
        patched.setattr(tuning, "replace_json", stop)
        with pytest.raises(KeyboardInterrupt):
            search("cut", tuner=tuner, trials=3)
    found = search("cut", tuner=tuner, trials=3)
    assert [(one.values, one.score) for one in found.trials] == [(one.values, one.score) for one in whole.trials]
    oracle = json.loads((found.path / "tuner" / "oracle.json").read_text())
    assert sorted(oracle["end_order"]) == sorted(one.name for one in found.trials)


def test_a_search_begun_alone_goes_on_under_another_name(search, monkeypatch):
    few = search(trials=1)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner7")
    assert search(trials=2).trials[:1] == few.trials  # its seconds too: it is not run again


def test_what_is_refused(search, tmp_path):
    with pytest.raises(RunError, match="needs indices or none, got 'auto'"):
        search(layers="auto")
    with pytest.raises(RunError, match="`fit` has no foo"):
        search(fit={"foo": 1})
    for only in ({"body": ["foo"]}, {"learning_rate": [-1.0]}):
        with pytest.raises(BertvisionError):
            search("typo", only=SMALL | only)
    assert not (tmp_path / "typo").exists()


def test_a_search_without_an_ended_trial_gives_way(search, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "search.json").write_text('{"task": "other"}')
    assert len(search(trials=1).trials) == 1


@pytest.mark.parametrize("tuner", TUNERS)
def test_each_tuner_finds_a_head_by_the_selection_rows(search, tuner, tmp_path):
    found = search(tuner=tuner, trials=3)
    assert len(found.trials) == 3 and all(one.score is not None and one.seconds > 0 for one in found.trials)
    assert found.score == max(one.score for one in found.trials)
    assert {one.values["front_dim"] for one in found.trials} <= {4, 8}
    best = json.loads((tmp_path / "found" / "best.json").read_text())
    assert (HeadConfig.from_dict(best["head"]), FitConfig(**best["fit"])) == (found.head, found.fit)
    assert [row["score"] for row in read_trials(found.path)] == [str(one.score) for one in found.trials]


def test_a_score_is_that_of_the_head_trained_alone(search, tmp_path, tiny_encoder):
    found = search()
    run = bv.train(
        make_task(),
        tiny_encoder,
        head=found.head,
        fit=found.fit,
        seeds=1,
        store=tmp_path / "states",
        output=tmp_path / "run",
        baselines=False,
    )
    assert run.results["selection_scores"] == [found.score]


def test_the_seed_decides_the_trials(search):
    first, again, other = search("first"), search("again"), search("other", seed=5)
    strip = [[dataclasses.replace(one, seconds=0.0) for one in found.trials] for found in (first, again, other)]
    assert strip[0] == strip[1] != strip[2]


def test_more_trials_go_on_from_fewer(search):
    few, more, once = search("both", trials=1), search("both"), search("once")
    assert more.trials[:1] == few.trials  # their seconds too: they are not run again
    assert [one.values for one in more.trials] == [one.values for one in once.trials]
    assert [one.score for one in more.trials] == [one.score for one in once.trials]


def test_folds_give_their_mean(search, tiny_encoder, tmp_path):
    found = search(folds=3, trials=1)
    rows = make_task().load("train")
    store = bv.open_store(next((tmp_path / "states").rglob("manifest.json")).parent)
    scores = []
    for training, selection in split_folds(rows.labels, 3):
        assert not set(training) & set(selection) and len(training) + len(selection) == len(rows)
        draw = trial.Draw(rows.labels, training)
        one = trial.Trial(make_task(), found.head, [store], [rows], draw, selection, config=found.fit)
        scores.append(one.fit(0).selection_score)
    assert found.score == float(np.mean(scores))


def test_a_failing_trial_is_skipped_with_its_reason(search, tmp_path, capfd):
    only = SMALL | {"learning_rate": [1e-3, 1e30], "front_dim": [4], "pooling": ["none"], "skip": [False]}
    rest = {"token_pooling": ["mean"], "token_cutout": [0.0], "layer_dropout": [0.0], "dropout": [0.0]}
    rest |= {"batch_size": [32], "weight_decay": [0.0], "mixup": [0.0]}
    found = search(tuner="grid", trials=9, only=only | rest)
    assert [one.score is None for one in found.trials] == [False, True]
    assert "the loss of epoch 1 is nan" in found.trials[1].reason
    assert "Traceback" not in "".join(capfd.readouterr())
    assert "the loss of epoch 1 is nan" in read_trials(found.path)[1]["reason"]
    with pytest.raises(RunError, match=r"every trial of .* failed; the first: the loss of epoch 1 is nan"):
        search("failed", trials=2, only=SMALL | {"learning_rate": [1e30]})
    assert not (tmp_path / "failed" / "best.json").exists()


def test_pairs_are_measured_once(search, monkeypatch):
    made = []

    class Counted(trial.MeasuredStore):
        def __init__(self, *arguments):
            made.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr(trial, "MeasuredStore", Counted)
    found = search(pairs=True, only=SMALL | {"comparison": [True], "similarity": [0]})
    assert len(found.trials) == 2 and len(made) == 1
    assert found.head.comparison


def test_a_share_of_the_rows_is_trained_on(search):
    assert search("all").trials[0].score != search("share", train_share=0.1).trials[0].score


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tuner": "best"}, "`tuner` needs one of random, bayesian, hyperband, grid, got 'best'"),
        ({"trials": 0}, "a search needs 1 trial or more"),
        ({"folds": 1}, "2 folds or more"),
        ({"folds": 2, "fine_tune_epochs": 1}, "leave one of both out"),
        ({"folds": 500}, "336 rows are too few for 500 folds"),
        ({"only": {"width": [1]}}, "a search chooses no 'width'; it chooses comparison, "),
        ({"only": {"front_dim": ["wide"]}}, "'front_dim' needs values as 64, 16"),
        ({"only": {"pooling": ["most"]}}, "`pooling` needs one of none, last, average, learned"),
        ({"train_share": 2.0}, "`train_share` needs more than 0"),
    ],
)
def test_what_cannot_be_searched_is_one_line(search, options, reason):
    with pytest.raises(bv.BertvisionError, match=reason):
        search(**options)


def test_a_folder_of_something_else_stays(search, tmp_path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no search"):
        search()
    search("one")
    with pytest.raises(RunError, match="holds a search with seed 0, now it is 1"):
        search("one", seed=1)


def test_values_are_read_as_their_kind():
    texts = ["front_dim=16,64", "skip=true,false", "learning_rate=1e-3", "pooling=none,learned"]
    assert read_only(texts) == {
        "front_dim": [16, 64],
        "skip": [True, False],
        "learning_rate": [1e-3],
        "pooling": ["none", "learned"],
    }
    for wrong in ("front_dim", "front_dim=wide", "skip=1"):
        with pytest.raises(RunError, match="needs values as in"):
            read_only([wrong])


@pytest.fixture
def command(tmp_path):
    """Starts `scripts/search_glue.py` on a table in a folder of its own."""
    table = make_table()
    with open(tmp_path / "words.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("sentence", "label"), *zip(table["text"], table["label"], strict=True)])
    only = [f"--only={name}={','.join(map(str, values)).lower()}" for name, values in SMALL.items()]

    def start(*arguments, **environment):
        options = ["--train", "words.csv", "--encoder", TINY, "--tuner", "random", "--epochs", "2", *only]
        return subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "search_glue.py"), *options, *arguments],
            **{"cwd": tmp_path, "env": os.environ | environment},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
        )

    return start


def test_a_killed_search_goes_on_and_ends_as_one_that_was_not(command, tmp_path):
    killed = command("--output", "killed", "--trials", "5")
    deadline, file = time.time() + 200, tmp_path / "killed" / "trials.csv"
    while not (file.is_file() and len(read_trials(file.parent)) > 1) and killed.poll() is None:
        assert time.time() < deadline
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = read_trials(file.parent, but="")
    again, whole = command("--output", "killed", "--trials", "5"), command("--output", "whole", "--trials", "5")
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert whole.communicate(timeout=300) and whole.returncode == 0
    assert read_trials(file.parent, but="")[0] == before[0]  # with its seconds: it was not run again
    assert read_trials(tmp_path / "killed") == read_trials(tmp_path / "whole")
    assert "5 trials, 0 of them failed" in printed and "best.json" in printed
    trained = subprocess.run(
        [
            *(sys.executable, "-m", "bertvision_tf", "train", "--train", "words.csv", "--encoder", TINY),
            *("--head", "killed/best.json", "--seeds", "1", "--no-baselines", "--output", "run"),
        ],
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300},
    )
    assert trained.returncode == 0, trained.stderr
    best = json.loads((tmp_path / "killed" / "best.json").read_text())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["head"], config["fit"]) == (best["head"], best["fit"])


def test_a_chief_and_two_workers_share_one_store(command, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
    names = ("chief", "worker-0", "worker-1")
    started = [command("--output", "found", "--trials", "4", **address, KERASTUNER_TUNER_ID=name) for name in names]
    printed = [one.communicate(timeout=200) for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], printed
    trials = read_trials(tmp_path / "found")
    assert len(trials) == 4 and all(row["score"] for row in trials)
    assert "4 trials, 0 of them failed" in printed[0][0] and "the chief has what was found" in printed[1][0]
    assert len(list((tmp_path / "states").rglob("manifest.json"))) == 1


def test_a_search_folder_has_checksums(tmp_path):
    from bertvision_tf.checksums import SUMS, check_files
    from bertvision_tf.heads.presets import read_head
    from bertvision_tf.tuning.trials import BEST, SETTING, TrialScore, open_folder, write_trials

    best = {"head": {"pooling": "learned"}, "fit": {"epochs": 2}, "selection_score": 0.5, "trial": "0"}
    with open_folder(tmp_path / "search", {"task": "starter"}):
        write_trials(tmp_path / "search", [TrialScore("0", 0.5, 1.0, "", {"dropout": 0.1})], best)
    assert check_files(tmp_path / "search", RunError) == 3
    assert read_head(tmp_path / "search" / BEST)[1] == {"epochs": 2}
    file = tmp_path / "search" / BEST
    file.write_bytes(file.read_bytes().replace(b'"epochs": 2', b'"epochs": 6'))
    with pytest.raises(HeadError, match=r"best\.json is damaged: .* delete .*checksums\.json, if you have changed"):
        read_head(file)
    setting = tmp_path / "search" / SETTING
    setting.write_bytes(setting.read_bytes().replace(b"starter", b"starteR"))
    with (
        pytest.raises(RunError, match=r"search\.json is damaged"),
        open_folder(tmp_path / "search", {"task": "starter"}),
    ):
        pass
    (tmp_path / "search" / SUMS).unlink()
    assert read_head(file)[1] == {"epochs": 6}
