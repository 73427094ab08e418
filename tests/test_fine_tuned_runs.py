"""Whole runs on encoders that were fine-tuned first: their own heads, the heads on their states, and both together."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.metrics import glue_metrics
from bertvision_tf.tasks import get_task, split_selection
from bertvision_tf.training import Snapshot, fine_tune
from bertvision_tf.training.fine_tuning import read_snapshot

from .command import run_here

TINY = str(Path(__file__).parent / "checkpoints" / "bert-gelu-eps1e-12-segments2")
FIT = bv.FitConfig(epochs=2, patience=2)
OPTIONS = {"head": "learned_pooling", "limit": 500, "fit": FIT, "baselines": False, "codec": "float32"}
TUNING = {"fine_tune": {"learning_rate": 1e-3}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("fine-tuned")


@pytest.fixture(scope="module")
def run(root, tiny_encoder):
    options = OPTIONS | TUNING | {"seeds": 2, "fine_tune_epochs": 0.5}
    return bv.train("starter", tiny_encoder, store=root / "states", output=root / "run", **options)


def open_snapshots(run) -> list[Snapshot]:
    return [read_snapshot(Path(snapshot["path"])) for snapshot in run.config["snapshots"].values()]


def test_each_seed_has_its_own_encoder(run, tiny_encoder):
    snapshots = open_snapshots(run)
    fingerprints = {snapshot.encoder.fingerprint for snapshot in snapshots} | {tiny_encoder.fingerprint}
    assert len(fingerprints) == 3
    assert [snapshot.facts["seed"] for snapshot in snapshots] == run.results["fine_tune"]["seeds"] == [0, 1]
    assert run.results["fine_tune"]["steps"] == 5  # half of ten batches of 32 for 300 rows
    assert run.results["encoder_fingerprint"] == tiny_encoder.fingerprint
    assert run.results["seconds"]["fine_tune"] == sum(run.results["fine_tune"]["seconds"]) > 0
    stores = run.open_stores()
    assert [store.spec.split for store in stores] == ["train", "dev", "train", "dev"]
    assert {store.spec.encoder_fingerprint for store in stores} == fingerprints - {tiny_encoder.fingerprint}
    assert run.results["store"]["examples"] == 2000


def test_selection_rows_are_not_trained_on(run):
    train = get_task("starter").load("train").take(500)
    training, _ = split_selection(train.labels, train.groups)
    import hashlib

    expected = hashlib.sha256(training.tobytes()).hexdigest()[:32]
    assert [snapshot.facts["rows"] for snapshot in open_snapshots(run)] == [expected] * 2


def test_scores_are_those_of_encoder_head_and_both(run):
    task = get_task("starter")
    train, dev = (task.load(split).take(500) for split in ("train", "dev"))
    _, selection = split_selection(train.labels, train.groups)
    tuned = run.results["fine_tune"]
    for place, snapshot in enumerate(open_snapshots(run)):
        own = snapshot.predict(dev, task.max_length)
        store = run.open_stores()[2 * place + 1]
        images = next(iter(store.as_dataset(batch_size=500)))[0]
        head = run.load_head(place)
        logits = np.asarray(head({name: images[name] for name in head.input}))
        both = np.maximum(softmax(own, axis=1), softmax(logits, axis=1)).argmax(axis=1)
        for scores, predictions in (
            (run.results["encoder_scores"], own.argmax(axis=1)),
            (run.results["scores"], logits.argmax(axis=1)),
            (tuned["ensemble_scores"], both),
        ):
            assert scores[place] == pytest.approx(glue_metrics("starter", dev.labels, predictions)["accuracy"])
        chosen = snapshot.predict(train.select(selection), task.max_length).argmax(axis=1)
        assert tuned["selection_scores"][place] == pytest.approx((chosen == train.labels[selection]).mean())
    assert tuned["mean"] == pytest.approx(np.mean(run.results["encoder_scores"]))
    assert tuned["ensemble"]["mean"] == pytest.approx(np.mean(tuned["ensemble_scores"]))


def test_the_same_command_finds_snapshots_and_states(run, root, tiny_encoder, monkeypatch):
    monkeypatch.setattr("bertvision_tf.training.fine_tuning._FineTuning", lambda *a: pytest.fail("it was fine-tuned"))
    options = OPTIONS | TUNING | {"seeds": 2, "fine_tune_epochs": 0.5}
    again = bv.train("starter", tiny_encoder, store=root / "states", output=root / "again", **options)
    for key in ("scores", "encoder_scores", "metrics"):
        assert again.results[key] == run.results[key]
    assert again.results["seconds"]["fine_tune"] == run.results["seconds"]["fine_tune"]


def test_a_run_predicts_with_its_own_encoder(run):
    texts = get_task("starter").load("dev").texts[:40]
    found = bv.load_run(run.path).predict(texts)
    with open(run.path / "predictions.csv", newline="", encoding="utf-8") as stream:
        stored = [float(row["p_acceptable"]) for row in csv.DictReader(stream)][:40]
    np.testing.assert_allclose(found.probabilities[:, 1], stored, atol=1e-4)


def test_heads_can_share_an_encoder(root, tiny_encoder):
    options = OPTIONS | TUNING | {"seeds": 3, "fine_tune_epochs": 0.5, "fine_tune_seeds": 1}
    run = bv.train("starter", tiny_encoder, store=root / "states", output=root / "shared", **options)
    assert len(run.results["encoder_scores"]) == 1
    assert len(run.results["scores"]) == len(run.results["fine_tune"]["ensemble_scores"]) == 3
    assert len(run.open_stores()) == 2


def test_shots_are_all_that_an_encoder_sees(root, tiny_encoder):
    options = OPTIONS | TUNING | {"seeds": 2, "fine_tune_epochs": 1, "shots": 20}
    run = bv.train("starter", tiny_encoder, store=root / "states", output=root / "shots", **options)
    assert run.results["rows"]["training"] == 40
    assert run.results["fine_tune"]["steps"] == 2
    first, second = (snapshot.facts["rows"] for snapshot in open_snapshots(run))
    assert first != second


def test_scores_of_texts_too(tmp_path, tiny_encoder):
    words = "the a cat cats dog dogs bird has have eat is can not run".split()
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, random.integers(2, 7))) for _ in range(500)]
    task = bv.task_from_table({"text": texts, "score": [text.count("cat") + 0.5 for text in texts]})
    run = bv.train(
        *(task, tiny_encoder),
        **(OPTIONS | {"seeds": 1, "fine_tune_epochs": 30, "fine_tune": {"learning_rate": 1e-2}}),
        **{"store": tmp_path / "states", "output": tmp_path / "run"},
    )
    assert run.results["encoder_scores"][0] > 0.5
    dev = task.load("dev")
    (snapshot,) = open_snapshots(run)
    found = snapshot.predict(dev, task.max_length)
    assert found.shape == (len(dev), 1)
    assert np.abs(found.mean() - dev.labels.mean()) < 0.3


def test_ensembles_in_numbers():
    from bertvision_tf import kinds

    one, two = np.log([[0.6, 0.4], [0.3, 0.7]]), np.log([[0.1, 0.9], [0.6, 0.4]])

    def combine(kind, parts):
        return kind.decode(kind.combine(parts)).tolist()

    assert combine(kinds.CLASSIFICATION, [one, two]) == [1, 1]
    assert combine(kinds.REGRESSION, [np.array([[1.0]]), np.array([[4.0]])]) == [2.5]
    sides = [np.array([[3.0, -3.0]]), np.array([[-1.0, 1.0]])]
    assert combine(kinds.MULTILABEL, sides) == [[1, 0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fine_tune_epochs": -1}, "0 or more"),
        ({"fine_tune_epochs": 1, "fine_tune_seeds": 3}, "as many as `seeds`"),
        ({"fine_tune_epochs": 1, "fine_tune_seeds": 1, "shots": 5}, "no `shots`"),
        ({"fine_tune_epochs": 1, "fine_tune": {"parts": "half"}}, "'half' are not known"),
        ({"fine_tune_epochs": 1, "fine_tune": {"parts": "top_3"}}, "more than the 2 blocks"),
        ({"fine_tune_epochs": 1, "fine_tune": {"schedule": "never"}}, "'never' is not known"),
        ({"fine_tune_epochs": 1, "fine_tune": {"dtype": "int8"}}, "'int8' is not known"),
    ],
)
def test_wrong_choices_are_one_line(tiny_encoder, tmp_path, options, message):
    with pytest.raises(RunError, match=message) as caught:
        bv.train(
            "starter", tiny_encoder, store=tmp_path / "s", output=tmp_path / "o", **(OPTIONS | {"seeds": 2} | options)
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_fractions_on_the_command_line(root):
    store = ["--store", root / "states", "--output", root / "fractions"]
    rest = "--seeds 1 --limit 500 --epochs 1 --fine-tune-learning-rate 1e-3 --codec float32 --head learned_pooling"
    arguments = ["train", "--encoder", TINY, "--fine-tune-epochs", "0,1,0.5", *rest.split(), *store]
    done = run_here(*arguments)
    assert done.returncode == 0, done.output
    for row in ("majority", "learned_pooling  ", "encoder, 0.5 epoch", "learned_pooling, 1 epoch", "ensemble, 1 epoch"):
        assert row in done.output
    epochs = [json.loads((root / "fractions" / f"epochs-{e}" / "results.json").read_text()) for e in ("0", "0.5", "1")]
    assert epochs[0]["fine_tune"] is None
    assert epochs[0]["encoder_scores"] == []
    assert [run["fine_tune"]["steps"] for run in epochs[1:]] == [5, 10]
    wrong = run_here("train", "--fine-tune-epochs", "half")
    assert wrong.returncode != 0


def test_a_snapshot_is_found_by_its_facts(root, run, tiny_encoder):
    task = get_task("starter")
    train = task.load("train").take(500)
    rows, _ = split_selection(train.labels, train.groups)
    config = bv.FineTuneConfig.for_task(task, learning_rate=1e-3)
    found = fine_tune(
        *(tiny_encoder, task, train, rows, root / "states"),
        epochs=0.5,
        seed=1,
        config=config,
        max_length=task.max_length,
    )
    assert str(found.path.resolve()) == run.config["snapshots"]["1"]["path"]
