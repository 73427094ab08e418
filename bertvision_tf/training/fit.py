"""Fits heads, several of them in one pass over the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import RunError
from ..heads import split_head
from ..heads.together import HeadsTogether
from ..kinds import CLASSIFICATION, SPAN_LOGITS, Kind
from ..random_states import keeps_random_states
from ..settings import FitConfig
from .mixup import mix_up
from .optimizer import attach_optimizer, build_optimizer, check_skipped
from .passes import Passes, TrainingSet
from .strategy import check_replicas

MIXING = 0  # the seed of mixup: heads that share batches share their mixtures


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What came of a fit.

    Attributes:
        head: with the weights of its best epoch.
        selection_score: of that epoch.
        selection_logits: of the selection rows after that epoch, as `build_predictor` gives them.
        best_epoch: counted from 1; 0 of a head that had been trained before, and got no better.
        history: one list of numbers an epoch for loss and selection_score.
    """

    head: keras.Model
    selection_score: float
    selection_logits: np.ndarray
    best_epoch: int
    history: dict[str, list[float]]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A head that is about to be trained.

    Attributes:
        build: makes it; called under the seed and the strategy.
        training: what it is trained on; candidates with the same one read each batch once for all of them.
        config: how it is trained.
        seed: of its first weights and of dropout.
        logs: the folder that gets TensorBoard's logs in the place of those that are there; none with None.
        optimizer: makes what trains it, from the steps of an epoch; by default as `config` says.
        trained: whether it has been trained before, so that it may be best as it is.
    """

    build: Callable[[], keras.Model]
    training: TrainingSet
    config: FitConfig = dataclasses.field(default_factory=FitConfig)
    seed: int = 0
    logs: Path | None = None
    optimizer: Callable[[int], keras.optimizers.Optimizer] | None = None
    trained: bool = False


def fit_head(
    build: Callable[[], keras.Model],
    training: tf.data.Dataset,
    selection: tf.data.Dataset,
    score: Callable[[np.ndarray], float],
    *,
    config: FitConfig | None = None,
    seed: int = 0,
    logs: Path | None = None,
    scale: tuple[float, float] | None = None,
    class_weights: Mapping[int, float] | None = None,
    **options: Any,
) -> FitResult:
    """Trains a head and keeps its best epoch on the selection rows.

    Args:
        build, config, seed, logs: as `Candidate`'s.
        training, scale, class_weights: as `TrainingSet`'s batches, scale and class weights.
        selection, score, **options: as `fit_heads`'s.

    Raises:
        RunError: the loss is no number.
    """
    candidate = Candidate(build, TrainingSet(training, scale, class_weights), config or FitConfig(), seed, logs)
    (found,) = fit_heads([candidate], selection, score, **options)
    if isinstance(found, RunError):
        raise found
    return found


@keeps_random_states
def fit_heads(
    candidates: Sequence[Candidate],
    selection: tf.data.Dataset,
    score: Callable[[np.ndarray], float],
    *,
    kind: Kind = CLASSIFICATION,
    measured: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FitResult | RunError]:
    """Trains heads side by side and keeps the best epoch of each on the selection rows.

    Each has its own weights, dropout, optimizer and early stopping, and comes to what it comes to alone, within
    float32's noise.

    Args:
        candidates: heads of any kind, with the same mixup, and training sets with as many batches, of the same sizes.
            These hold as many epochs as a candidate has at most.
        selection: images of the selection rows, in the order that `score` expects.
        score: logits of the selection rows, as `build_predictor` gives them → the task's main metric; higher is better.
        kind: the task's; it decides the loss.
        measured: whether the datasets hold what `split_head` measures, instead of images.
        strategy: where; the default device with None.
        progress: called with the epochs done and the epochs in all; in the end all are done, stopped early or not.

    Returns:
        what came of each; an error where its loss is no number.
    """
    strategy = strategy or tf.distribute.get_strategy()
    epochs, mixup = max(one.config.epochs for one in candidates), candidates[0].config.mixup
    training = list({id(one.training): one.training for one in candidates}.values())
    (steps,) = {int(one.batches.cardinality()) // epochs for one in training}
    runs = [_Run(one, steps, measured, strategy) for one in candidates]
    progress = progress or (lambda done, total: None)
    progress(0, epochs)
    classes = runs[0].model.output.shape[-1] if kind.single else None
    arranged = [_arrange(one, kind, mixup, classes) for one in training]
    passes = Passes(arranged, kind.build_loss(mixed=mixup > 0), strategy)
    heads: list[_Run] = []
    for epoch in range(epochs):
        active = [run for run in runs if not run.ended]
        if not active:
            break
        if 2 * len(active) <= len(heads) or not heads:  # tracing anew costs as much as an epoch
            heads = active
            passes.take([run.model for run in heads], [training.index(run.training) for run in heads])
            predict = build_predictors([run.model for run in heads])
        if not epoch and any(run.trained for run in heads):
            for run, logits in zip(heads, predict(selection), strict=True):
                run.begin(logits, score)
        losses = passes.run(steps)
        for run, loss, logits in zip(heads, losses, predict(selection), strict=True):
            if not run.ended:
                run.note(loss, logits, score)
        progress(epoch + 1, epochs)
    progress(epochs, epochs)
    return [run.finish() for run in runs]


def _arrange(training: TrainingSet, kind: Kind, mixup: float, classes: int | None) -> TrainingSet:
    """A training set with labels as the loss reads them, on the scale of the head, and mixed."""
    batches, scale = training.batches, training.scale
    if scale:
        mean, deviation = scale
        batches = batches.map(lambda images, labels: (images, (labels - mean) / deviation))
    batches = kind.arrange(batches)
    if mixup:
        batches = mix_up(batches, mixup, MIXING, classes)
    return dataclasses.replace(training, batches=batches)


class _Run:
    """A head in training: what came of its epochs so far."""

    def __init__(self, candidate: Candidate, steps: int, measured: bool, strategy: tf.distribute.Strategy):
        self.config, self.training, self.ended = candidate.config, candidate.training, False
        self.trained = candidate.trained
        self.error: RunError | None = None
        self.history: dict[str, list[float]] = {"loss": [], "selection_score": []}
        self.best_score, self.best_epoch = -np.inf, 0
        keras.utils.set_random_seed(candidate.seed)
        with strategy.scope():
            self.head = candidate.build()
            self.model = choose_part(self.head, measured)
            config = self.config
            if candidate.optimizer is not None:
                optimizer = candidate.optimizer(steps)
            else:
                optimizer = build_optimizer(
                    steps * config.epochs, config.learning_rate, config.warmup, config.weight_decay, config.clip_norm
                )
            check_replicas(self.model, strategy)
            attach_optimizer(self.model, optimizer)
        self.board = None if candidate.logs is None else _open_board(candidate.logs, self.model)

    def begin(self, logits: np.ndarray, score: Callable[[np.ndarray], float]) -> None:
        """Takes down what a head that was trained before is, before the first epoch."""
        if self.trained:
            logits = self._restore(logits)
            self._keep_better(0, score(logits), logits)

    def note(self, loss: float, logits: np.ndarray, score: Callable[[np.ndarray], float]) -> None:
        """Takes down an epoch, and ends the run after its last or where no better one comes."""
        logits = self._restore(logits)
        epoch = len(self.history["loss"]) + 1
        if not np.isfinite(loss):
            self.error = RunError(f"the loss of epoch {epoch} is {loss}: try a lower learning rate.")
            self.ended = True
            return
        found = score(logits)
        for name, value in (("loss", loss), ("selection_score", found)):
            self.history[name].append(float(value))
        if self.board is not None:
            self.board.on_epoch_end(epoch - 1, {"loss": float(loss), "selection_score": float(found)})
        self._keep_better(epoch, found, logits)
        self.ended = epoch == self.config.epochs or epoch - self.best_epoch >= self.config.patience

    def _restore(self, logits: np.ndarray) -> np.ndarray:
        """Logits on the scale of the labels."""
        mean, deviation = self.training.scale or (0.0, 1.0)
        return logits * deviation + mean

    def _keep_better(self, epoch: int, found: float, logits: np.ndarray) -> None:
        if found > self.best_score:
            self.best_score, self.best_epoch = found, epoch
            self.best_logits, self.best_weights = logits, self.model.get_weights()

    def finish(self) -> FitResult | RunError:
        """The head with the weights of its best epoch, on the scale of the labels."""
        if self.board is not None:
            self.board.on_train_end()
        if self.error is not None:
            return self.error
        try:
            check_skipped(self.model.optimizer)
        except RunError as error:
            return error
        self.model.set_weights(self.best_weights)
        if self.training.scale:
            mean, deviation = self.training.scale
            last = self.head.get_layer("logits")
            kernel, bias = last.get_weights()
            last.set_weights([kernel * deviation, bias * deviation + mean])
        return FitResult(self.head, self.best_score, self.best_logits, self.best_epoch, self.history)


def _open_board(folder: Path, model: keras.Model) -> keras.callbacks.Callback:
    for left in folder.rglob("events.out.tfevents.*"):
        left.unlink()
    board = keras.callbacks.TensorBoard(folder, write_graph=False)
    board.set_model(model)
    board.on_train_begin()
    return board


def build_predictors(heads: Sequence[keras.Model]) -> Callable[[tf.data.Dataset], list[np.ndarray]]:
    """A function of images that gives, of each head, logits of all rows in the dataset's order: (rows, outputs); of a
    span head (tokens, 2), of the real tokens of all windows back to back."""
    # One trace for all shapes; the inputs that the heads have, of those that a batch holds.
    inputs = {name: tensor for head in heads for name, tensor in head.input.items()}
    signature = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in inputs.items()}
    run = tf.function(HeadsTogether(heads), input_signature=[signature], autograph=False)

    def predict(images: Mapping[str, tf.Tensor]) -> list[np.ndarray]:
        found = run({name: images[name] for name in signature})
        if not isinstance(found[0], dict):
            return [logits.numpy() for logits in found]
        both = [np.stack([logits[name].numpy() for name in SPAN_LOGITS], axis=-1) for logits in found]
        real = images["padding_mask"].numpy() > 0
        return [logits[real] for logits in both]  # of (batch, tokens, 2)

    def predict_all(dataset: tf.data.Dataset) -> list[np.ndarray]:
        batches = [predict(images) for images, _ in dataset]
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]

    return predict_all


def build_predictor(head: keras.Model) -> Callable[[tf.data.Dataset], np.ndarray]:
    """The same of one head."""
    predict = build_predictors([head])
    return lambda dataset: predict(dataset)[0]


def predict_logits(head: keras.Model, dataset: tf.data.Dataset, measured: bool = False) -> np.ndarray:
    """Logits as `build_predictor` gives them; `measured` as for `fit_heads`."""
    return build_predictor(choose_part(head, measured))(dataset)


def raise_first(found: Sequence[FitResult | RunError]) -> list[FitResult]:
    """What `fit_heads` gave, where no loss became no number; else raises the first error."""
    for one in found:
        if isinstance(one, RunError):
            raise one
    return [one for one in found if isinstance(one, FitResult)]


def choose_part(head: keras.Model, measured: bool) -> keras.Model:
    """A head, or the part of it that reads what the other part measures."""
    if not measured:
        return head
    parts = split_head(head)
    if parts is None:
        raise RunError(f"head {head.name} measures nothing: it reads images.")
    return parts[1]
