"""Fits one head with one seed."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ..errors import RunError
from ..heads import split_head
from ..kinds import CLASSIFICATION, SPAN_LOGITS, Kind
from ..random_states import keeps_random_states
from ..settings import FitConfig
from .mixup import mix_up
from .optimizer import build_optimizer


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What came of a fit.

    Attributes:
        head: with the weights of its best epoch.
        selection_score: of that epoch.
        selection_logits: of the selection rows after that epoch, as `build_predictor` gives them.
        best_epoch: counted from 1.
        history: one list of numbers an epoch for loss and selection_score.
    """

    head: keras.Model
    selection_score: float
    selection_logits: np.ndarray
    best_epoch: int
    history: dict[str, list[float]]


@keeps_random_states
def fit_head(
    build: Callable[[], keras.Model],
    training: tf.data.Dataset,
    selection: tf.data.Dataset,
    score: Callable[[np.ndarray], float],
    *,
    kind: Kind = CLASSIFICATION,
    scale: tuple[float, float] | None = None,
    class_weights: Mapping[int, float] | None = None,
    measured: bool = False,
    config: FitConfig | None = None,
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
    progress: Callable[[int, int], None] | None = None,
    logs: Path | None = None,
) -> FitResult:
    """Trains a head and keeps its best epoch on the selection rows.

    Args:
        build: makes the head; called under the seed and the strategy.
        training: shuffled batches of images, `config.epochs` epochs of them in one iteration.
        selection: images of the selection rows, in the order that `score` expects.
        score: logits of the selection rows, as `build_predictor` gives them → the task's main metric; higher is better.
        kind: the task's; it decides the loss.
        scale: mean and deviation of a regression's labels: the head is trained on labels of mean 0 and deviation 1,
            and its last layer then brought back to theirs.
        class_weights: what a row of each class counts; 1 with None.
        measured: whether the datasets hold what `split_head` measures, instead of images.
        config: how it is trained.
        seed: of the first weights and of dropout; the dataset has its own.
        strategy: where; the default device with None.
        progress: called with the epochs done and the epochs in all; in the end all are done, stopped early or not.
        logs: the folder that gets TensorBoard's logs in the place of those that are there; none with None.

    Raises:
        RunError: the loss is no number.
    """
    config = config or FitConfig()
    strategy = strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(seed)
    steps = int(training.cardinality())
    with strategy.scope():
        head = build()
        model = choose_part(head, measured)
        model.compile(
            optimizer=build_optimizer(
                steps, config.learning_rate, config.warmup, config.weight_decay, config.clip_norm
            ),
            loss=kind.build_loss(mixed=config.mixup > 0),
            jit_compile=False,  # batches differ in length: XLA would compile each shape
        )
        model.optimizer.build(model.trainable_variables)  # variables made in the first step would have it traced twice
    progress = progress or (lambda done, total: None)
    progress(0, config.epochs)
    mean, deviation = scale or (0.0, 1.0)
    if scale:
        training = training.map(lambda images, labels: (images, (labels - mean) / deviation))
    training = kind.arrange(training)
    if config.mixup:
        classes = model.output.shape[-1] if kind.single else None
        training = mix_up(training, config.mixup, seed, classes)
    watcher = _SelectionScore(selection, lambda logits: logits * deviation + mean, score, config.patience)
    counter = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: progress(epoch + 1, config.epochs))
    history = model.fit(
        training,
        epochs=config.epochs,
        steps_per_epoch=steps // config.epochs,
        callbacks=[watcher, counter, *([] if logs is None else [_log_to(logs)])],
        class_weight=None if class_weights is None else dict(class_weights),
        shuffle=False,
        verbose=0,
    )
    progress(config.epochs, config.epochs)
    model.set_weights(watcher.best_weights)
    if scale:
        last = head.get_layer("logits")
        kernel, bias = last.get_weights()
        last.set_weights([kernel * deviation, bias * deviation + mean])
    curves = {name: [float(value) for value in values] for name, values in history.history.items()}
    return FitResult(head, watcher.best_score, watcher.best_logits, watcher.best_epoch, curves)


def _log_to(folder: Path) -> keras.callbacks.Callback:
    for left in folder.rglob("events.out.tfevents.*"):
        left.unlink()
    return keras.callbacks.TensorBoard(folder, write_graph=False)


def build_predictor(head: keras.Model) -> Callable[[tf.data.Dataset], np.ndarray]:
    """A function of images that gives logits of all rows, in the dataset's order: (rows, outputs); of a span head
    (tokens, 2), of the real tokens of all windows back to back."""
    # One trace for all shapes; the inputs that the head has, of those that a batch holds.
    signature = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in head.input.items()}
    run = tf.function(lambda images: head(images, training=False), input_signature=[signature])

    def predict(images: Mapping[str, tf.Tensor]) -> np.ndarray:
        logits = run({name: images[name] for name in signature})
        if isinstance(logits, dict):
            both = np.stack([logits[name].numpy() for name in SPAN_LOGITS], axis=-1)  # (batch, tokens, 2)
            return both[images["padding_mask"].numpy() > 0]
        return logits.numpy()

    return lambda dataset: np.concatenate([predict(images) for images, _ in dataset])


def predict_logits(head: keras.Model, dataset: tf.data.Dataset, measured: bool = False) -> np.ndarray:
    """Logits as `build_predictor` gives them; `measured` as for `fit_head`."""
    return build_predictor(choose_part(head, measured))(dataset)


def choose_part(head: keras.Model, measured: bool) -> keras.Model:
    """A head, or the part of it that reads what the other part measures."""
    if not measured:
        return head
    parts = split_head(head)
    if parts is None:
        raise RunError(f"head {head.name} measures nothing: it reads images.")
    return parts[1]


class _SelectionScore(keras.callbacks.Callback):
    """Scores the selection rows after each epoch, keeps the best weights, and stops when no better ones come."""

    def __init__(
        self,
        selection: tf.data.Dataset,
        rescale: Callable[[np.ndarray], np.ndarray],
        score: Callable[[np.ndarray], float],
        patience: int,
    ):
        super().__init__()
        self.selection, self.rescale, self.score, self.patience = selection, rescale, score, patience
        self.best_logits = np.zeros(0)
        self.best_score, self.best_epoch, self.best_weights = -np.inf, 0, None

    def on_train_begin(self, logs=None):
        self.predict = build_predictor(self.model)

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            raise RunError(f"the loss of epoch {epoch + 1} is {logs['loss']}: try a lower learning rate.")
        logits = self.rescale(self.predict(self.selection))
        logs["selection_score"] = score = self.score(logits)  # for the callbacks after this one
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch + 1
            self.best_logits, self.best_weights = logits, self.model.get_weights()
        elif epoch + 1 - self.best_epoch >= self.patience:
            self.model.stop_training = True
