"""Fits one head with one seed."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from ..errors import RunError
from ..heads import HeadConfig
from .optimizer import build_optimizer


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How a head is trained.

    Attributes:
        epochs: at most this many passes over the training rows.
        batch_size: examples a step, over all replicas.
        learning_rate: the highest, reached after the warm-up; it then falls to 0 along a cosine.
        warmup: share of all steps, 0 to 1, in which it rises from 0.
        weight_decay: AdamW's.
        clip_norm: gradients of a larger norm are scaled down to it.
        patience: epochs without a better selection score after which training stops.
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    patience: int = 4

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 1 or self.patience < 1:
            raise RunError("`epochs`, `batch_size` and `patience` need 1 or more.")
        if self.learning_rate <= 0:
            raise RunError(f"`learning_rate` needs more than 0, got {self.learning_rate}.")
        if not 0 <= self.warmup < 1:
            raise RunError(f"`warmup` needs at least 0 and less than 1, got {self.warmup}.")

    @classmethod
    def for_head(cls, head: HeadConfig, **changes) -> "FitConfig":
        """The defaults for a head: a learning rate of 1e-2 where it only pools and reads out, which is a linear
        model, else 1e-3. `changes` override."""
        linear = head.adapter_dim is None and head.convolution == "none"
        return cls(**{"learning_rate": 1e-2 if linear else 1e-3} | changes)


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What came of a fit.

    Attributes:
        head: with the weights of its best epoch.
        selection_score: of that epoch.
        best_epoch: counted from 1.
        history: one list of numbers an epoch for loss and selection_score.
    """

    head: keras.Model
    selection_score: float
    best_epoch: int
    history: dict[str, list[float]]


def fit_head(
    build: Callable[[], keras.Model],
    training: tf.data.Dataset,
    selection: tf.data.Dataset,
    score: Callable[[np.ndarray], float],
    *,
    config: FitConfig | None = None,
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Trains a head and keeps its best epoch on the selection rows.

    Args:
        build: makes the head; called under the seed and the strategy.
        training: shuffled batches of images, `config.epochs` epochs of them in one iteration.
        selection: images of the selection rows, in the order that `score` expects.
        score: logits (rows, outputs) of the selection rows → the task's main metric; higher is better.
        config: how it is trained.
        seed: of the first weights and of dropout; the dataset has its own.
        strategy: where; the default device with None.
        progress: called with the epochs done and the epochs in all; in the end all are done, stopped early or not.

    Raises:
        RunError: the loss is no number.
    """
    config = config or FitConfig()
    strategy = strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(seed)
    steps = int(training.cardinality())
    with strategy.scope():
        head = build()
        head.compile(
            optimizer=build_optimizer(
                steps, config.learning_rate, config.warmup, config.weight_decay, config.clip_norm
            ),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,  # batches differ in length: XLA would compile each shape
        )
    progress = progress or (lambda done, total: None)
    progress(0, config.epochs)
    watcher = _SelectionScore(selection, score, config.patience)
    counter = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: progress(epoch + 1, config.epochs))
    history = head.fit(
        training,
        epochs=config.epochs,
        steps_per_epoch=steps // config.epochs,
        callbacks=[watcher, counter],
        shuffle=False,
        verbose=0,
    )
    progress(config.epochs, config.epochs)
    head.set_weights(watcher.best_weights)
    curves = {name: [float(value) for value in values] for name, values in history.history.items()}
    return FitResult(head, watcher.best_score, watcher.best_epoch, curves | {"selection_score": watcher.scores})


def predict_logits(head: keras.Model, dataset: tf.data.Dataset) -> np.ndarray:
    """Logits (rows, outputs) of all rows, in the dataset's order."""
    run = tf.function(lambda images: head(images, training=False), reduce_retracing=True)
    return np.concatenate([run(images).numpy() for images, _ in dataset])


class _SelectionScore(keras.callbacks.Callback):
    """Scores the selection rows after each epoch, keeps the best weights, and stops when no better ones come."""

    def __init__(self, selection: tf.data.Dataset, score: Callable[[np.ndarray], float], patience: int):
        super().__init__()
        self.selection, self.score, self.patience = selection, score, patience
        self.scores: list[float] = []
        self.best_score, self.best_epoch, self.best_weights = -np.inf, 0, None

    def on_train_begin(self, logs=None):
        self.run = tf.function(lambda images: self.model(images, training=False), reduce_retracing=True)

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise RunError(f"the loss of epoch {epoch + 1} is {logs['loss']}: try a lower learning rate.")
        logits = np.concatenate([self.run(images).numpy() for images, _ in self.selection])
        self.scores.append(self.score(logits))
        if self.scores[-1] > self.best_score:
            self.best_score, self.best_epoch = self.scores[-1], epoch + 1
            self.best_weights = self.model.get_weights()
        elif epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True
