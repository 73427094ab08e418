"""Whole runs on questions with the tiny encoder: what they write, what they answer, how they go on after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import BertvisionError, RunError, TaskError
from bertvision_tf.metrics import squad_metrics
from bertvision_tf.training import FitConfig
from bertvision_tf.training.span_rivals import LAST_LAYER

ROOT = Path(__file__).parents[1]
TINY = str(ROOT / "tests" / "checkpoints" / "bert-gelu-eps1e-12-segments2")
WORDS = "the a cat cats dog dogs has have eat eats is can not run she he".split()
FIT = {"epochs": 4, "patience": 4, "learning_rate": 0.02, "batch_size": 16}
OPTIONS = {"max_length": 24, "codec": "float32", "fit": FIT, "head": "learned_pooling"}


def make_table(count, seed):
    """Contexts of 8 to 30 words, with a bird in three of four: what is it?"""
    random = np.random.default_rng(seed)
    table = {"id": [], "question": [], "context": [], "answers": []}
    for row in range(count):
        words = random.choice(WORDS, random.integers(8, 30)).tolist()
        if row % 4:
            words[random.integers(len(words))] = "bird"
        table["id"].append(f"{seed}-{row}")
        table["question"].append("what ?")
        table["context"].append(" ".join([*words, f"{seed} {row}"]))
        table["answers"].append(json.dumps(["bird"] if row % 4 else []))
    return table


@pytest.fixture(scope="module")
def task():
    return bv.task_from_table(make_table(500, 0), make_table(80, 1), name="birds")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("spans")


@pytest.fixture(scope="module")
def run(task, root, tiny_encoder):
    return bv.train(
        *(task, tiny_encoder),
        **(OPTIONS | {"store": root / "states", "output": root / "run", "seeds": 2, "fine_tune_seeds": 1}),
        fine_tune_epochs=6,
        fine_tune={"learning_rate": 1e-2, "batch_size": 8},
    )


@pytest.fixture(scope="module")
def frozen(task, root, tiny_encoder):
    return bv.train(task, tiny_encoder, **(OPTIONS | {"store": root / "states", "output": root / "frozen", "seeds": 2}))


def read_json(run, name):
    return json.loads((run.path / f"{name}.json").read_text(encoding="utf-8"))


def make_gold(task):
    dev = task.load("dev")
    rows = zip(dev.ids, dev.answers, strict=True)
    return [{"paragraphs": [{"qas": [{"id": name, "answers": [one._asdict() for one in own]} for name, own in rows]}]}]


def test_it_learns(run):
    results = run.results
    assert (results["task"], results["metric"]) == ("birds", "f1")
    nothing = results["baselines"]["no answer"]["mean"]
    assert nothing == 25
    assert results["baselines"]["no answer"]["metrics"]["HasAns_f1"] == [0]
    assert results["mean"] > 60 and results["encoder_scores"][0] > 60
    assert results["fine_tune"]["ensemble"]["mean"] > 60
    assert len(results["baselines"]["last layer + linear"]["scores"]) == 2
    assert results["rows"]["dev"] == 80 and results["store"]["examples"] > 580  # windows


def test_files_are_as_the_official_scorer_reads_them(run, task):
    """Final answers give the scores; texts before any threshold, with their odds, the best ones."""
    best = run.results["seeds"].index(run.best_seed)
    metrics = {name: values[best] for name, values in run.results["metrics"].items()}
    final, odds, listed = (read_json(run, name) for name in ("predictions", "null_odds", "nbest_predictions"))
    official = squad_metrics(make_gold(task), final)
    for name in ("exact", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"):
        assert metrics[name] == pytest.approx(official[name], abs=1e-9)
    texts = {name: spans[0]["text"] if spans else "" for name, spans in listed.items()}
    official = squad_metrics(make_gold(task), texts, odds)
    for name in ("best_exact", "best_f1", "best_exact_thresh", "best_f1_thresh"):
        assert metrics[name] == pytest.approx(official[name], abs=1e-9)
    assert metrics["best_f1"] >= metrics["f1"]
    threshold = run.results["thresholds"][best]
    assert final == {name: "" if odds[name] > threshold else text for name, text in texts.items()}
    with open(run.path / "predictions.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["prediction"] for row in rows] == list(final.values())
    assert [row[f"prediction_seed_{run.best_seed}"] for row in rows] == list(final.values())
    assert json.loads(rows[1]["label"]) == ["bird"] and json.loads(rows[0]["label"]) == []


def test_the_threshold_is_that_of_the_selection_rows(run, task, tiny_encoder):
    """Chosen without a look at dev: other dev rows, the same thresholds."""
    other = bv.task_from_table(make_table(500, 0), make_table(40, 7), name="birds")
    assert other.load("train").fingerprint == task.load("train").fingerprint
    again = bv.train(
        *(other, tiny_encoder),
        **(OPTIONS | {"store": run.path.parent / "states", "output": run.path.parent / "other", "seeds": 2}),
        fine_tune_seeds=1,
        fine_tune_epochs=6,
        fine_tune={"learning_rate": 1e-2, "batch_size": 8},
        baselines=False,
    )
    assert again.results["thresholds"] == run.results["thresholds"]
    assert again.results["selection_scores"] == run.results["selection_scores"]
    assert again.results["fine_tune"]["selection_scores"] == run.results["fine_tune"]["selection_scores"]


def test_the_same_command_finds_everything_and_runs_no_tokenizer(frozen, task, root, tiny_encoder, monkeypatch):
    monkeypatch.setattr(type(tiny_encoder), "tokenize_windows", lambda *a, **k: pytest.fail("it was tokenized"))
    again = bv.train(
        task, tiny_encoder, **(OPTIONS | {"store": root / "states", "output": root / "frozen", "seeds": 2})
    )
    assert again.results["scores"] == frozen.results["scores"]
    assert again.results["metrics"] == frozen.results["metrics"]


def test_a_run_answers_as_it_did_on_dev(run, task):
    dev = task.load("dev")
    found = bv.load_run(run.path).answer_all(dev.texts[:30], dev.text_pairs[:30])
    assert [one.text for one in found] == list(read_json(run, "predictions").values())[:30]
    for one, context, odds in zip(found, dev.text_pairs, read_json(run, "null_odds").values(), strict=False):
        assert one.null_score - one.score == pytest.approx(odds, abs=1e-3)
        assert one.text == ("" if one.start is None else context[one.start : one.end])
        assert one.candidates[0][1] == one.score
        assert len({text for text, *_ in one.candidates}) == len(one.candidates)
        assert all(context[start:end] == text for text, _, start, end in one.candidates)
    assert run.predict(dev.texts[:30], dev.text_pairs[:30]).labels == [one.text for one in found]


def test_contexts_of_any_length_and_kind(run):
    long = " ".join([*(["the cat has a dog"] * 4000), "she is a bird ."])  # 20,004 words
    found = run.answer("what ?", long)
    assert found.candidates and all(long[start:end] == text for text, _, start, end in found.candidates)
    assert run.answer("what ?", "").text == "" and run.answer("what ?", "").candidates == []
    assert run.answer("what ?", " \n ").text == ""
    for context in (
        "الطائر في السماء bird هناك",
        "🐦🐦 bird 🐈‍⬛",
        "<p>the <b>bird</b> &amp; the cat</p>",
        "e\u0301 bird\u0301",
    ):
        for text, _, start, end in run.answer("what ?", context).candidates:
            assert text and text == context[start:end] == text.strip()
    wrong = [
        ([""], ["a"]),
        ([" "], ["a"]),
        ([3], ["a"]),
        ({"a"}, ["a"]),
        ("what", "a"),
        (["a", "b"], ["a"]),
        (["a"], None),
    ]
    for questions, contexts in (*wrong, (["a", "b"], ["a"]), (["a"], ["\ud83d"])):
        with pytest.raises(BertvisionError):
            run.answer_all(questions, contexts)
    assert run.answer_all([], []) == []
    assert run.answer_all((one for one in ["what ?"]), iter(["a bird"])) == [run.answer("what ?", "a bird")]


def test_a_table_of_questions_is_predicted(run, task, tmp_path):
    """Columns are found by their names in any case."""
    dev = task.load("dev")
    with open(tmp_path / "new.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerows([("Question", "Passage"), *zip(dev.texts[:8], dev.text_pairs[:8], strict=True), ("who ?", "")])
    command = [sys.executable, "-m", "bertvision_tf", "predict", run.path, "--input", "new.csv", "--output", "out.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["Question", "Passage", "prediction", "score", "null_odds"]
    assert [row["prediction"] for row in rows] == [*list(read_json(run, "predictions").values())[:8], ""]
    odds = list(read_json(run, "null_odds").values())[:8]
    assert [float(row["null_odds"]) for row in rows[:8]] == pytest.approx(odds, abs=1e-3)
    assert rows[8]["score"] == rows[8]["null_odds"] == ""


def test_the_last_layer_is_trained_as_a_linear_head_is(task, root, tiny_encoder):
    """With its own learning rate where none was given, and by name the last that was kept."""
    head = bv.get_preset("cnn_1x5_64")
    usual = FitConfig.for_head(head)
    assert usual.learning_rate == 1e-3 and usual.for_another(head, LAST_LAYER).learning_rate == 1e-2
    given = FitConfig.for_head(head, learning_rate=5e-4, epochs=3)
    assert given.for_another(head, LAST_LAYER) == given
    found = bv.train(
        *(task, tiny_encoder),
        **(OPTIONS | {"store": root / "states", "output": root / "kept", "seeds": 1, "layers": [0, 1]}),
    )
    assert set(found.results["baselines"]) == {"no answer", "last kept layer + linear"}


def test_layers_can_be_chosen(task, root, tiny_encoder):
    found = bv.train(
        *(task, tiny_encoder),
        **(OPTIONS | {"store": root / "states", "output": root / "auto", "seeds": 1, "layers": "auto"}),
        baselines=False,
    )
    chosen = found.results["layers"]["chosen"]
    assert set(chosen["kept"]) <= {0, 1, 2} and chosen["standard_error"] > 0
    assert found.results["layers"]["names"] == list(chosen["kept"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": "cls"}, "an answer is a span of them"),
        ({"fit": {"mixup": 0.2}}, "`mixup` mixes labels"),
        ({"shots": 8}, "birds is a span"),
        ({"balance_classes": True}, "birds is a span"),
        ({"head": "comparison_adapter_64"}, "no span head"),
    ],
)
def test_what_questions_do_not_take(task, tiny_encoder, tmp_path, options, message):
    with pytest.raises(BertvisionError, match=message):
        bv.train(task, tiny_encoder, **(OPTIONS | {"store": tmp_path / "s", "output": tmp_path / "run"} | options))
    assert not (tmp_path / "run").exists()


def test_rivals_are_fine_tuned_too(task, root, tiny_encoder):
    found = bv.train(
        *(task, tiny_encoder),
        **(OPTIONS | {"store": root / "states", "output": root / "rival", "seeds": 1}),
        baseline_parts=["all"],
        baseline_epochs=[1, 6],
        fine_tune={"learning_rate": 1e-2, "batch_size": 8},
    )
    rival = found.results["baselines"]["full fine-tuning, best epoch"]
    assert rival["epochs"][0] in (1, 6) and rival["mean"] > 50


class TestEnsembles:
    def test_of_questions(self, run, frozen, task, root):
        found = bv.ensemble_runs([run, frozen], root / "both", task=task)
        assert [one.name for one in found.members] == ["run", "frozen"]
        for one, single in zip(found.members, (run, frozen), strict=True):
            best = single.results["seeds"].index(single.best_seed)
            assert one.selection_score == pytest.approx(max(single.results["selection_scores"]))
            assert one.metrics == pytest.approx({name: v[best] for name, v in single.results["metrics"].items()})
        assert [one.name for one in found.modes] == ["maximum", "mean", "geometric_mean", "weighted"]
        assert found.chosen.selection_score == max(one.selection_score for one in found.modes)
        assert sum(found.modes[3].weights) == pytest.approx(1)
        final = json.loads((root / "both" / "predictions.json").read_text())
        assert squad_metrics(make_gold(task), final)["f1"] == pytest.approx(found.chosen.metrics["f1"])
        written = json.loads((root / "both" / "results.json").read_text())
        assert written["mode"] == found.chosen.name and written["mean"] == found.chosen.metrics["f1"]

    def test_of_a_run_with_itself_is_the_run(self, frozen, task, tmp_path):
        found = bv.ensemble_runs([frozen, copy_run(frozen, tmp_path)], tmp_path / "both", task=task)
        for mode in found.modes:
            assert mode.selection_score == pytest.approx(found.members[0].selection_score)
            for name, value in found.members[0].metrics.items():
                if not name.endswith("thresh"):  # odds of one model and of both differ by rounding
                    assert mode.metrics[name] == pytest.approx(value)

    def test_nothing_is_replaced_unasked(self, run, frozen, task, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        copy = copy_run(frozen, tmp_path)
        with pytest.raises(RunError, match="copy holds a run: name another"):
            bv.ensemble_runs([frozen, run], copy.path, task=task)
        found = bv.ensemble_runs([frozen, copy], task=task)
        assert found.path == tmp_path / "runs" / "birds-ensemble"
        again = bv.ensemble_runs([frozen, copy], task=task)  # the same runs
        assert again.chosen == found.chosen
        with pytest.raises(RunError, match="an ensemble of other runs"):
            bv.ensemble_runs([frozen, run], task=task)
        bv.ensemble_runs([frozen, run], found.path, task=task)  # named
        with pytest.raises(RunError, match=r"is an ensemble, no run with heads of its own: name one of .*frozen"):
            bv.load_run(found.path)
        with pytest.raises(RunError, match="is an ensemble"):
            bv.train(task, TINY, **(OPTIONS | {"store": tmp_path / "s", "output": found.path}))

    def test_other_selection_rows_are_refused(self, frozen, task, tmp_path):
        other = copy_run(frozen, tmp_path)
        config = json.loads((other.path / "config.json").read_text())
        assert len(config["selection_rows"]) == 16
        (other.path / "config.json").write_text(json.dumps(config | {"selection_rows": "0" * 16}))
        other = bv.load_run(other.path)
        with pytest.raises(RunError, match="different rows: their selection_rows differ"):
            bv.ensemble_runs([frozen, other], tmp_path / "both", task=task)
        other.config["selection_rows"] = frozen.config["selection_rows"] = "1" * 16
        try:
            with pytest.raises(RunError, match="has other selection rows than are set aside of birds now"):
                bv.ensemble_runs([frozen, other], tmp_path / "both", task=task)
        finally:
            frozen.config["selection_rows"] = config["selection_rows"]

    def test_other_rows_are_refused(self, frozen, task, tiny_encoder, root, tmp_path):
        other = bv.train(
            *(task, tiny_encoder),
            **(OPTIONS | {"store": tmp_path / "s", "output": tmp_path / "limited", "seeds": 1, "limit": 60}),
            baselines=False,
        )
        with pytest.raises(RunError, match="different rows: their examples differ"):
            bv.ensemble_runs([frozen, other], tmp_path / "both", task=task)
        with pytest.raises(RunError, match="two runs or more"):
            bv.ensemble_runs([frozen], tmp_path / "both", task=task)
        with pytest.raises(RunError, match="a table of yours"):
            bv.ensemble_runs([frozen, copy_run(frozen, tmp_path)], tmp_path / "both")
        with pytest.raises(TaskError, match="birdss"):
            bv.ensemble_runs([frozen, copy_run(frozen, tmp_path)], tmp_path / "both", task="birdss")
        assert not (tmp_path / "both").exists()

    def test_of_labels_and_scores(self, tiny_encoder, tmp_path):
        random = np.random.default_rng(0)
        texts = [" ".join(random.choice(WORDS, 6)) for _ in range(500)]
        for labels, modes in (
            ([("cat" in text) * 1 for text in texts], 4),
            ([text.count("cat") + 0.5 for text in texts], 2),
        ):
            task = bv.task_from_table({"text": texts, "label": labels}, name="words")
            runs = [
                bv.train(
                    *(task, tiny_encoder), head=head, seeds=1, store=tmp_path / "s", output=tmp_path / f"{modes}{head}",
                    fit={"epochs": 2}, baselines=False,
                )
                for head in ("learned_pooling", "adapter_4_shared")
            ]  # fmt: skip
            found = bv.ensemble_runs(runs, tmp_path / f"both{modes}", task=task)
            assert len(found.modes) == modes
            assert len(found.modes[-1].weights) == 2
            for one, single in zip(found.members, runs, strict=True):
                assert one.metrics[found.metric] == pytest.approx(single.results["scores"][0])
            with open(tmp_path / f"both{modes}" / "predictions.csv", newline="") as stream:
                assert len(list(csv.DictReader(stream))) == 100


def copy_run(run, folder):
    """The same run under another path."""
    copy = folder / "copy"
    copy.mkdir(exist_ok=True)
    if not (copy / "heads").exists():
        (copy / "heads").symlink_to(run.path / "heads")
    for name in ("results.json", "config.json"):
        (copy / name).write_bytes((run.path / name).read_bytes())
    return bv.load_run(copy)


SEVERAL = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
import bertvision_tf as bv
import test_span_runs as tests
task = bv.task_from_table(tests.make_table(500, 0), tests.make_table(80, 1), name="birds")
run = bv.train(
    task, bv.load_encoder(tests.TINY), strategy="mirrored", fine_tune_epochs=3, seeds=1, store="states", output="run",
    fine_tune={"learning_rate": 1e-2, "batch_size": 8}, baselines=False, **tests.OPTIONS
)
"""


def test_on_several_devices(tmp_path):
    """Fine-tuning and heads in one process: their sums over devices must not meet."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, str(ROOT / "tests")],
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300},
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["scores"][0] > 60 and results["encoder_scores"][0] > 60


def start(folder, *options):
    command = [sys.executable, str(ROOT / "scripts" / "train_squad.py"), "--encoder", TINY, "--limit", "400"]
    command += ["--seeds", "1", "--fine-tune-epochs", "2", "--max-length", "64", "--epochs", "2", "--store", "states"]
    return subprocess.Popen([*command, *options], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on(tmp_path):
    """Through the script, on the starter questions: killed once fine-tuning or extraction has left something."""
    (tmp_path / "states").mkdir()
    killed = start(tmp_path, "--output", "run")
    deadline = time.time() + 200
    while not list((tmp_path / "states").rglob("epochs-2/config.json")) and killed.poll() is None:
        assert time.time() < deadline
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "run" / "results.json").exists()
    again = start(tmp_path, "--output", "run")
    printed, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    for part in ("starter_qa dev, f1", "no answer", "HasAns_f1", "encoder, 2 epochs", "ensemble, 2 epochs"):
        assert part in printed
    whole = start(tmp_path, "--output", "whole", "--store", "others")
    assert whole.communicate(timeout=300) and whole.returncode == 0
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("run", "whole")]
    for name in ("scores", "encoder_scores", "metrics", "thresholds"):
        assert results[0][name] == results[1][name]
    done = subprocess.run(
        [sys.executable, "-m", "bertvision_tf", "ensemble", "run", "whole", "--output", "both"],
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300},
    )
    assert done.returncode == 0, done.stderr
    assert "geometric_mean" in done.stdout and "chosen on the selection rows" in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "bertvision_tf", "ensemble", "run", "whole", "--kind", "span"],
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300},
    )
    assert done.returncode == 1 and done.stderr.strip() == "error: --kind goes with --train, a table of your own."
