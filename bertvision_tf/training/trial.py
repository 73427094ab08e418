"""Heads of one kind on the stores of one task, seed by seed."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import keras
import numpy as np

from ..encoders import Encoder
from ..heads import HeadConfig, adapt_head, build_head, split_head
from ..metrics.glue import compute_metric
from ..progress import Progress, ignore
from ..store import Store, StoreSpec
from ..tasks import Examples, TaskKind, TaskSpec, split_selection, take_shots
from .fine_tuning import fine_tune
from .fit import FitConfig, FitResult, fit_head, predict_logits
from .measured import MeasuredStore
from .outputs import choose_scale, read_predictions
from .snapshot import Snapshot
from .strategy import get_strategy

STATISTICS_ROWS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """The stores of one task, train's and those of its dev splits, and the roles of train's rows.

    Attributes:
        task: what the labels are, and the main metric.
        head: which heads are trained.
        stores: train's first.
        training, selection: indices of train's rows.
        config: how heads are trained.
        shots: rows of each class that a seed draws from the training rows; all with None.
        balance_classes: whether every class counts the same.
        strategy: a name of STRATEGIES.
        progress: called with what is done, how much of it, and of how much.
    """

    task: TaskSpec
    head: HeadConfig
    stores: Sequence[Store]
    training: np.ndarray
    selection: np.ndarray
    config: FitConfig
    shots: int | None = None
    balance_classes: bool = False
    strategy: str = "one_device"
    progress: Progress = ignore

    @functools.cached_property
    def inputs(self) -> list[Store | MeasuredStore]:
        """What heads read: the stores, or what they measure of them once, where that fits into memory."""
        parts = split_head(build_task_head(self.head, self.stores[0].spec, self.task))
        if parts is None or not MeasuredStore.fits(parts[0], *self.stores):
            return list(self.stores)
        progress = [functools.partial(self.progress, f"measure {store.spec.split}") for store in self.stores]
        return [MeasuredStore(parts[0], *pair) for pair in zip(self.stores, progress, strict=True)]

    def score(self, labels: np.ndarray, logits: np.ndarray) -> float:
        """The task's main metric."""
        return self.score_predictions(labels, read_predictions(self.task.kind, logits))

    def score_predictions(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        return compute_metric(self.task.main_metric, labels, predictions)

    def fit(self, seed: int) -> FitResult:
        """Trains the head of a seed."""
        store, kind = self.inputs[0], self.task.kind
        rows = self.rows(seed)
        labels, selected = store.labels[rows], store.labels[self.selection]
        return fit_head(
            functools.partial(self._build, f"seed_{seed}", rows),
            store.as_dataset(self.config.batch_size, shuffle=True, seed=seed, rows=rows, epochs=self.config.epochs),
            store.as_dataset(batch_size=64, rows=self.selection),
            functools.partial(self.score, selected),
            kind=kind,
            scale=choose_scale(kind, labels),
            class_weights=balance(labels, self.task.num_outputs) if self.balance_classes else None,
            measured=isinstance(store, MeasuredStore),
            config=self.config,
            seed=seed,
            strategy=get_strategy(self.strategy),
            progress=lambda done, total: self.progress(f"train seed {seed}", done, total),
        )

    def predict(self, head: keras.Model, place: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Logits of the rows of a store, (rows, outputs)."""
        store = self.inputs[place]
        return predict_logits(head, store.as_dataset(batch_size=64, rows=rows), isinstance(store, MeasuredStore))

    def rows(self, seed: int) -> np.ndarray:
        """The rows that a seed trains on: all training rows, or the shots that it draws."""
        return draw_rows(self.stores[0].labels, self.training, self.shots, seed)

    def _build(self, name: str, rows: np.ndarray) -> keras.Model:
        head = build_task_head(self.head, self.stores[0].spec, self.task, name)
        sample = rows[:: max(len(rows) // STATISTICS_ROWS, 1)]  # spread over the file
        adapt_head(head, (images for images, _ in self.inputs[0].as_dataset(batch_size=32, rows=sample)))
        return head


def build_task_head(head: HeadConfig, states: StoreSpec, task: TaskSpec, name: str | None = None) -> keras.Model:
    """The head of a config for a task's labels and a store's images."""
    return build_head(
        head,
        num_hidden_states=states.num_hidden_states,
        hidden_dim=states.hidden_dim,
        num_outputs=task.num_outputs,
        kind="regression" if task.kind is TaskKind.REGRESSION else "classification",
        num_tokens=1 if states.tokens == "cls" else None,
        name=name,
    )


def split_task(task: TaskSpec, labels: np.ndarray, groups) -> tuple[np.ndarray, np.ndarray]:
    """The training and the selection rows of a task: stratified by label where it has classes."""
    return split_selection(labels, groups, stratify=task.kind is TaskKind.CLASSIFICATION)


def draw_sample(roles: tuple[np.ndarray, np.ndarray], count: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Draws rows of train, of each role its share, always the same.

    Args:
        roles: the training and the selection rows.
        count: how many; all if there are no more.

    Returns:
        the rows, sorted, and the places among them of the training and of the selection rows.
    """
    whole, random = sum(map(len, roles)), np.random.default_rng(0)
    shares = [min(-(-count * len(role) // whole), len(role)) for role in roles]
    parts = [random.permutation(role)[:share] for role, share in zip(roles, shares, strict=True)]
    drawn = np.sort(np.concatenate(parts))
    training, selection = (np.flatnonzero(np.isin(drawn, part)) for part in parts)
    return drawn, (training, selection)


def draw_rows(labels: np.ndarray, training: np.ndarray, shots: int | None, seed: int) -> np.ndarray:
    """The rows that a seed trains on: all training rows, or so many of each class that it draws."""
    return training if shots is None else take_shots(labels, training, shots, seed)


def fine_tune_each(
    encoder: Encoder,
    task: TaskSpec,
    train: Examples,
    training: np.ndarray,
    seeds: Sequence[int],
    count: int | None,
    *,
    shots: int | None,
    balance_classes: bool,
    progress: Progress,
    **options,
) -> dict[int, Snapshot]:
    """The fine-tuned encoder of each seed, on the rows that its head is trained on.

    Args:
        encoder, task, train: what is fine-tuned on what.
        training: indices of the training rows.
        seeds: of the heads.
        count: how many of them fine-tune an encoder, the first ones; the seeds take these in turn. All with None.
        shots, balance_classes, progress: as `Trial`'s.
        **options: `fine_tune`'s: root, epochs, max_length, config, strategy.
    """
    snapshots = []
    for seed in seeds[:count]:
        rows = draw_rows(train.labels, training, shots, seed)
        weights = balance(train.labels[rows], task.num_outputs) if balance_classes else None
        told = functools.partial(progress, f"fine-tune seed {seed}")
        options |= {"seed": seed, "class_weights": weights, "progress": told}
        snapshots.append(fine_tune(encoder, task, train, rows, **options))
    return dict(zip(seeds, itertools.cycle(snapshots), strict=False))


def balance(labels: np.ndarray, classes: int) -> dict[int, float]:
    """Weights with which every class that occurs counts the same, and a row counts 1 in the mean."""
    counts = np.bincount(labels, minlength=classes)
    return {place: len(labels) / ((counts > 0).sum() * count) if count else 1.0 for place, count in enumerate(counts)}
