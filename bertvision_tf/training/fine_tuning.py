"""Fine-tunes an encoder on a task by fractions of an epoch, and keeps a snapshot at each.

    S/<task>/encoders/<recipe>/epochs-0.3/         a checkpoint's folder with the encoder's own head in it
    S/<task>/encoders/<recipe>/state.safetensors   where training stands: weights, optimizer, dropout's seeds

The recipe is known before any work: the base encoder's fingerprint, the rows, the settings and the seed. With the
constant schedule the way to 1 epoch goes through 0.3, so that each fraction goes on from the one before; with "each" a
fraction has its own decay and begins anew. A run that was killed goes on from its last state.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..encoders import Encoder, Tokens, Windows, choose_windows, save_encoder
from ..errors import LossError, RunError
from ..images import BatchPlan, load_arrays, tokenize_examples
from ..paths import read_path
from ..random_states import keeps_random_states
from ..settings import FineTuneConfig
from ..store.waiting import build_busy_error, wait_for
from ..store.writer import lock_folder
from ..tasks import Examples, TaskSpec
from .cost import Cost
from .encoder_model import EncoderModel
from .optimizer import attach_optimizer, build_tuning_optimizer, check_skipped
from .passes import Passes, TrainingSet
from .snapshot import FACTS, Snapshot, read_snapshot
from .state import read_state, write_state
from .strategy import ONE, choose_strategy, get_strategy

STATE = "state.safetensors"
SAVING_SHARE = 0.05  # of the time may go into keeping the state
SAVING_SECONDS = 20.0  # at least between two of them

StepProgress = Callable[[int, int], None]  # steps done, steps in all


@keeps_random_states
def fine_tune(
    encoder: Encoder,
    task: TaskSpec,
    examples: Examples,
    rows: np.ndarray,
    root: str | Path,
    *,
    epochs: float,
    seed: int = 0,
    max_length: int = 128,
    config: FineTuneConfig | None = None,
    class_weights: Mapping[int, float] | None = None,
    strategy: str = "one_device",
    progress: StepProgress = lambda done, total: None,
) -> Snapshot:
    """Fine-tunes an encoder, or finds the snapshot that is there.

    Args:
        encoder: where it begins.
        task: what the labels are.
        examples, rows: train, and the indices of those that are trained on; never the selection rows.
        root: of all stores.
        epochs: passes over the rows, more than 0; fractions too.
        seed: of the order, of dropout and of its own head's first weights.
        max_length: tokens a text.
        config: how; `FineTuneConfig.for_task`'s with None.
        class_weights: what a row of each class counts; 1 with None.
        strategy: a name of STRATEGIES.
        progress: called with the steps done, and those in all.

    Raises:
        RunError: the loss is no number, or the folder cannot be written.
    """
    if not 0 < epochs < 1e6 or not len(rows):
        raise RunError(f"fine-tuning needs more than 0 epochs and rows, got {epochs} epochs of {len(rows)} rows.")
    if class_weights and not task.kind.single:
        raise RunError(f"only single classes can be balanced, {task.name} is a {task.kind}.")
    config = config or FineTuneConfig.for_task(task)
    facts = {
        "base": encoder.fingerprint,
        "task": task.name,
        "examples": examples.fingerprint,
        "rows": hashlib.sha256(np.asarray(rows, np.int64).tobytes()).hexdigest()[:32],
        "max_length": max_length,
        "seed": seed,
        "class_weights": sorted(class_weights.items()) if class_weights else None,
        "config": dataclasses.asdict(config),
    }
    if task.kind.answers:
        facts["windows"] = choose_windows(max_length)
    if config.schedule == "each":
        facts["decayed_over"] = epochs
    if choose_strategy(strategy) != ONE:
        facts["strategy"] = f"{choose_strategy(strategy)}, all rows"  # without, of those that devices shared equally

    def make(snapshot: Path) -> None:
        training = _FineTuning(
            encoder, task, examples, rows, snapshot.parent, epochs, facts, config, class_weights, strategy
        )
        training.run(snapshot, progress)

    return make_snapshot(root, facts, epochs, encoder, make)


def make_snapshot(
    root: str | Path, facts: Mapping[str, Any], epochs: float, encoder: Encoder, make: Callable[[Path], None]
) -> Snapshot:
    """Makes the snapshot of a recipe, or finds the one that is there, or that another process makes meanwhile.

    Args:
        root: of all stores.
        facts: all that it depends on, with the task's name; the recipe is their fingerprint.
        epochs: after which it is.
        encoder: whose dtype and engine the snapshot's has.
        make: writes it into a folder, whole or not at all.

    Raises:
        RunError: the folder cannot be written.
    """
    recipe = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    path = read_path(root) / facts["task"] / "encoders" / recipe
    snapshot = path / f"epochs-{epochs:g}"
    if not (snapshot / "config.json").is_file():
        lock = wait_for(lambda: _lock(path))
        try:
            if not (snapshot / "config.json").is_file():  # another process may have made it meanwhile
                make(snapshot)
        finally:
            if lock is not None:
                os.close(lock)
    gc.collect()  # Keras models lie in cycles, gigabytes in few objects, which Python alone would keep for long
    return read_snapshot(snapshot, encoder.dtype, encoder.engine)


def _lock(path: Path) -> int | None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        return lock_folder(path)
    except BlockingIOError:
        raise build_busy_error(path, path) from None
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from None


class _FineTuning:
    """One call of `fine_tune`: the model, and the way from its last state to the snapshot."""

    def __init__(self, encoder, task, examples, rows, path, epochs, facts, config, class_weights, strategy):
        self.task, self.path, self.epochs, self.facts, self.config = task, path, epochs, facts, config
        self.class_weights = class_weights
        self.tokens, labels = tokenize_examples(encoder, examples, facts["max_length"])
        if isinstance(self.tokens, Windows):
            rows = np.flatnonzero(np.isin(self.tokens.questions, rows))
        self.labels, self.scale = task.kind.scale_labels(labels, rows)
        self.rows, self.devices = rows, get_strategy(strategy)
        an_epoch = -(-len(rows) // config.batch_size)
        self.steps = max(round(epochs * an_epoch), 1)
        each = config.schedule == "each"
        rising = round(config.warmup * (self.steps if each else an_epoch))
        keras.utils.set_random_seed(facts["seed"])
        with self.devices.scope():
            outputs = None if task.kind.answers else task.num_outputs
            self.trained = EncoderModel(encoder, outputs, config.parts, config.dtype)
            self.optimizer = build_tuning_optimizer(config, rising, self.steps if each else None)
            attach_optimizer(self.trained.model, self.optimizer)
        self.variables = [*self.trained.model.variables, *self.optimizer.variables]  # dropout's seeds among them
        self.step, self.seconds, self.memory_bytes = 0, 0.0, 0
        self.keeps = True  # its state; not where one of more epochs is there to go on from

    def run(self, snapshot: Path, progress: StepProgress) -> None:
        self._load()
        progress(self.step, self.steps)
        if self.step < self.steps:
            batches = load_token_batches(
                *(self.trained.model, self.tokens, self.labels, self.rows),
                batch_size=self.config.batch_size,
                steps=self.steps,
                seed=self.facts["seed"],
            )
            batches = self.task.kind.arrange(batches).skip(self.step)
            with Cost() as cost:
                self.train(TrainingSet(batches, class_weights=self.class_weights), progress)
            self.memory_bytes = cost.memory_bytes
            if self.keeps:
                self.save()
        mean, deviation = self.scale
        head = self.trained.read_classifier()
        head = dataclasses.replace(
            head, output_kernel=head.output_kernel * deviation, output_bias=head.output_bias * deviation + mean
        )
        facts = self.facts | {
            "epochs": self.epochs,
            "steps": self.steps,
            "seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
            "trainable_parameters": self.trained.trainable_parameters,
        }
        settings: dict[str, Any] = {FACTS: facts}
        if not self.task.kind.answers:
            names = self.task.label_names or ("score",)
            settings["id2label"] = {str(place): name for place, name in enumerate(names)}
            settings["label2id"] = {name: place for place, name in enumerate(names)}
        save_encoder(self.trained.read_encoder(str(snapshot)), snapshot, head, settings)

    def train(self, training: TrainingSet, progress: StepProgress) -> None:
        """Takes the steps that remain, and keeps the state now and then.

        Raises:
            LossError: a loss is no number.
        """
        passes = Passes([training], self.task.kind.build_loss(), self.devices)
        passes.take([self.trained.model], [0])
        start, before = time.perf_counter(), self.seconds
        saved, cost = start, 0.0  # when, and how long it took
        while self.step < self.steps:
            (loss,) = passes.run(1)
            self.step += 1
            now = time.perf_counter()
            self.seconds = before + now - start
            if not np.isfinite(loss):
                raise LossError(f"the loss of step {self.step} is {loss}: try a lower learning rate.")
            progress(self.step, self.steps)
            if self.keeps and now - saved > max(SAVING_SECONDS, cost / SAVING_SHARE):
                self.save()
                saved = time.perf_counter()
                cost = saved - now
        check_skipped(self.optimizer)

    def save(self) -> None:
        """Keeps where training stands."""
        write_state(self.path / STATE, [np.array(variable) for variable in self.variables], self.step, self.seconds)

    def _load(self) -> None:
        """Goes back to the last state, unless it lies behind the fraction.

        Raises:
            RunError: it is damaged.
        """
        found = read_state(self.path / STATE)
        if found is None:
            return
        values, step, seconds = found
        self.keeps = step <= self.steps
        if not self.keeps:
            return
        try:
            for variable, value in zip(self.variables, values, strict=True):
                variable.assign(value)
        except (TypeError, ValueError) as error:
            raise RunError(f"{self.path / STATE} cannot be read ({error}): delete it to begin anew.") from None
        self.step, self.seconds = step, seconds


def load_token_batches(
    model: keras.Model,
    tokens: Tokens,
    labels: np.ndarray,
    rows: np.ndarray,
    *,
    batch_size: int,
    steps: int,
    seed: int,
) -> tf.data.Dataset:
    """Shuffled batches of tokens and labels, so many steps or some more, each epoch in an order of its own.

    Args:
        model: whose inputs they are.
        tokens, labels: of all rows.
        rows: indices of those that are trained on.
        batch_size, steps: how many rows a step, and how many steps.
        seed: of the order.
    """
    names = [tensor.name for tensor in model.inputs]
    epochs = -(-steps * batch_size // len(rows)) + 1
    plan = BatchPlan(tokens.lengths, rows=rows, batch_size=batch_size, shuffle=True, seed=seed, epochs=epochs)

    def gather(source: _Rows, batch: np.ndarray) -> Sequence[np.ndarray]:
        padded = source.tokens.pad(batch)
        return [*(padded[name] for name in names), source.labels[batch]]

    inputs = {name: (tf.int32, (None, None)) for name in names}
    return load_arrays(_Rows(tokens, labels), plan, gather, inputs, labels)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """What batches are gathered from."""

    tokens: Tokens
    labels: np.ndarray
