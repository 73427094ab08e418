"""Weight injection: how much of what fine-tuning changed is needed, group by group of weights.

In a fine-tuned encoder a random share of a group's weights is put back to what it was before. The encoder's own head is
scored on dev then, at once or after the rest has been trained on while those weights stay as they are.

Source: BERTVision, 2022, arXiv 2202.12210.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ...encoders import Classifier, Encoder
from ...errors import RunError
from ...metrics.glue import compute_metric
from ...paths import read_path
from ...progress import Progress, ignore
from ...random_states import keeps_random_states
from ...runs import Run
from ...tasks import TASKS, Examples, TaskSpec
from ...training import FineTuneConfig, Snapshot
from ...training.draw import split_task
from ...training.encoder_model import EncoderModel
from ...training.fine_tuning import load_token_batches
from ...training.optimizer import RowAdamW, attach_optimizer, build_tuning_optimizer
from ...training.passes import Passes, TrainingSet
from ...training.snapshot import read_snapshot
from ...training.strategy import get_strategy
from ..cells import append_cell, check_table, read_cells

GROUPS: Mapping[str, str] = {  # patterns of names
    "all": r"(?!pooler).*",
    "embeddings": r"\w+_embedding|embeddings_norm\..*|projection\..*",
    "attention": r"block_\d+\.(distance_)?(query|key|value|attention_output)\..*",
    "feed_forward": r"block_\d+\.(intermediate|gate|output)\..*",
    "norms": r".*_norm\..*",
}
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclasses.dataclass(frozen=True)
class WeightInjection:
    """What is put back.

    Attributes:
        groups: of weights, names of GROUPS or "block_N"; the pooler, which is the own head's, is in none.
        shares: of a group's weights.
        draws: how often the weights are drawn, for each share but 0 and 1.
        epochs: that the rest is trained on, with the weights that were put back frozen; 0 for none.
    """

    groups: Sequence[str] = ("all", "embeddings", "attention", "feed_forward", "norms")
    shares: Sequence[float] = SHARES
    draws: int = 3
    epochs: float = 0.0

    def __post_init__(self):
        if not self.shares or min(self.shares) < 0 or max(self.shares) > 1:
            raise RunError(f"shares that are put back need 0 to 1, got {list(self.shares)}.")
        if self.draws < 1 or self.epochs < 0:
            raise RunError("weight injection needs one draw or more, and 0 epochs or more.")


@dataclasses.dataclass(frozen=True)
class WeightCell:
    """One score.

    Attributes:
        task, setting, metric: what was scored on what: the setting names the encoders, and how the rest was trained on.
        seed: of the fine-tuning.
        group, share, draw: which weights were put back.
        score: of the encoder's own head on dev.
    """

    task: str
    setting: str
    metric: str
    seed: int
    group: str
    share: float
    draw: int
    score: float


def open_fine_tuned(
    run: Run, data_dir: str | Path | None
) -> tuple[list[Snapshot], Encoder, TaskSpec, list[Examples], np.ndarray]:
    """What `inject_weights` needs of a finished run: snapshots, base, task, train and dev, training rows.

    Raises:
        RunError: its encoder was not fine-tuned, each seed has rows of its own, or its rows or encoder are others now.
    """
    config = run.config
    if not config["snapshots"]:
        raise RunError(f"{run.path} has a frozen encoder, into which no weights can be put back.")
    if config.get("fine_tune_from"):
        raise RunError(f"{run.path} has an encoder without a head of its own, by which weights put back are scored.")
    if config["shots"] or config["train_share"] < 1:
        raise RunError(f"{run.path} has other training rows for each seed: take a run on all of them.")
    if config["task"] not in TASKS:
        raise RunError(f"{run.path} is of a table of your own; weights are put back for {', '.join(TASKS)}.")
    task = TASKS[config["task"]]
    task.require_labels("weight injection")
    splits = run.load_rows(task, data_dir)
    paths = dict.fromkeys(snapshot["path"] for snapshot in config["snapshots"].values())
    snapshots = [read_snapshot(read_path(path), config["dtype"]) for path in paths]
    training, _ = split_task(task, splits[0])
    return snapshots, run.load_base_encoder(), task, splits, training


def choose_weights(names: Sequence[str], group: str) -> list[str]:
    """The names of a group's weights.

    Raises:
        RunError: there is no such group.
    """
    pattern = GROUPS.get(group) or (rf"{group}\..*" if re.fullmatch(r"block_\d+", group) else "")
    chosen = [name for name in names if re.fullmatch(pattern, name)]
    if not chosen:
        raise RunError(f"no weights are a group {group!r}; known: {', '.join(GROUPS)}, block_N.")
    return chosen


def put_back(
    base: Mapping[str, np.ndarray], tuned: Mapping[str, np.ndarray], names: Sequence[str], share: float, draw: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A fine-tuned encoder's weights with a random share of some put back.

    Args:
        base, tuned: weights before and after, by name.
        names: of those from which weights are drawn.
        share: of them that is put back; the smaller share of a draw is part of the greater.
        draw: its seed.

    Returns:
        the weights; and for each name which of them were put back, bool of its shape.
    """
    random = np.random.default_rng(draw)
    mixed, back = dict(tuned), {}
    for name in names:
        back[name] = random.random(tuned[name].shape) < share
        mixed[name] = np.where(back[name], base[name], tuned[name])
    return mixed, back


@keeps_random_states
def inject_weights(
    output: str | Path,
    snapshots: Sequence[Snapshot],
    base: Encoder,
    task: TaskSpec,
    splits: Sequence[Examples],
    training: np.ndarray,
    injection: WeightInjection,
    *,
    progress: Progress = ignore,
) -> Iterator[WeightCell]:
    """Scores encoders with weights put back, cell by cell: what the file has is not run again.

    Args:
        output: a CSV file, a line a cell.
        snapshots: fine-tuned encoders, one a seed.
        base: what they were before.
        task, splits: what they were fine-tuned on: train and dev.
        training: indices of the training rows.
        injection: what is put back.
        progress: as `train`'s.

    Yields:
        each new cell.
    """
    output, facts = check_table(output), snapshots[0].facts
    setting = (
        f"{base.name} {base.fingerprint[:8]}, {facts['epochs']:g} epochs, snapshots "
        f"{' '.join(snapshot.encoder.fingerprint[:8] for snapshot in snapshots)}, the rest trained on for "
        f"{injection.epochs:g} epochs"
    )
    done = {(cell.seed, cell.group, cell.share, cell.draw) for cell in read_cells(output, WeightCell, setting)}
    before = EncoderModel(base, task.num_outputs).read_encoder(base.name).weights  # in the form of a snapshot's
    chosen = {group: choose_weights(list(before), group) for group in injection.groups}
    cells = [
        (group, share, draw)
        for group in injection.groups
        for share in injection.shares
        for draw in range(1 if share in (0, 1) and not injection.epochs else injection.draws)
    ]
    for snapshot in snapshots:
        seed, model = snapshot.facts["seed"], None
        for place, (group, share, draw) in enumerate(cells):
            progress(f"put weights back, seed {seed}", place, len(cells))
            if (seed, group, share, draw) in done:
                continue
            model = model or _InjectedModel(snapshot, task, splits, training)
            weights, back = put_back(before, snapshot.encoder.weights, chosen[group], share, draw)
            model.write(weights)
            if injection.epochs:
                model.train_on(back, injection.epochs, draw)
            score = compute_metric(task.main_metric, splits[1].labels, model.predict())
            cell = WeightCell(task.name, setting, task.main_metric, seed, group, float(share), draw, score)
            append_cell(output, cell)
            yield cell
        progress(f"put weights back, seed {seed}", len(cells), len(cells))


class _InjectedModel:
    """A snapshot as a trainable model, whose weights come and go."""

    def __init__(self, snapshot: Snapshot, task: TaskSpec, splits: Sequence[Examples], training: np.ndarray):
        facts = snapshot.facts
        self.task, self.training, self.classifier = task, training, snapshot.classifier
        self.config = FineTuneConfig(**facts["config"])
        self.tokens = [
            snapshot.encoder.tokenize_rows(part.texts, part.text_pairs, facts["max_length"]) for part in splits[:2]
        ]
        self.labels, self.scale = task.kind.scale_labels(splits[0].labels, training)
        self.trained = EncoderModel(snapshot.encoder, task.num_outputs, "all", self.config.dtype)

    def write(self, weights: Mapping[str, np.ndarray]) -> None:
        assert isinstance(self.classifier, Classifier)  # runs are of labels
        self.trained.write(weights, self.classifier, self.scale)

    def train_on(self, back: Mapping[str, np.ndarray], epochs: float, seed: int) -> None:
        """Trains all but the weights that were put back, at the highest rate of the fine-tuning."""
        for place, state in enumerate(self.trained.model.non_trainable_variables):  # dropout's: each cell begins alike
            state.assign([seed, place])
        optimizer = build_tuning_optimizer(self.config, rising=0, kind=HoldingAdamW)
        optimizer.hold(self.trained.find_variables(), back)
        attach_optimizer(self.trained.model, optimizer)
        steps = max(round(epochs * -(-len(self.training) // self.config.batch_size)), 1)
        batches = load_token_batches(
            *(self.trained.model, self.tokens[0], self.labels, self.training),
            batch_size=self.config.batch_size,
            steps=steps,
            seed=seed,
        )
        passes = Passes([TrainingSet(batches)], self.task.kind.build_loss(), get_strategy("one_device"))
        passes.take([self.trained.model], [0])
        passes.run(steps)

    def predict(self) -> np.ndarray:
        """Of dev, in the form of labels."""
        mean, deviation = self.scale
        logits = np.zeros((len(self.tokens[1]), self.task.num_outputs), np.float32)
        for rows, padded in self.tokens[1].batches():
            inputs = {tensor.name: padded[tensor.name] for tensor in self.trained.model.inputs}
            logits[rows] = self.trained.model.predict_on_batch(inputs)
        return self.task.kind.decode(logits * deviation + mean)


class HoldingAdamW(RowAdamW):
    """Leaves chosen weights as they are."""

    def hold(self, variables: Mapping[str, keras.Variable], masks: Mapping[str, np.ndarray]) -> None:
        """Keeps what variables are now, where their masks, by the same names, hold."""
        self._held = {
            self._var_key(variables[name]): (
                tf.constant(mask.reshape(variables[name].shape)),
                tf.identity(variables[name].value),
            )
            for name, mask in masks.items()
            if name in variables
        }

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)
        held = self._held.get(self._var_key(variable))
        if held is not None:  # after the decay of weights, too
            mask, value = held
            self.assign(variable, tf.where(mask, value, tf.convert_to_tensor(variable)))
