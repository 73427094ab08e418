"""Training on what a head measures of a store is training on the store."""

import gc

import keras
import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.heads import build_head, split_head
from bertvision_tf.training import measured, predict_logits
from bertvision_tf.training.measured import MeasuredStore

FIT = bv.FitConfig(epochs=2, patience=2, learning_rate=0.01)


def make_pairs(count, seed):
    random = np.random.default_rng(seed)
    words = "the a cat cats dog dogs bird has have eat is can not run".split()
    texts = [[" ".join(random.choice(words, random.integers(1, 7))) for _ in range(count)] for _ in range(2)]
    labels = [int(bool({*first.split()} & {*second.split()})) for first, second in zip(*texts, strict=True)]
    return {"one": texts[0], "two": texts[1], "label": labels}


@pytest.fixture(scope="module")
def task():
    return bv.task_from_table(make_pairs(240, 0), make_pairs(60, 1), text="one", text_pair="two", name="pairs")


@pytest.mark.parametrize("head", ["comparison_adapter_4", "learned_pooling"])
def test_a_run_is_the_same_where_measurements_do_not_fit(head, task, tiny_encoder, tmp_path, monkeypatch):
    options = {"head": head, "seeds": 2, "fit": FIT, "store": tmp_path / "states"}
    seen = []
    options["progress"] = lambda what, done, total: seen.append(what)
    small = bv.train(task, tiny_encoder, output=tmp_path / "measured", **options)
    assert "measure train" in seen and "measure dev" in seen
    seen.clear()
    monkeypatch.setattr(measured, "MEASURED_BYTES", 0)
    large = bv.train(task, tiny_encoder, output=tmp_path / "images", **options)
    assert "measure train" not in seen
    assert small.results["scores"] == large.results["scores"]
    for seed in small.results["seeds"]:
        weights = [run.load_head(seed).get_weights() for run in (small, large)]
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("head", ["comparison_adapter_4", "adapter_4_shared"])
def test_seeds_that_draw_rows_of_their_own_are_trained_side_by_side(head, task, tiny_encoder, tmp_path):
    options = {"head": head, "fit": FIT, "store": tmp_path / "states", "train_share": 0.5, "baselines": False}
    seen = []
    options["progress"] = lambda what, done, total: seen.append(what)
    three = bv.train(task, tiny_encoder, seeds=3, output=tmp_path / "three", **options)
    assert "train seeds 0, 1, 2" in seen and "train seed 0" not in seen
    one = bv.train(task, tiny_encoder, seeds=1, output=tmp_path / "one", **options)
    assert one.results["scores"][0] == three.results["scores"][0]
    for alone, together in zip(one.load_head(0).get_weights(), three.load_head(0).get_weights(), strict=True):
        np.testing.assert_allclose(alone, together, atol=1e-4)


def test_it_holds_each_row_in_the_stores_order(task, tiny_encoder, tmp_path):
    store = bv.extract(tiny_encoder, task.load("train"), tmp_path, codec="float32")
    head = build_head("comparison_adapter_4", num_hidden_states=3, hidden_dim=8)
    parts = MeasuredStore(split_head(head)[0], store, lambda done, total: None)
    expected = predict_logits(head, store.as_dataset(batch_size=7))
    np.testing.assert_allclose(
        predict_logits(head, parts.as_dataset(batch_size=64), measured=True), expected, atol=1e-5
    )
    rows = np.array([5, 3, 200])
    batch, labels = next(iter(parts.as_dataset(rows=rows)))
    np.testing.assert_array_equal(labels, store.labels[rows])
    np.testing.assert_array_equal(batch["views"], parts.measurements["views"][rows])


def test_a_head_that_measures_nothing(tiny_encoder, task, tmp_path):
    store = bv.extract(tiny_encoder, task.load("dev"), tmp_path)
    with pytest.raises(RunError, match="measures nothing: it reads images"):
        predict_logits(
            build_head("adapter_2_shared", num_hidden_states=3, hidden_dim=8), store.as_dataset(), measured=True
        )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(policy, task, tiny_encoder, tmp_path):
    """What is measured stays float32, and heads train on it."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        options = {"seeds": 1, "fit": FIT, "store": tmp_path / "states", "baselines": False}
        for head in ("learned_pooling", "comparison_adapter_4"):
            run = bv.train(task, tiny_encoder, head=head, output=tmp_path / head, **options)
            assert np.isfinite(run.results["scores"]).all()
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def test_mixup_mixes_images(task, tiny_encoder, tmp_path):
    """A mix of two images is not the mix of what is measured of them, so that nothing is measured."""
    seen = []
    options = {"seeds": 1, "store": tmp_path / "states", "progress": lambda what, done, total: seen.append(what)}
    fit = {"epochs": 1, "mixup": 0.4}
    bv.train(task, tiny_encoder, head="learned_pooling", fit=fit, baselines=False, output=tmp_path / "run", **options)
    assert "train seed 0" in seen and "measure train" not in seen


def test_the_limit_is_of_all_that_is_kept(task, tiny_encoder, tmp_path, monkeypatch):
    store = bv.extract(tiny_encoder, task.load("train"), tmp_path, codec="float32")
    measure, _ = split_head(build_head("learned_pooling", num_hidden_states=3, hidden_dim=8))
    size = len(store) * 3 * 8 * 4
    kept = sum(part.nbytes for one in measured._KEPT for part in one.measurements.values())
    monkeypatch.setattr(measured, "MEASURED_BYTES", kept + size)
    assert MeasuredStore.fits(measure, store)
    first = MeasuredStore(measure, store, lambda done, total: None)
    assert not MeasuredStore.fits(measure, store)
    del first
    gc.collect()
    assert MeasuredStore.fits(measure, store)
