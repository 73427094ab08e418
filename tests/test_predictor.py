"""What predicts: the best head of a run, or all of them together, on one split of train or on folds."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

import bertvision_tf
from bertvision_tf.cli.show import show_notes
from bertvision_tf.errors import RunError
from bertvision_tf.experiments.ensemble import ensemble_runs
from bertvision_tf.kinds import AnswerPredictions
from bertvision_tf.metrics.calibration import measure_calibration_error
from bertvision_tf.metrics.squad import AnswerScores
from bertvision_tf.reports.table import build_rows, build_task_rows
from bertvision_tf.serving import export_runs
from bertvision_tf.serving.columns import predict_with_run
from bertvision_tf.settings import RunSettings
from bertvision_tf.tasks.tables import read_table
from bertvision_tf.training.draw import split_task
from bertvision_tf.training.fit import build_predictor
from bertvision_tf.training.measured import MeasuredStore, read_in_order

TINY = Path(__file__).parent / "checkpoints" / "bert-gelu-eps1e-12-segments2"
TEXTS = ["the cat has eaten .", "she can not run", "who is running , the dogs or the cat ?"]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Trains on 300 rows of the starter task, all runs on one store."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name, task="starter", **options):
        common = {"limit": 300, "baselines": False, "fit": {"epochs": 2}, "store": folder / "states"}
        head = {} if task == "starter_qa" else {"head": "adapter_4_shared"}
        return bertvision_tf.train(task, str(TINY), output=folder / name, **common | head | options)

    return run


def average(run):
    """The mean of the heads' probabilities, one head after the other, on the scale that was found for it."""
    shares = []
    for seed in run.results["seeds"]:
        alone = bertvision_tf.load_run(run.path)
        alone._head = alone.load_head(seed)
        shares.append(alone.predict(TEXTS).probabilities)
    scale = run.results["calibration"]["scale"] or 1.0
    return softmax(scale * np.log(np.mean(shares, axis=0)), axis=1)


@pytest.mark.parametrize("options", [{"folds": 3}, {"seeds": 3, "predict_with": "mean"}], ids=["folds", "seeds"])
def test_all_heads_predict_together(train, options):
    run = train("-".join(map(str, options)), **options)
    together = run.results["together"]
    assert (run.results["calibration"]["scale"] is None) == ("folds" in options)
    assert together["heads"] == len(run.results["scores"]) == 3
    assert run.results["folds"] == options.get("folds")
    np.testing.assert_allclose(run.predict(TEXTS).probabilities, average(run), atol=1e-5)
    with open(run.path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = run.predict([row["text"] for row in rows])
    shares = np.array([float(row["p_acceptable"]) for row in rows])
    np.testing.assert_allclose(found.probabilities[:, 1], shares, atol=2e-4)
    decided = np.abs(shares - 0.5) > 1e-4  # heads of two epochs are hardly sure of anything
    same = np.array([label == row["prediction"] for label, row in zip(found.labels, rows, strict=True)])
    assert same[decided].all() and decided.mean() > 0.9
    assert together["trainable_parameters"] == 3 * run.results["trainable_parameters"]
    row = build_rows([run.results])[-1]
    assert row.name == "adapter_4_shared, 3 together" and row.mean == together["mean"]
    header, (cells,) = build_task_rows([run.results])
    assert (header[-1], cells[-1]) == ("together", f"{together['mean']:.3f}")


def test_probabilities_are_calibrated_on_the_selection_rows(train):
    run = train("calibrated", seeds=2, fit={"epochs": 8, "learning_rate": 0.03})
    task, found = bertvision_tf.get_task("starter"), run.results["calibration"]
    rows = [task.load(split).take(300) for split in ("train", "dev")]
    selection = rows[0].select(split_task(task, rows[0])[1])
    logits = build_predictor(run.load_head())(read_in_order(run.open_stores()[0], split_task(task, rows[0])[1]))
    assert task.kind.fit_calibration(logits, selection.labels).scale == pytest.approx(1, abs=0.01)
    assert found["scale"] != pytest.approx(1, abs=0.01)
    shares = run.predict(rows[1].texts).probabilities
    confidence, right = task.kind.judge(shares, rows[1].labels)
    assert found["error"] == pytest.approx(measure_calibration_error(confidence, right), abs=2e-3)
    assert sum(one["rows"] for one in found["bins"]) == len(rows[1])
    whole, half = found["coverage"][0], found["coverage"][10]
    assert (whole["share"], half["share"]) == (1.0, 0.5)
    assert whole["dev_share"] > 0.9 and whole["dev_right"] == pytest.approx(right.mean(), abs=0.02)
    kept = confidence >= half["threshold"]
    assert half["dev_share"] == pytest.approx(kept.mean(), abs=0.02) and 0.2 < kept.mean() < 0.8
    assert half["dev_right"] == pytest.approx(right[kept].mean(), abs=0.02)


def test_a_run_keeps_silent_where_it_is_not_sure(train):
    run = train("silent", seeds=1)
    rows = bertvision_tf.get_task("starter").load("dev").take(100)
    every, some = run.predict(rows.texts), run.predict(rows.texts, coverage=0.6)
    np.testing.assert_array_equal(every.probabilities, some.probabilities)
    assert run.predict(rows.texts, coverage=1).labels == every.labels
    silent = np.array([label is None for label in some.labels])
    assert 0.1 < silent.mean() < 0.7
    assert every.probabilities.max(axis=1)[silent].max() < every.probabilities.max(axis=1)[~silent].min()
    assert all(one in (None, other) for one, other in zip(some.labels, every.labels, strict=True))
    assert run.find_confidence(0.62) == pytest.approx(
        0.6 * run.find_confidence(0.6) + 0.4 * run.find_confidence(0.65), abs=1e-6
    )
    assert run.find_confidence(0.97) > 0.5 > run.find_confidence(1)
    for coverage in (0, 0.04, 1.5, float("nan")):
        with pytest.raises(RunError, match=r"`coverage` needs 0\.05 to 1, got"):
            run.predict(TEXTS, coverage=coverage)
    older = bertvision_tf.load_run(run.path)
    del older.results["calibration"]
    with pytest.raises(RunError, match="does not have: train it anew"):
        older.predict(TEXTS, coverage=0.5)


def test_a_linear_model_that_is_as_good_is_named(train, capsys):
    results = train("rivalled", seeds=1, baselines=True).results
    (linear,) = (one for name, one in results["baselines"].items() if name.startswith("all layers mean"))
    for selected, said in ((1.0, True), (-1.0, False)):
        linear["selection_score"] = selected
        show_notes(results)
        shown = capsys.readouterr().out
        assert ("--head linear_all_layers" in shown) == said and "Calibration error on dev" in shown


def test_seeds_that_draw_questions_of_other_numbers_of_windows(train):
    options = {"limit": 120, "max_length": 32, "train_share": 0.5, "fit": {"epochs": 1, "batch_size": 4}}
    run = train("windows", "starter_qa", seeds=3, **options)
    assert len(run.results["scores"]) == 3
    (alone,) = train("window", "starter_qa", seeds=1, **options).results["scores"]
    assert run.results["scores"][0] == pytest.approx(alone, abs=1e-3)


def test_the_predictions_of_several_labels_do_not_change(train):
    """On three columns of labels: those of the calibrated head are those that its best epoch had."""
    words = ["cat", "dog", "bird", "eaten", "run", "can"]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 4)) for _ in range(240)]
    labels = {name: [int(name in text) for text in texts] for name in words[:3]}
    parts = ({"text": texts[start:end], **{name: own[start:end] for name, own in labels.items()}} for start, end in
             ((0, 180), (180, 240)))  # fmt: skip
    task = bertvision_tf.task_from_table(*parts, text="text", label=words[:3], name="words")
    run = train("sets", task, seeds=2, limit=None, fit={"epochs": 6, "learning_rate": 0.03})
    with open(run.path / "curves.csv", newline="", encoding="utf-8") as file:
        curves = list(csv.DictReader(file))
    for seed, score in zip(run.results["seeds"], run.results["selection_scores"], strict=True):
        assert score == max(float(row["selection_score"]) for row in curves if row["seed"] == str(seed))
    assert len(run.results["calibration"]["scale"]) == 3 and min(run.results["calibration"]["scale"]) > 0
    found = run.predict(texts[180:], coverage=0.5)
    assert None in found.labels and any(isinstance(label, tuple) for label in found.labels)
    folder = run.path.parent
    table = read_table(write_lines(folder / "new.csv", ["text", *texts[180:]]))
    columns = predict_with_run(run, table, coverage=0.5)
    assert [sure == "no" for sure in columns["sure"]] == [label is None for label in found.labels]


def write_lines(file, lines):
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_questions_have_a_threshold_of_their_own(train):
    run = train("unsure", "starter_qa", limit=60, seeds=1, max_length=32)
    assert run.results["calibration"] is None
    with pytest.raises(RunError, match="its task is a span"):
        run.predict(["Who has eaten?"], ["The cat has eaten."], coverage=0.5)


def test_the_best_head_predicts_by_default(train):
    run = train("best", seeds=2)
    assert run.results["together"] is None
    assert not (run.path / "heads" / "mean.keras").exists()


def test_every_row_of_train_is_trained_on_and_selects(train):
    run = train("whole", folds=3)
    rows = run.results["rows"]
    assert (rows["training"], rows["selection"]) == (200, 100)
    assert len(run.results["store"]["paths"]) == 2 and len(run.open_stores(2)) == 2
    rows = train("split", seeds=1).results["rows"]
    assert (rows["training"], rows["selection"]) == (150, 150)  # of so few rows half select


def test_a_run_of_folds_is_exported_as_one_model(train, tmp_path):
    pytest.importorskip("tensorflow_text")
    tf = pytest.importorskip("tensorflow")
    run = train("exported", folds=2)
    export_runs([run], tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    found = served(text=tf.constant(TEXTS))
    np.testing.assert_allclose(found["probabilities"], run.predict(TEXTS).probabilities, atol=1e-5)
    card = (tmp_path / "model" / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "of its 2 heads together" in card and "300 train rows in 2 folds" in card


def test_questions_are_answered_together(train):
    run = train("answers", "starter_qa", limit=60, folds=2, max_length=32)
    together = run.results["together"]
    assert together["threshold"] == run.threshold
    predictions = json.loads((run.path / "predictions.json").read_text(encoding="utf-8"))
    rows = bertvision_tf.get_task("starter_qa").load("dev").take(60)
    answers = run.answer_all(rows.texts[:8], rows.text_pairs[:8])
    assert [answer.text for answer in answers] == [predictions[name] for name in rows.ids[:8]]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"folds": 1}, "`folds` needs 2 or more"),
        ({"folds": 2.5}, "`folds` needs 2 or more"),
        ({"folds": 2, "predict_with": "best"}, "tell no best head: predict with mean"),
        ({"folds": 3, "seeds": 2}, "`folds` trains one head a fold, 3 in all: leave `seeds` out"),
        ({"folds": 3, "fine_tune_epochs": 1}, "leave one of both out"),
        ({"predict_with": "all"}, "`predict_with` needs best or mean, got 'all'"),
        ({"predict_with": "mean", "fine_tune_epochs": 1}, "needs heads on one encoder: fine-tune one alone"),
    ],
)
def test_what_does_not_go_together_is_refused(train, options, line):
    with pytest.raises(RunError, match=line):
        train("refused", **options)


def test_a_run_of_folds_is_found_again_and_run_from_its_config(train, tmp_path):
    run = train("again", folds=2)
    assert train("again", folds=2, resume=True).results == run.results
    settings = RunSettings.from_file(run.path / "config.json")
    options = {"output": tmp_path / "run", "store": run.path.parent / "states"}
    other = bertvision_tf.train(settings=settings, **options)
    assert other.results["together"] == run.results["together"]
    assert len(bertvision_tf.train(settings=settings, folds=3, **options).results["scores"]) == 3


def test_pairs_are_measured_once_for_all_folds(train, monkeypatch):
    measured = []
    measure = MeasuredStore.__init__
    monkeypatch.setattr(MeasuredStore, "__init__", lambda *given: measured.append(given) or measure(*given))
    rows = [{"first": TEXTS[n % 3], "second": TEXTS[n % 2], "label": str(n % 2)} for n in range(60)]
    tables = [{name: [row[name] for row in part] for name in rows[0]} for part in (rows, rows[:20])]
    task = bertvision_tf.task_from_table(*tables, text="first", text_pair="second", label="label", name="pairs")
    run = train("pairs", task, folds=2, head="comparison_adapter_64_similarity_8", limit=None)
    assert len(measured) == 2  # train and dev
    found = run.predict([row["first"] for row in rows[:20]], [row["second"] for row in rows[:20]])
    with open(run.path / "predictions.csv", newline="", encoding="utf-8") as file:
        assert found.labels == [row["prediction"] for row in csv.DictReader(file)]


def test_heads_on_one_fine_tuned_encoder_predict_together(train):
    options = {"fine_tune_epochs": 0.5, "fine_tune_seeds": 1, "seeds": 2, "predict_with": "mean"}
    run = train("tuned", **options)
    assert run.results["together"]["heads"] == 2
    np.testing.assert_allclose(run.predict(TEXTS).probabilities, average(run), atol=1e-5)
    assert build_rows([run.results])[-1].name == "adapter_4_shared, 0.5 epoch, 2 together"


def test_runs_on_folds_and_on_one_split_are_no_ensemble(train):
    with pytest.raises(RunError, match="their selection_rows differ"):
        ensemble_runs([train("one", folds=2), train("two", seeds=1)])


def test_a_threshold_that_answers_everything_does_not_move_the_others():
    scores = AnswerScores(np.array([1.0, 0.0]), np.array([1.0, 0.0]), np.array([True, False]), np.array([True, True]))
    parts = [AnswerPredictions(["a", "b"], np.array([-3.0, 2.0]), scores, threshold) for threshold in (-1.0, 1e9)]
    pooled = AnswerPredictions.pool(parts)
    assert pooled.final == ["a", "", "a", ""] and -3 <= pooled.threshold < 2
