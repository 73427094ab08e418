"""Whole runs that begin with the heads of another, under which the last blocks of the encoder are fine-tuned."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.experiments.grid import build_grid, train_grid
from bertvision_tf.experiments.injection.weights import open_fine_tuned
from bertvision_tf.settings import RunSettings
from bertvision_tf.training.optimizer import build_tuning_optimizer
from bertvision_tf.training.snapshot import read_snapshot

from .command import run_here

TINY = str(Path(__file__).parent / "checkpoints" / "bert-gelu-eps1e-12-segments2")
FIT = bv.FitConfig(epochs=1, learning_rate=1e-4)  # heads that have much to learn yet
OPTIONS = {"limit": 300, "baselines": False, "codec": "float32", "seeds": 2}
STILL = {"fine_tune": {"learning_rate": 1e-30, "parts": "top_2", "weight_decay": 0.0}, "fine_tune_epochs": 1}
TUNING = {"fine_tune": {"learning_rate": 1e-2, "parts": "top_1"}, "fine_tune_epochs": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("from-heads")


@pytest.fixture(scope="module")
def task(root):
    """Texts of which one word tells the class."""
    lines = [
        f"the {('cat', 'dog')[row % 2]} can {'not ' * (row % 17)}run,{('good', 'bad')[row % 2]}" for row in range(400)
    ]
    for name, part in (("train", lines[:300]), ("dev", lines[300:])):
        (root / f"{name}.csv").write_text("\n".join(["text,label", *part]) + "\n")
    return bv.task_from_table(root / "train.csv", dev=root / "dev.csv", name="words")


@pytest.fixture(scope="module")
def first(root, task, tiny_encoder):
    options = OPTIONS | {"head": "adapter_16_shared", "fit": FIT}
    return bv.train(task, tiny_encoder, store=root / "states", output=root / "first", **options)


@pytest.fixture(scope="module")
def run(root, task, first, tiny_encoder):
    options = OPTIONS | TUNING | {"fine_tune_from": first.path, "store": root / "states", "output": root / "run"}
    return bv.train(task, tiny_encoder, **options)


def open_snapshots(run):
    return [read_snapshot(Path(one["path"])) for one in run.config["snapshots"].values()]


def test_each_seed_has_blocks_of_its_own_and_all_share_what_lies_below(run, tiny_encoder):
    snapshots = open_snapshots(run)
    assert len({one.encoder.fingerprint for one in snapshots} | {tiny_encoder.fingerprint}) == 3
    last = f"block_{tiny_encoder.architecture.num_layers - 1}."
    for snapshot in snapshots:
        assert snapshot.classifier is None
        changed = {
            name for name, value in snapshot.encoder.weights.items() if (value != tiny_encoder.weights[name]).any()
        }
        assert changed and all(name.startswith(last) for name in changed)
        assert not changed - {name for name in tiny_encoder.weights if name.startswith(last)}


def test_a_head_predicts_what_its_scores_say(run, task):
    dev = task.load("dev")
    found = run.predict(dev.texts).labels
    names = run.config["label_names"]
    right = np.mean([names[label] == one for label, one in zip(dev.labels, found, strict=True)])
    assert right == pytest.approx(run.results["scores"][run.results["seeds"].index(run.best_seed)])
    store = run.open_stores(run.best_seed)[1]
    images = next(iter(store.as_dataset(batch_size=300)))[0]
    head = run.load_head()
    logits = np.asarray(head({name: images[name] for name in head.input}))
    assert (logits.argmax(axis=1) == dev.labels).mean() == pytest.approx(right)


def test_blocks_learn_and_no_epoch_is_worse_on_the_selection_rows(run, first):
    assert max(first.results["selection_scores"]) < 0.7 < 0.8 < min(run.results["selection_scores"])
    assert max(first.results["scores"]) < 0.7 < 0.8 < min(run.results["scores"])
    for before, after, snapshot in zip(
        first.results["selection_scores"], run.results["selection_scores"], open_snapshots(run), strict=True
    ):
        assert after >= before - 1e-6  # epoch 0 is the head as it was
        assert after == pytest.approx(snapshot.facts["selection_score"])
        assert 1 <= snapshot.facts["best_epoch"] <= 6
        assert len(snapshot.facts["history"]["loss"]) == 6
    assert run.results["best_epochs"] == [one.facts["best_epoch"] for one in open_snapshots(run)]


def test_a_tuned_encoder_runs_over_what_is_scored_alone(run, first):
    """Its heads are trained: train's other rows are read no more."""
    stores = run.open_stores(run.best_seed)
    assert [store.spec.split for store in stores] == ["selection", "dev"]
    assert [len(store) for store in stores] == [run.results["rows"]["selection"], 100]
    counted = [{name: run.results["rows"][name] for name in ("training", "selection", "dev")} for run in (run, first)]
    assert counted[0] == counted[1]


def test_it_joins_an_ensemble_with_the_run_that_it_began_with(run, first, root, task):
    found = bv.ensemble_runs([first, run], output=root / "ensemble", task=task)
    for member, own in zip(found.members, (first, run), strict=True):
        place = own.results["seeds"].index(own.best_seed)
        assert member.selection_score == pytest.approx(own.results["selection_scores"][place])
        assert member.metrics["accuracy"] == pytest.approx(own.results["scores"][place])


def test_the_head_as_it_was_is_a_rival(run, first):
    rival = run.results["baselines"]["adapter_16_shared, frozen encoder"]
    assert rival["scores"] == pytest.approx(first.results["scores"])
    assert rival["mean"] == pytest.approx(first.results["mean"])
    assert rival["trainable_parameters"] == first.results["trainable_parameters"]
    tuned = run.results["fine_tune"]
    assert (tuned["epochs"], tuned["parts"], tuned["from"]) == (6, "top_1", str(first.path))
    assert "scores" not in tuned and run.results["encoder_scores"] == []


def test_rivals_have_the_usual_rate_and_not_that_of_a_few_blocks(root, task, first, tiny_encoder):
    options = OPTIONS | {"seeds": 1, "baseline_parts": ["all", "lora_2"], "baseline_epochs": [1]}
    options |= {"fine_tune_from": first.path, "fine_tune_epochs": 1, "store": root / "states"}
    found = bv.train(task, tiny_encoder, output=root / "rivals", **options)
    usual = bv.FineTuneConfig.for_task(task).learning_rate
    assert found.config["fine_tune"]["learning_rate"] == 2e-4 != usual
    rivals = found.results["baselines"]
    assert rivals["full fine-tuning, best epoch"]["learning_rates"] == [usual]
    assert rivals["LoRA of rank 2, best epoch"]["learning_rates"] == [pytest.approx(10 * usual)]
    assert {one["against"] for one in found.results["significance"]} >= set(rivals)
    assert found.config["baseline_rates"] == [usual]
    again = RunSettings.from_file(found.path / "config.json").change(store=root / "states", output=root / "repeated")
    repeated = bv.train(task, tiny_encoder, settings=again).results["baselines"]
    assert {name: one["learning_rates"] for name, one in repeated.items() if "learning_rates" in one} == {
        name: one["learning_rates"] for name, one in rivals.items() if "learning_rates" in one
    }
    assert [one["scores"] for one in repeated.values()] == [one["scores"] for one in rivals.values()]
    found = bv.train(task, tiny_encoder, output=root / "rates", **options | {"baseline_rates": [1e-30, 1e-3]})
    (rate,) = found.results["baselines"]["LoRA of rank 2, best epoch"]["learning_rates"]
    assert rate in (pytest.approx(1e-29), pytest.approx(1e-2))


def test_rates_are_checked_first(root, task, tiny_encoder):
    options = OPTIONS | {"store": root / "none", "output": root / "no", "baseline_parts": ["all"]}
    with pytest.raises(RunError, match="`baseline_rates` needs more than 0"):
        bv.train(task, tiny_encoder, baseline_rates=[0.0], **options)
    with pytest.raises(RunError, match="`baseline_rates` are of fine-tuned rivals: name some with `baseline_parts`"):
        bv.train(task, tiny_encoder, baseline_rates=[1e-3], **options | {"baseline_parts": []})
    assert not (root / "none").exists()


def test_a_rate_of_nothing_changes_nothing(root, task, first, tiny_encoder):
    options = OPTIONS | STILL | {"store": root / "states", "output": root / "still", "seeds": 1}
    still = bv.train(task, tiny_encoder, fine_tune_from=first.path, **options)
    assert still.results["scores"] == pytest.approx(first.results["scores"][:1])
    assert still.results["best_epochs"] == [0]
    weights = open_snapshots(still)[0].encoder.weights
    for name, value in tiny_encoder.weights.items():
        np.testing.assert_array_equal(weights[name], value)
    shown = run_here("report", str(still.path), str(first.path), "--output", str(root / "still-page"))
    assert shown.returncode == 0, shown.output
    assert "its last 2 blocks fine-tuned together with the head" in (root / "still-page" / "index.html").read_text()


def test_mixed_precision_weights_and_logs(root, task, first, tiny_encoder):
    tuning = {"fine_tune": TUNING["fine_tune"] | {"dtype": "bfloat16"}, "fine_tune_epochs": 2}
    places = {"store": root / "states", "output": root / "mixed", "tensorboard": root / "logs"}
    options = OPTIONS | tuning | places | {"seeds": 1, "strategy": "mirrored"}
    mixed = bv.train(task, tiny_encoder, fine_tune_from=first.path, **options)
    weights = open_snapshots(mixed)[0].encoder.weights
    assert {str(value.dtype) for value in weights.values()} == {"float32"}
    assert [*(root / "logs" / "seed-0").rglob("events.out.tfevents.*")]
    given = OPTIONS | {"store": root / "states", "head": "learned_pooling", "fit": FIT, "seeds": 1}
    drawn = {"shots": 16, "balance_classes": True}
    few = bv.train(task, tiny_encoder, output=root / "few", **given | drawn)
    given = OPTIONS | TUNING | {"store": root / "states", "seeds": 1} | drawn
    found = bv.train(task, tiny_encoder, fine_tune_from=few.path, output=root / "few-tuned", **given)
    facts = open_snapshots(found)[0].facts
    assert facts["steps"] == 6 and facts["class_weights"] == [[0, 1.0], [1, 1.0]]


def test_layer_weights_and_gains_do_not_decay():
    optimizer = build_tuning_optimizer(bv.FineTuneConfig(), 1)
    names = ("kernel", "bias", "gamma", "gain", "layer_logits", "embeddings")
    variables = [keras.Variable(np.ones(2), name=name) for name in names]
    optimizer.build(variables)
    assert [one.name for one in variables if optimizer._use_weight_decay(one)] == ["kernel"]


def test_the_same_command_finds_what_is_there(run, root, task, first, tiny_encoder, monkeypatch):
    monkeypatch.setattr("bertvision_tf.training.top_tuning.TopTuning._fit", lambda *a: pytest.fail("it was fine-tuned"))
    options = OPTIONS | TUNING | {"fine_tune_from": first.path, "store": root / "states", "output": root / "again"}
    again = bv.train(task, tiny_encoder, **options)
    assert again.results["scores"] == run.results["scores"]
    written = RunSettings.from_file(again.path / "config.json").change(store=root / "states", output=again.path)
    monkeypatch.setattr("bertvision_tf.experiments.experiment.extract_states", lambda *a: pytest.fail("it ran again"))
    found = bv.train(task, tiny_encoder, settings=written.change(resume=True))
    assert found.results == again.results


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "starter"}, "is of words, not of starter"),
        ({"head": "learned_pooling"}, "has heads adapter_16_shared: leave `head` out"),
        ({"fit": {"learning_rate": 1e-3}}, "are trained on as `fine_tune` says: leave `fit` out"),
        ({"limit": 200}, "was trained with limit 300, now it is 200: both runs need the same"),
        ({"tokens": "cls"}, "was trained with tokens all, now it is cls"),
        ({"layers": "auto"}, "has chosen its states: leave `layers` out"),
        ({"max_length": 20}, "was trained with max_length"),
        ({"codec": "int8"}, "was trained with codec float32, now it is int8"),
        ({"seeds": 3}, "has no head of seed 2: give `seeds` of 0, 1"),
        ({"folds": 2, "seeds": 5}, "would score rows that the fine-tuned encoder was trained on"),
        ({"fine_tune_seeds": 1}, "leave `fine_tune_seeds` out"),
        ({"fine_tune_epochs": 0.5}, "for whole epochs, got 0.5"),
        ({"fine_tune": {"parts": "all"}}, "parts need to be top_K, got all"),
        ({"fine_tune": {"parts": "top_9"}}, "top_9 is more than the 2 blocks"),
        ({"layers": [0, 2]}, r"was trained with layers \[0, 1, 2\], now it is \[0, 2\]"),
        ({"predict_with": "mean"}, "needs heads on one encoder"),
        ({"train_share": 0.5}, "was trained with train_share 1.0, now it is 0.5"),
        ({"fine_tune_from": "nowhere"}, "no finished run at nowhere"),
    ],
)
def test_what_does_not_go_together(root, task, first, tiny_encoder, options, message):
    given = (
        OPTIONS | TUNING | {"fine_tune_from": first.path, "store": root / "states", "output": root / "bad"} | options
    )
    with pytest.raises(RunError, match=message):
        bv.train(given.pop("task", task), tiny_encoder, **given)
    assert not (root / "bad").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [0, 2]}, "under heads on all layers"),
        ({"tokens": "cls"}, "has kept the first token's states alone"),
        ({"codec": "int4"}, "has states in int4, too coarse for blocks"),
        ({"folds": 2, "seeds": 5}, "has heads of folds"),
        ({"shots": 8, "seeds": 1}, "has no head of seed 1: give `seeds` of 0"),
    ],
)
def test_heads_that_no_run_can_begin_with(root, task, tiny_encoder, options, message):
    name = "-".join(options)
    given = OPTIONS | {"head": "learned_pooling", "fit": FIT, "store": root / "states"} | options
    first = bv.train(task, tiny_encoder, output=root / name, **given)
    kept = {name: options[name] for name in ("layers", "tokens", "codec", "shots") if name in options}
    given = OPTIONS | TUNING | {"store": root / "states", "output": root / "bad"} | kept
    with pytest.raises(RunError, match=message):
        bv.train(task, tiny_encoder, fine_tune_from=first.path, **given)


def test_kernel_heads_are_no_beginning(root, task, tiny_encoder):
    options = {"store": root / "states", "baselines": False, "codec": "float32", "seeds": 1}
    first = bv.train(task, tiny_encoder, output=root / "kernel", head="kernel_all_layers", **options)
    with pytest.raises(RunError, match="has kernel heads, which keep features of the frozen encoder"):
        bv.train(task, tiny_encoder, fine_tune_from=first.path, **options)


def test_no_run_takes_the_place_of_the_one_it_begins_with(root, task, first, tiny_encoder):
    for output in (first.path, root):
        with pytest.raises(RunError, match="cannot lie in the run's folder"):
            bv.train(task, tiny_encoder, fine_tune_from=first.path, output=output, store="elsewhere", **OPTIONS)
    assert bv.load_run(first.path).results == first.results


def test_other_verbs_refuse_it(run, root, task, first, tiny_encoder):
    settings = RunSettings.from_options(fine_tune_from=first.path, limit=300)
    with pytest.raises(RunError, match="a search trains heads of its own"):
        bv.search(task, tiny_encoder, settings=settings, store=root / "states", output=root / "search")
    with pytest.raises(RunError, match="has an encoder without a head of its own"):
        open_fine_tuned(run, None)


def test_a_grid_is_of_epochs_alone(root, task, first, tiny_encoder):
    common = OPTIONS | TUNING | {"fine_tune_from": first.path, "store": root / "states", "output": root / "grid"}
    for axes, message in (
        ({"fine_tune_epochs": [0, 1]}, "for whole epochs, got 0"),
        ({"train_share": [0.5, 1.0]}, "names a run of one task and one draw"),
    ):
        settings = RunSettings.from_options(**common)
        with pytest.raises(RunError, match=message):
            next(train_grid(build_grid(settings, **axes), tiny_encoder, settings=settings))


def test_a_run_on_a_fine_tuned_encoder_is_no_beginning(run, root, task, tiny_encoder):
    with pytest.raises(RunError, match="has a fine-tuned encoder: name a run on a frozen one"):
        bv.train(task, tiny_encoder, fine_tune_from=run.path, store=root / "states", **OPTIONS)


def test_questions_on_contexts(root, tiny_encoder):
    options = {"limit": 60, "baselines": False, "seeds": 1, "codec": "float32", "store": root / "states"}
    first = bv.train("starter_qa", tiny_encoder, head="cnn_1x5_64", fit=FIT, output=root / "qa", **options)
    options |= {"fine_tune_from": first.path}
    still = bv.train("starter_qa", tiny_encoder, output=root / "qa-still", **options | STILL)
    assert still.results["scores"] == pytest.approx(first.results["scores"])
    assert still.results["thresholds"] == pytest.approx(first.results["thresholds"], abs=1e-3)
    found = bv.train("starter_qa", tiny_encoder, output=root / "qa-tuned", **options | TUNING)
    assert found.results["selection_scores"][0] >= first.results["selection_scores"][0] - 1e-6
    losses = open_snapshots(found)[0].facts["history"]["loss"]
    assert losses[-1] < losses[0]
    together = bv.ensemble_runs([found, first], output=root / "qa-together", task="starter_qa")
    for member, own in zip(together.members, (found, first), strict=True):
        assert member.selection_score == pytest.approx(own.results["selection_scores"][0])


def test_scores_of_pairs(root, tiny_encoder):
    table = root / "scores.csv"
    rows = [(f"{'ab'[row % 2]} {row}", f"{'ab'[row % 3 % 2]} {row}", 1000.0 * (row % 7)) for row in range(120)]
    table.write_text("one,two,score\n" + "\n".join(f"{one},{two},{score}" for one, two, score in rows))
    task = bv.task_from_table(table, text="one", text_pair="two", label="score")
    options = {"baselines": False, "seeds": 1, "codec": "float32", "store": root / "states"}
    first = bv.train(task, tiny_encoder, head="comparison_adapter_16", fit=FIT, output=root / "pairs", **options)
    options |= {"fine_tune_from": first.path}
    still = bv.train(task, tiny_encoder, output=root / "pairs-still", **options | STILL)
    texts = [row[:2] for row in rows[:20]]
    before, after = (
        [float(label) for label in one.predict(*map(list, zip(*texts, strict=True))).labels] for one in (first, still)
    )
    assert after == pytest.approx(before, rel=1e-4)
    found = bv.train(task, tiny_encoder, output=root / "pairs-tuned", **options | TUNING)
    assert found.results["selection_scores"][0] >= first.results["selection_scores"][0] - 1e-6
    dev = found.open_stores(0)[1]
    head, (images, labels) = found.load_head(), next(iter(dev.as_dataset(batch_size=200)))
    predicted = np.asarray(head({name: images[name] for name in head.input}))[:, 0]
    assert abs(predicted.mean() - labels.numpy().mean()) < 1000  # of 0 to 6000; on a scale of its own it would be 0


def test_the_command(root, first, monkeypatch):
    monkeypatch.chdir(root)
    common = ("--encoder", TINY, "--limit", "300", "--no-baselines", "--store", "states", "--codec", "float32")
    done = run_here(
        "train", "--task", "starter", "--seeds", "1", "--head", "learned_pooling", "--epochs", "1", *common,
        "--output", "runs/before",
    )  # fmt: skip
    assert done.returncode == 0, done.output
    done = run_here("train", "--task", "starter", "--seeds", "1", "--fine-tune-from", "runs/before", *common)
    assert done.returncode == 0, done.output
    assert "learned_pooling, top 2, 3 epochs" in done.output
    assert "learned_pooling, frozen encoder" in done.output
    made = root / "runs" / "starter-learned_pooling-top_2-epochs-3"
    config = json.loads((made / "config.json").read_text())
    assert config["fine_tune_from"] == str((root / "runs" / "before").resolve())
    settings = RunSettings.from_file(made / "config.json")
    assert settings.head.head is None and settings.tuning.fine_tune_epochs == 3
    shown = run_here("report", str(made), "--output", "page")
    assert shown.returncode == 0, shown.output
    assert dataclasses.asdict(settings.tuning)["fine_tune_from"] == config["fine_tune_from"]
