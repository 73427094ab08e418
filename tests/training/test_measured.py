"""Training on what a head measures of a store is training on the store."""

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
