"""A whole run on the tiny encoder: numbers against a plain loop, the folder, and what goes wrong."""

import csv
import dataclasses
import json

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import HeadError, RunError, StoreError
from bertvision_tf.metrics import glue_metrics
from bertvision_tf.runs import write_run
from bertvision_tf.tasks import get_task, split_selection

FIT = bv.FitConfig(epochs=2, patience=2)
OPTIONS = {"head": "learned_pooling", "seeds": 2, "limit": 500, "fit": FIT}


def read_csv(file):
    with open(file, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("experiment")


@pytest.fixture(scope="module")
def run(root, tiny_encoder):
    return bv.train("starter", tiny_encoder, store=root / "states", output=root / "run", export=True, **OPTIONS)


def test_results_hold_what_the_contract_names(run):
    results = run.results
    wanted = (
        "task split metric encoder head trainable_parameters seeds scores mean std metrics encoder_scores seconds "
        "store versions"
    )
    assert set(wanted.split()) <= set(results)
    assert (results["task"], results["split"], results["metric"], results["head"]) == (
        "starter",
        "dev",
        "accuracy",
        "learned_pooling",
    )
    assert results["seeds"] == [0, 1]
    assert results["trainable_parameters"] == 3 + 1 + 8 * 2 + 2
    assert set(results["seconds"]) == {"fine_tune", "extract", "train"}
    assert set(results["metrics"]) == {"accuracy", "matthews"}
    assert results["metrics"]["accuracy"] == results["scores"]
    assert results["mean"] == pytest.approx(np.mean(results["scores"]))
    assert results["std"] == pytest.approx(np.std(results["scores"], ddof=1))
    train, dev = run.open_stores()
    assert results["store"]["bytes"] == train.bytes + dev.bytes
    assert results["store"]["examples"] == len(train) + len(dev) == 1000
    assert results["store"]["tokens"] == train.lengths.sum() + dev.lengths.sum()
    assert results["rows"] == {"training": 300, "selection": 200, "dev": 500, "truncated": 0, "skipped": 0}


def test_scores_are_those_of_the_saved_heads(run):
    """Each saved head, run by hand over the dev store, has the score that results.json says."""
    _, dev = run.open_stores()
    for seed, score in zip(run.results["seeds"], run.results["scores"], strict=True):
        head = run.load_head(seed)
        logits = []
        for index in range(len(dev)):
            image = dev[index]["hidden_states"][None]
            mask = np.ones((1, image.shape[2]), np.int32)
            logits.append(np.asarray(head({"hidden_states": image, "padding_mask": mask}))[0])
        predictions = np.argmax(logits, axis=1)
        assert glue_metrics("starter", dev.labels, predictions)["accuracy"] == score


def test_selection_rows_choose_and_are_never_trained_on(run, tiny_encoder, root, monkeypatch):
    """Other labels on the selection rows, with the epoch fixed, leave every weight as it was."""
    rows = get_task("starter").load("train").take(500)
    _, selection = split_selection(rows.labels, rows.groups)
    original = bv.TaskSpec.load

    def load(self, split, data_dir=None):
        rows = original(self, split, data_dir)
        if split == "train":
            rows = rows.take(500)
            labels = rows.labels.copy()
            labels[selection] = 1 - labels[selection]
            rows = dataclasses.replace(rows, labels=labels)
        return rows

    one_epoch = dataclasses.replace(FIT, epochs=1)
    options = OPTIONS | {"fit": one_epoch, "seeds": 1, "baselines": False}
    plain = bv.train("starter", tiny_encoder, store=root / "states", output=root / "plain", **options)
    monkeypatch.setattr(bv.TaskSpec, "load", load)
    original_labels = plain.open_stores()[0].labels
    changed = bv.train("starter", tiny_encoder, store=root / "states", output=root / "changed", **options)
    assert (changed.open_stores()[0].labels[selection] != original_labels[selection]).all()
    for first, second in zip(plain.load_head().get_weights(), changed.load_head().get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_same_command_gives_the_same_scores_from_the_store(run, tiny_encoder, root, monkeypatch):
    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", lambda *a, **k: pytest.fail("the encoder was run"))
    again = bv.train("starter", tiny_encoder, store=root / "states", output=root / "again", **OPTIONS)
    for key in ("scores", "selection_scores", "metrics"):
        assert again.results[key] == run.results[key]
    assert [b["scores"] for b in again.results["baselines"].values()] == [
        b["scores"] for b in run.results["baselines"].values()
    ]


def test_baselines(run):
    table = run.results["baselines"]
    assert list(table) == [
        "majority",
        "TF-IDF + logistic regression",
        "last layer mean + logistic regression",
        "all layers mean + logistic regression",
    ]
    assert table["majority"]["scores"] == [0.5]
    assert table["last layer mean + logistic regression"]["trainable_parameters"] == 8 + 1
    assert table["all layers mean + logistic regression"]["trainable_parameters"] == 3 * 8 + 1
    assert all(row["std"] is None and row["seconds"] >= 0 for row in table.values())


def test_the_folder(run):
    names = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert {
        "results.json",
        "config.json",
        "predictions.csv",
        "curves.csv",
        "layer_weights.png",
        "heads/seed-0.keras",
        "heads/seed-1.keras",
        "saved_model/saved_model.pb",
    } <= names
    assert not list(run.path.parent.glob(".*"))
    rows = read_csv(run.path / "predictions.csv")
    dev = get_task("starter").load("dev").take(500)
    assert [row["text"] for row in rows] == list(dev.texts)
    right = np.mean([row["prediction"] == row["label"] for row in rows])
    assert right == pytest.approx(run.results["scores"][run.best_seed])
    for row in rows[:20]:
        probabilities = [float(row["p_unacceptable"]), float(row["p_acceptable"])]
        assert sum(probabilities) == pytest.approx(1, abs=2e-6)
        assert row["prediction"] == ["unacceptable", "acceptable"][int(np.argmax(probabilities))]
    assert (run.read_dev_predictions() == [row["prediction"] == "acceptable" for row in rows]).all()
    curves = read_csv(run.path / "curves.csv")
    assert {(row["seed"], row["epoch"]) for row in curves} == {(s, e) for s in "01" for e in "12"}


def test_saved_model_gives_the_heads_logits(run):
    import tensorflow as tf

    served = tf.saved_model.load(str(run.path / "saved_model"))
    _, dev = run.open_stores()
    images, _ = next(iter(dev.as_dataset(4)))
    inputs = {name: images[name] for name in ("hidden_states", "padding_mask")}
    expected = run.load_head()(images)
    np.testing.assert_allclose(served.serve(inputs), expected, atol=1e-6)


def test_predict_is_the_head_on_live_states(run, tiny_encoder, monkeypatch):
    monkeypatch.setattr(bv.Run, "load_encoder", lambda self: tiny_encoder)
    texts = get_task("starter").load("dev").texts[:40]
    found = bv.load_run(run.path).predict(texts)
    assert found.probabilities.shape == (40, 2)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-6)
    stored = read_csv(run.path / "predictions.csv")[:40]
    # the store rounds to eight bits, live states are exact
    np.testing.assert_allclose(found.probabilities[:, 1], [float(row["p_acceptable"]) for row in stored], atol=0.02)
    alone = bv.load_run(run.path).predict(texts[7:8])
    np.testing.assert_allclose(alone.probabilities[0], found.probabilities[7], atol=1e-5)
    assert found.labels[7] == found.label_names[int(found.probabilities[7].argmax())]
    assert bv.load_run(run.path).predict([]).labels == []
    with pytest.raises(RunError, match="single texts"):
        bv.load_run(run.path).predict(texts, texts)


def test_a_run_names_both_encoders_when_they_differ(run, monkeypatch):
    config = run.config | {"encoder_fingerprint": "0" * 32}
    with pytest.raises(RunError, match=r"fingerprint 0000.*the one of that name here has"):
        bv.Run(run.path, run.results, config).load_encoder()


def test_a_failed_run_leaves_the_old_one(run, tiny_encoder, root, monkeypatch):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    monkeypatch.setattr(
        "bertvision_tf.experiments.run_files.write_json", lambda *a: (_ for _ in ()).throw(OSError(28, "No space"))
    )
    with pytest.raises(RunError, match="cannot be written: No space"):
        bv.train("starter", tiny_encoder, store=root / "states", output=run.path, **OPTIONS)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert not list(root.glob(".*"))


def test_a_folder_that_was_not_named_keeps_a_run_of_other_settings(tiny_encoder, root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = OPTIONS | {"store": root / "states", "seeds": 1, "baselines": False}
    first = bv.train("starter", tiny_encoder, **options)
    assert first.path == tmp_path / "runs" / "starter-learned_pooling"
    again = bv.train("starter", tiny_encoder, **options)
    assert again.results["scores"] == first.results["scores"]
    with pytest.raises(RunError, match=r"holds a run with seeds \[0\], now it is \[0, 1\]: name another --output"):
        bv.train("starter", tiny_encoder, **options | {"seeds": 2})
    assert bv.load_run(first.path).results["seeds"] == [0]
    replaced = bv.train("starter", tiny_encoder, **options | {"seeds": 2}, output=first.path)
    assert replaced.results["seeds"] == [0, 1]


def test_one_process_at_a_time_writes_a_run(tiny_encoder, root, tmp_path):
    with write_run(tmp_path / "run") as folder:
        (folder / "half").write_text("work of the first")
        with pytest.raises(RunError, match="is being written by another process"):
            bv.train("starter", tiny_encoder, store=root / "states", output=tmp_path / "run", **OPTIONS)
        assert (folder / "half").is_file()
    assert (tmp_path / "run" / "half").is_file()


def test_output_that_is_no_run_is_left_alone(tiny_encoder, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("precious")
    with pytest.raises(RunError, match="holds no run"):
        bv.train("starter", tiny_encoder, store=tmp_path / "states", output=tmp_path / "letters", **OPTIONS)
    assert (tmp_path / "letters" / "dear.txt").read_text() == "precious"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        bv.train("starter", tiny_encoder, store=tmp_path / "states", output=tmp_path / "file" / "run", **OPTIONS)
    assert not (tmp_path / "states").exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"head": "nonsense"}, HeadError, "nonsense"),
        ({"codec": "int3"}, StoreError, "'int3' is not known"),
        ({"layers": [9]}, StoreError, "indices below 3"),
        ({"pooler": True}, StoreError, "tokens='cls'"),
        ({"seeds": []}, RunError, "one seed or more"),
        ({"strategy": "tpu"}, RunError, "'tpu' is not known"),
    ],
)
def test_wrong_choices(tiny_encoder, tmp_path, options, error, message):
    with pytest.raises(error, match=message) as caught:
        bv.train("starter", tiny_encoder, store=tmp_path / "s", output=tmp_path / "o", **(OPTIONS | options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()


def test_cls_with_pooler_and_standardized_head(tiny_encoder, tmp_path):
    run = bv.train(
        "starter",
        tiny_encoder,
        **(OPTIONS | {"head": "standardized_adapter_4_unshared_skip_flat", "seeds": [3]}),
        store=tmp_path / "states",
        output=tmp_path / "run",
        tokens="cls",
        pooler=True,
        baselines=False,
    )
    train, _ = run.open_stores()
    assert train.num_hidden_states == 4
    assert run.results["trainable_parameters"] == 4 * (8 * 4 + 4) + (4 * 4 + 8) * 2 + 2
    rows = get_task("starter").load("train").take(500)
    training, _ = split_selection(rows.labels, rows.groups)
    states = np.stack([train[row]["hidden_states"][:, 0] for row in training])  # (rows, states, channels)
    mean, deviation = (weights.reshape(4, 8) for weights in run.load_head().get_layer("standardize").get_weights())
    np.testing.assert_allclose(mean, states.mean(axis=0), atol=1e-5)
    expected = states.std(axis=0)
    assert expected[1].max() < 1e-5  # every text has the same [CLS] in the embedding layer
    np.testing.assert_allclose(deviation, np.maximum(expected, 1e-3 * np.sqrt((expected**2).mean())), atol=1e-5)
    assert run.results["std"] is None
    assert json.loads((run.path / "config.json").read_text())["pooler"] is True


def test_load_run_without_one(tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        bv.load_run(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("results.json", "[]", "results.json is damaged: expected an object, got a list"),
        ("results.json", "{}", "was written by another version and has no seeds: train it again"),
        ("config.json", "null", "config.json is damaged: expected an object, got a NoneType"),
        ("config.json", "{}", "was written by another version and has no task: train it again"),
        ("config.json", "{", "config.json is damaged: no JSON"),
    ],
)
def test_a_damaged_run(run, tmp_path, file, content, message):
    for name in ("results.json", "config.json"):
        (tmp_path / name).write_text(content if name == file else (run.path / name).read_text())
    with pytest.raises(RunError, match=message):
        bv.load_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 3}, "results.json is damaged: seeds is a int"),
        ({"seeds": [], "selection_scores": []}, "it needs a selection score for each seed"),
        ({"store": None}, "results.json is damaged: store is a NoneType"),
    ],
)
def test_a_run_of_damaged_results(run, tmp_path, change, message):
    (tmp_path / "config.json").write_text((run.path / "config.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(run.results | change))
    with pytest.raises(RunError, match=message):
        bv.load_run(tmp_path)
