"""Which layers a head uses: known where one layer alone holds the label."""

import copy
import dataclasses
import json

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError, StoreError
from bertvision_tf.heads import HeadConfig
from bertvision_tf.store import Store
from bertvision_tf.training.draw import Draw, draw_sample, split_task
from bertvision_tf.training.layer_use import (
    choose_fewest,
    choose_layers,
    estimate_standard_error,
    measure_layer_losses,
    read_layer_weights,
)
from bertvision_tf.training.trial import Trial

FIT = bv.FitConfig(epochs=6, patience=6, learning_rate=0.05)


def plant_label(encoder, folder, count):
    """A trial on a store whose labels are the sign of one channel's mean in layer 1."""
    random = np.random.default_rng(0)
    words = "the a cat cats dog dogs bird has have eat is can not run".split()
    texts = [" ".join(random.choice(words, random.integers(2, 7))) for _ in range(count)]
    task = bv.task_from_table({"text": texts, "label": [0, 1] * (count // 2)}, text="text", name="layers")
    rows = task.load("train")
    store = bv.extract(encoder, rows, folder, codec="float32")
    values = np.array([store[row]["hidden_states"][1, :, 3].mean() for row in range(len(store))])
    store.labels = (values > np.median(values)).astype(np.int32)
    rows = dataclasses.replace(rows, labels=store.labels)
    training, selection = split_task(task, rows)
    draw = Draw(store.labels, training)
    return Trial(task, HeadConfig(standardize=True), [store], [rows], draw, selection, FIT)


@pytest.fixture(scope="module")
def trial(tiny_encoder, tmp_path_factory):
    return plant_label(tiny_encoder, tmp_path_factory.mktemp("store"), 600)


def test_the_layer_that_holds_the_label_is_the_one_that_is_missed(trial):
    result = trial.fit(0)
    assert result.selection_score > 0.9
    losses = measure_layer_losses(result.head, trial, trial.selection)
    assert len(losses) == 3
    assert int(np.argmax(losses)) == 1
    assert losses[1] > 0.05 + max(losses[0], losses[2])


def test_muting_a_layer_puts_its_mean_there(trial):
    result = trial.fit(0)
    store, rows = trial.stores[0], trial.selection[:7]
    logits = []
    for row in rows:
        states = store[row]["hidden_states"].copy()
        states[2] = store.manifest.calibration.mean[2]
        batch = {"hidden_states": states[None], "padding_mask": np.ones((1, states.shape[1]), np.int32)}
        logits.append(np.asarray(result.head(batch))[0])
    gold = trial.build_gold(0, rows)
    whole = gold.score(gold.read(trial.predict(result.head, 0, rows)))
    expected = whole - gold.score(gold.read(np.array(logits)))
    assert measure_layer_losses(result.head, trial, rows)[2] == pytest.approx(expected)


def test_the_fewest_layers_are_chosen(trial):
    choice = choose_layers(trial)
    assert choice.ranking[0] == 1
    assert 1 in choice.kept
    assert list(choice.scores) == [*range(1, len(choice.kept) + 1), 3]
    assert choice.scores[len(choice.kept)] >= choice.scores[3] - choice.standard_error
    assert 0 < choice.standard_error < 0.1
    assert choice.examples == len(trial.stores[0])


def test_layers_are_added_until_they_do():
    scores = {(2,): 0.5, (0, 2): 0.7, (0, 1, 2): 0.8}
    kept, seen = choose_fewest([2, 0, 1, 3], scores.__getitem__, 0.82, 0.03)
    assert (kept, seen) == ((0, 1, 2), {1: 0.5, 2: 0.7, 3: 0.8, 4: 0.82})
    kept, seen = choose_fewest([2, 0, 1], scores.__getitem__, 0.9, 0.03)
    assert (kept, list(seen)) == ((0, 1, 2), [1, 2, 3])


def test_standard_error_of_a_mean():
    values = np.random.default_rng(1).normal(size=400)
    assert estimate_standard_error(lambda rows: values[rows].mean(), 400, 500) == pytest.approx(0.05, rel=0.15)


def test_a_view_has_the_states_of_its_layers(trial):
    store: Store = trial.stores[0]
    view = store.select([2, 0])
    assert (view.num_hidden_states, view.spec.layers) == (2, (2, 0))
    np.testing.assert_array_equal(view[5]["hidden_states"], store[5]["hidden_states"][[2, 0]])
    np.testing.assert_array_equal(view.select([1])[5]["hidden_states"], store[5]["hidden_states"][[0]])
    (images, _), (expected, _) = (next(iter(part.as_dataset(batch_size=9))) for part in (view, store))
    np.testing.assert_array_equal(images["hidden_states"], np.asarray(expected["hidden_states"])[:, [2, 0]])
    (images, _) = next(iter(view.as_dataset(batch_size=9, layers=[1])))
    np.testing.assert_array_equal(images["hidden_states"], np.asarray(expected["hidden_states"])[:, [0]])
    assert store.num_hidden_states == 3


def test_a_view_of_int8_states_is_decoded_by_its_own_scales(tiny_encoder, trial, tmp_path):
    store = bv.extract(tiny_encoder, trial.task.load("dev"), tmp_path)
    images, _ = next(iter(store.select([2]).as_dataset(batch_size=9)))
    expected, _ = next(iter(store.as_dataset(batch_size=9)))
    np.testing.assert_array_equal(images["hidden_states"], np.asarray(expected["hidden_states"])[:, [2]])


def test_a_store_with_the_pooler_has_no_view(tiny_encoder, trial, tmp_path):
    store = bv.extract(tiny_encoder, trial.task.load("dev"), tmp_path, tokens="cls", pooler=True)
    with pytest.raises(StoreError, match=r"with the pooler's output .* cannot be cut"):
        store.select([1])


def test_learned_weights_are_read(trial):
    learned = dataclasses.replace(trial, head=HeadConfig(pooling="learned"))
    weights = read_layer_weights(learned.fit(0).head)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert read_layer_weights(trial.fit(0).head) is None


def test_a_run_that_chooses_its_layers(tiny_encoder, tmp_path):
    options = {"head": "learned_pooling", "seeds": 2, "limit": 500, "fit": {"epochs": 2}, "baselines": False}
    options["store"] = tmp_path / "states"
    run = bv.train("starter", tiny_encoder, layers="auto", output=tmp_path / "auto", **options)
    chosen = run.results["layers"]["chosen"]
    kept = [layer for layer in range(3) if layer in chosen["kept"]]
    assert run.results["layers"]["names"] == run.config["layers"] == kept == chosen["kept"]
    assert sorted(chosen["ranking"]) == [0, 1, 2]
    assert [store.spec.layers for store in run.open_stores()] == [tuple(kept)] * 2
    assert len(run.results["layers"]["losses"]) == len(kept)
    assert json.loads((run.path / "results.json").read_text())["layers"]["chosen"]["scores"]["3"] > 0
    assert (run.path / "layer_losses.png").stat().st_size > 1000
    assert len(bv.load_run(run.path).predict(["She has eaten."]).labels) == 1


def test_a_sample_keeps_the_roles_of_its_rows():
    roles = np.arange(0, 900), np.arange(900, 1000)
    drawn, (training, selection) = draw_sample(roles, 200)
    assert (len(drawn), len(training), len(selection)) == (200, 180, 20)
    assert (drawn[training] < 900).all()
    assert (drawn[selection] >= 900).all()
    assert (np.diff(drawn) > 0).all()
    assert drawn[training].max() > 800  # not the first rows of the file
    np.testing.assert_array_equal(draw_sample(roles, 200)[0], drawn)
    np.testing.assert_array_equal(draw_sample(roles, 5000)[0], np.arange(1000))


def test_layers_that_nothing_can_be_said_of(trial):
    store = copy.copy(trial.stores[0])
    store.labels = np.zeros(len(store), np.int32)
    rows = dataclasses.replace(trial.examples[0], labels=store.labels)
    with pytest.raises(RunError, match="layers cannot be chosen"):
        choose_layers(dataclasses.replace(trial, stores=[store], examples=[rows]))


@pytest.mark.parametrize(("options", "message"), [({"pooler": True, "tokens": "cls"}, "leave `pooler` out"), ({}, "")])
def test_what_is_refused_is_refused_first(tiny_encoder, tmp_path, options, message):
    layers = "auto" if options else "0,1"
    with pytest.raises(RunError, match=message or "`layers` needs indices, 'auto' or none, got '0,1'"):
        bv.train("starter", tiny_encoder, layers=layers, store=tmp_path / "s", output=tmp_path / "o", **options)
    assert not (tmp_path / "s").exists()


def test_layers_are_chosen_where_every_row_is_right(tiny_encoder, tmp_path):
    rows = {"text": ["the cat has eaten", "she can not run", "who is he"] * 120, "label": ["a", "b", "c"] * 120}
    task = bv.task_from_table(rows, text="text", name="easy")
    options = {"head": "standardized_adapter_4_shared", "seeds": 1, "baselines": False, "layers": "auto"}
    run = bv.train(
        task,
        tiny_encoder,
        fit={"epochs": 20, "learning_rate": 0.05},
        store=tmp_path / "s",
        output=tmp_path / "r",
        **options,
    )
    chosen = run.results["layers"]["chosen"]
    assert chosen["standard_error"] == 0
    assert chosen["scores"][str(len(chosen["kept"]))] == 1
