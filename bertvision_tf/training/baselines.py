"""Rivals of a head, and the simple ones among them, fitted by scikit-learn on the same training rows.

Each simple one is deterministic. Where one has a strength of regularisation, it is chosen on the selection rows, as a
head's epoch is.
"""

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..heads.adapt import DEAD_POOLED, keep_dead_channels_dead
from ..kinds import Kind
from ..store import Store
from ..tasks import Examples

Means = Sequence[np.ndarray]  # of train and of each dev split, each (examples, states, hidden_dim)
Score = Callable[[np.ndarray, np.ndarray], float]  # labels, predictions → main metric

TFIDF_STRENGTHS = (1.0, 10.0)  # scikit-learn's C: the larger, the less regularisation


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes:
        name: as tables show it.
        predictions: of the rows of each dev split, as their `Gold` reads them.
        selection_score: main metric on the selection rows.
        trainable_parameters: fitted numbers.
        seconds: to fit, features included.
        memory_bytes: the most that the process held meanwhile, where it was measured.
        disk_bytes: of what is kept of it, where that is more than its weights.
        epochs, learning_rate: after which it was stopped, and its highest rate, of a fine-tuned encoder.
    """

    name: str
    predictions: list[Any]
    selection_score: float
    trainable_parameters: int
    seconds: float
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    epochs: float | None = None
    learning_rate: float | None = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """Where a baseline is fitted, chosen and shown.

    Attributes:
        kind: the task's.
        labels: of all train rows.
        training, selection: indices into them.
        score: labels, predictions → the task's main metric.
    """

    kind: Kind
    labels: np.ndarray
    training: np.ndarray
    selection: np.ndarray
    score: Score

    @property
    def constant(self) -> bool:
        """Whether there is nothing to tell apart."""
        return bool((self.labels[self.training] == self.labels[self.training[0]]).all())

    def predict(self, model, features) -> np.ndarray:
        """A model's predictions in the form of the labels, which it forgets where there is one class."""
        return model.predict(features).reshape(-1, *self.labels.shape[1:])


def fit_baselines(
    draws: Sequence[Rows], examples: Sequence[Examples], stores: Sequence[Store], layers_name: tuple[str, str]
) -> Iterator[Baseline]:
    """Majority, TF-IDF, the last layer and all layers, for each draw of training rows.

    Args:
        draws: where to fit and choose.
        examples, stores: of train and of each dev split; the stores are read once.
        layers_name: how the last hidden state, and all of them, are called.
    """
    means: list[np.ndarray] | None = None
    shared = 0.0
    for rows in draws:
        yield fit_majority(rows, [len(part) for part in examples[1:]])
        if rows.constant:
            continue
        yield fit_tfidf(rows, examples)
        if means is None:
            start = time.perf_counter()
            means = [compute_token_means(store) for store in stores]
            shared = time.perf_counter() - start
        kept = stores[0].num_hidden_states
        for name, layers in zip(layers_name, ([kept - 1], range(kept)), strict=True):
            baseline = fit_layers(f"{name} + {rows.kind.linear}", rows, means, layers)
            yield dataclasses.replace(baseline, seconds=baseline.seconds + shared)


def fit_majority(rows: Rows, dev_counts: Sequence[int]) -> Baseline:
    """Always the class that is most frequent among the training rows; the mean score; the classes of most rows."""
    start = time.perf_counter()
    labels = rows.labels[rows.training]
    name, constant = rows.kind.fit_constant(labels)

    def repeat(count: int) -> np.ndarray:
        return np.broadcast_to(constant, (count, *np.shape(constant)))

    selected = rows.score(rows.labels[rows.selection], repeat(len(rows.selection)))
    return Baseline(name, [repeat(count) for count in dev_counts], selected, 0, time.perf_counter() - start)


def fit_tfidf(rows: Rows, examples: Sequence[Examples]) -> Baseline:
    """TF-IDF of words and pairs of words, each text of a pair on its own, then a linear model."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    start = time.perf_counter()
    sides = [[part.texts for part in examples]]
    if examples[0].text_pairs is not None:
        sides.append([part.text_pairs or () for part in examples])
    features = []
    for texts in sides:
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
        vectorizer.fit([texts[0][row] for row in rows.training])
        features.append([vectorizer.transform(part) for part in texts])
    joined = [hstack(parts).tocsr() for parts in zip(*features, strict=True)]
    return _fit_linear(f"TF-IDF + {rows.kind.linear}", rows, joined, TFIDF_STRENGTHS, start)


def fit_layers(name: str, rows: Rows, means: Means, layers: Sequence[int]) -> Baseline:
    """The mean over tokens of some hidden states, standardised as a linear head's, then a linear model.

    Args:
        name: as tables show it.
        rows: where to fit and choose.
        means: what `compute_token_means` gives for the train store and those of dev.
        layers: which of the hidden states; several are put side by side.
    """
    start = time.perf_counter()
    fitted = means[0][rows.training][:, list(layers)]
    mean, deviation = fitted.mean(axis=0), keep_dead_channels_dead(fitted.std(axis=0), DEAD_POOLED)
    features = [((part[:, list(layers)] - mean) / deviation).reshape(len(part), -1) for part in means]
    if rows.kind.numeric:  # a ridge regression squares them, which float32 would not hold
        features = [part.astype(np.float64) for part in features]
    return _fit_linear(name, rows, features, rows.kind.layer_strengths, start)


def compute_token_means(store: Store) -> np.ndarray:
    """The mean over tokens of each hidden state: float32 (examples, states, hidden_dim), in the task's order."""
    means = []
    for images, _ in store.as_dataset(batch_size=64):
        count = tf.reduce_sum(images["padding_mask"], axis=1)[:, None, None]
        means.append(tf.reduce_sum(images["hidden_states"], axis=2) / tf.cast(count, tf.float32))  # padding is 0
    return np.concatenate([part.numpy() for part in means])


def _fit_linear(name: str, rows: Rows, features: Sequence, strengths: Sequence[float], start: float) -> Baseline:
    best = None
    for strength in strengths:
        model = rows.kind.build_linear(strength)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a class that no training row has, or every one
            model.fit(features[0][rows.training], rows.labels[rows.training])
        selected = rows.score(rows.labels[rows.selection], rows.predict(model, features[0][rows.selection]))
        if best is None or selected > best[0]:
            best = selected, model
    assert best is not None
    selected, model = best
    parts = [part for part in getattr(model, "estimators_", [model]) if hasattr(part, "coef_")]  # not the constant ones
    parameters = sum(part.coef_.size + np.size(part.intercept_) for part in parts)
    predictions = [rows.predict(model, part) for part in features[1:]]
    return Baseline(name, predictions, selected, parameters, time.perf_counter() - start)
