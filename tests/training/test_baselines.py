import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import bertvision_tf as bv
from bertvision_tf.training import baselines


def accuracy(labels, predictions):
    return float((labels == predictions).mean())


@pytest.fixture(scope="module")
def rows():
    labels = np.array([1] * 60 + [0] * 40, np.int32)
    order = np.random.default_rng(0).permutation(100)
    return baselines.Rows(labels, np.sort(order[:70]), np.sort(order[70:]), accuracy)


def test_majority(rows):
    found = baselines.fit_majority(rows, 5)
    np.testing.assert_array_equal(found.predictions, [1] * 5)
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
    for strength in baselines.STATES_STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
        model.fit(scaled[rows.training], rows.labels[rows.training])
        score = accuracy(rows.labels[rows.selection], model.predict(scaled[rows.selection]))
        best = max(best, (score, model), key=lambda pair: pair[0])
    assert found.selection_score == best[0]
    np.testing.assert_array_equal(found.predictions, best[1].predict((dev[:, 1] - mean) / deviation))
    assert (found.name, found.trainable_parameters) == ("middle", 5 + 1)


def test_tfidf_reads_the_training_rows_only(rows):
    texts = [("good " if label else "bad ") + f"word{index}" for index, label in enumerate(rows.labels)]
    found = baselines.fit_tfidf(rows, texts, ["good day", "bad day"])
    np.testing.assert_array_equal(found.predictions, [1, 0])
    assert found.selection_score == 1.0
    # words: good, bad and one a row; pairs of words: one a row
    assert found.trainable_parameters == 2 + 2 * len(rows.training) + 1
