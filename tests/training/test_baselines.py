import dataclasses
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import bertvision_tf as bv
from bertvision_tf import kinds
from bertvision_tf.tasks import Examples
from bertvision_tf.training import baselines


def accuracy(labels, predictions):
    return float((labels == predictions).mean())


@pytest.fixture(scope="module")
def rows():
    labels = np.array([1] * 60 + [0] * 40, np.int32)
    order = np.random.default_rng(0).permutation(100)
    return baselines.Rows(kinds.CLASSIFICATION, labels, np.sort(order[:70]), np.sort(order[70:]), accuracy)


def as_examples(texts, pairs=None):
    return Examples("t", "s", [str(row) for row in range(len(texts))], texts, pairs, np.zeros(len(texts), np.int32))


def test_majority(rows):
    found = baselines.fit_majority(rows, [5, 2])
    assert [part.tolist() for part in found.predictions] == [[1] * 5, [1] * 2]
    assert found.selection_score == rows.labels[rows.selection].mean()
    assert found.trainable_parameters == 0


def test_token_means_equal_a_plain_loop(tiny_encoder, tmp_path):
    store = bv.extract(tiny_encoder, bv.get_task("starter").load("dev").take(70), tmp_path / "s", codec="int4")
    means = baselines.compute_token_means(store)
    expected = [store[index]["hidden_states"].mean(axis=1) for index in range(len(store))]
    np.testing.assert_allclose(means, expected, atol=1e-5)


def test_layers_choose_their_strength_on_the_selection_rows(rows):
    random = np.random.default_rng(1)
    train, dev = (random.normal(size=(count, 3, 5)).astype(np.float32) for count in (100, 20))
    train[:, 1, 2] += rows.labels
    found = baselines.fit_layers("middle", rows, (train, dev), [1])
    features = train[:, 1]
    mean, deviation = features[rows.training].mean(axis=0), features[rows.training].std(axis=0) + 1e-6
    scaled, best = (features - mean) / deviation, (-1.0, None)
    for strength in rows.kind.layer_strengths:
        model = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
        model.fit(scaled[rows.training], rows.labels[rows.training])
        score = accuracy(rows.labels[rows.selection], model.predict(scaled[rows.selection]))
        best = max(best, (score, model), key=lambda pair: pair[0])
    assert found.selection_score == best[0]
    np.testing.assert_array_equal(found.predictions[0], best[1].predict((dev[:, 1] - mean) / deviation))
    assert (found.name, found.trainable_parameters) == ("middle", 5 + 1)


def test_tfidf_reads_the_training_rows_only(rows):
    texts = [("good " if label else "bad ") + f"word{index}" for index, label in enumerate(rows.labels)]
    found = baselines.fit_tfidf(rows, [as_examples(texts), as_examples(["good day", "bad day"])])
    assert found.predictions[0].tolist() == [1, 0]
    assert found.selection_score == 1.0
    # words: good, bad and one a row; pairs of words: one a row
    assert found.trainable_parameters == 2 + 2 * len(rows.training) + 1


def test_tfidf_of_pairs_keeps_the_texts_apart(rows):
    ones = ["a"] * 100
    twos = ["good" if label else "bad" for label in rows.labels]
    found = baselines.fit_tfidf(rows, [as_examples(ones, twos), as_examples(["good", "good"], ["bad", "good"])])
    assert found.predictions[0].tolist() == [0, 1]
    assert found.trainable_parameters == 1 + 2 + 1


def test_regression(rows):
    random = np.random.default_rng(2)
    features = random.normal(size=(120, 2, 4)).astype(np.float32)
    scores = (features[:, 1, 0] * 2 + 3).astype(np.float32)
    rows = dataclasses.replace(
        rows, kind=kinds.REGRESSION, labels=scores[:100], score=lambda a, b: -float(np.square(a - b).mean())
    )
    mean = baselines.fit_majority(rows, [3])
    assert mean.name == "mean"
    np.testing.assert_allclose(mean.predictions[0], [scores[rows.training].mean()] * 3)
    found = baselines.fit_layers("both", rows, (features[:100], features[100:]), [0, 1])
    assert found.trainable_parameters == 8 + 1
    assert np.corrcoef(found.predictions[0], scores[100:])[0, 1] > 0.98


def test_a_ridge_regression_is_computed_in_float64(rows, monkeypatch):
    """It squares the states of thousands of channels, whose products float32 cannot tell from rounding."""
    from sklearn.linear_model import Ridge

    types = set()
    monkeypatch.setattr(Ridge, "fit", spy(Ridge.fit, types))
    features = np.random.default_rng(2).normal(size=(120, 2, 4)).astype(np.float32)
    rows = dataclasses.replace(rows, kind=kinds.REGRESSION, labels=features[:100, 0, 0], score=lambda a, b: 0.0)
    baselines.fit_layers("both", rows, (features[:100], features[100:]), [0, 1])
    assert types == {np.dtype(np.float64)}


def spy(fit, types):
    """A fit that notes the type of the features."""

    def run(self, features, labels):
        types.add(features.dtype)
        return fit(self, features, labels)

    return run


def test_several_labels(rows):
    random = np.random.default_rng(3)
    features = random.normal(size=(120, 1, 4)).astype(np.float32)
    labels = (features[:, 0, :3] > 0).astype(np.int32)
    labels[:, 2] = 0  # a class that never holds has no weights
    rows = dataclasses.replace(
        rows, kind=kinds.MULTILABEL, labels=labels[:100], score=lambda a, b: float((a == b).mean())
    )
    assert baselines.fit_majority(rows, [1]).predictions[0].shape == (1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = baselines.fit_layers("one", rows, (features[:100], features[100:]), [0])
    assert found.trainable_parameters == 2 * (4 + 1)
    assert (found.predictions[0] == labels[100:]).mean() > 0.85
