"""Simple rivals of a head, fitted by scikit-learn on the same training rows.

Each is deterministic. Where one has a strength of regularisation, it is chosen on the selection rows, as a head's
epoch is.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from ..store import Store

Means = tuple[np.ndarray, np.ndarray]  # of train and dev, each (examples, states, hidden_dim)
Score = Callable[[np.ndarray, np.ndarray], float]  # labels, predicted classes → main metric

TFIDF_STRENGTHS = (1.0, 10.0)  # scikit-learn's C: the larger, the less regularisation
STATES_STRENGTHS = (0.0003, 0.001, 0.01, 0.1)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        name: as tables show it.
        predictions: class indices of the dev rows.
        selection_score: main metric on the selection rows.
        trainable_parameters: fitted numbers.
        seconds: to fit, features included.
    """

    name: str
    predictions: np.ndarray
    selection_score: float
    trainable_parameters: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Rows:
    """Where a baseline is fitted, chosen and shown.

    Attributes:
        labels: of all train rows.
        training, selection: indices into them.
        score: labels, predicted classes → the task's main metric.
    """

    labels: np.ndarray
    training: np.ndarray
    selection: np.ndarray
    score: Score


def fit_majority(rows: Rows, dev_count: int) -> Baseline:
    """Always the class that is most frequent among the training rows."""
    start = time.perf_counter()
    majority = np.bincount(rows.labels[rows.training]).argmax()
    selected = rows.score(rows.labels[rows.selection], np.full(len(rows.selection), majority))
    return Baseline("majority", np.full(dev_count, majority), selected, 0, time.perf_counter() - start)


def fit_tfidf(rows: Rows, train_texts: Sequence[str], dev_texts: Sequence[str]) -> Baseline:
    """TF-IDF of words and pairs of words, then logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    start = time.perf_counter()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    vectorizer.fit([train_texts[i] for i in rows.training])
    train, dev = vectorizer.transform(train_texts), vectorizer.transform(dev_texts)
    return _fit_logistic("TF-IDF + logistic regression", rows, train, dev, TFIDF_STRENGTHS, start)


def fit_layers(name: str, rows: Rows, means: Means, layers: Sequence[int]) -> Baseline:
    """The mean over tokens of some hidden states, standardised, then logistic regression.

    Args:
        name: as tables show it.
        rows: where to fit and choose.
        means: what `compute_token_means` gives for the train and for the dev store.
        layers: which of the hidden states; several are put side by side.
    """
    start = time.perf_counter()
    fitted = means[0][rows.training][:, list(layers)]
    mean, deviation = fitted.mean(axis=0), fitted.std(axis=0) + 1e-6
    train, dev = (((part[:, list(layers)] - mean) / deviation).reshape(len(part), -1) for part in means)
    return _fit_logistic(name, rows, train, dev, STATES_STRENGTHS, start)


def compute_token_means(store: Store) -> np.ndarray:
    """The mean over tokens of each hidden state: float32 (examples, states, hidden_dim), in the task's order."""
    means = []
    for images, _ in store.as_dataset(batch_size=64):
        count = tf.reduce_sum(images["padding_mask"], axis=1)[:, None, None]
        means.append(tf.reduce_sum(images["hidden_states"], axis=2) / tf.cast(count, tf.float32))  # padding is 0
    return np.concatenate([part.numpy() for part in means])


def _fit_logistic(name: str, rows: Rows, train, dev, strengths: Sequence[float], start: float) -> Baseline:
    from sklearn.linear_model import LogisticRegression

    best: tuple[float, LogisticRegression] | None = None
    for strength in strengths:
        model = LogisticRegression(C=strength, max_iter=200, tol=1e-3)
        model.fit(train[rows.training], rows.labels[rows.training])
        selected = rows.score(rows.labels[rows.selection], model.predict(train[rows.selection]))
        if best is None or selected > best[0]:
            best = selected, model
    assert best is not None
    selected, model = best
    parameters = model.coef_.size + model.intercept_.size
    return Baseline(name, model.predict(dev), selected, parameters, time.perf_counter() - start)
