"""Heads of one kind on the stores of one task, seed by seed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import keras
import numpy as np

from ..heads import HeadConfig, adapt_head, build_head, split_head
from ..metrics.glue import compute_metric
from ..progress import Progress, ignore
from ..store import Store, StoreSpec
from ..tasks import TaskKind, TaskSpec, split_selection
from .draw import Draw, balance
from .fit import FitConfig, FitResult, fit_head, predict_logits
from .measured import MeasuredStore
from .outputs import choose_scale, read_predictions
from .strategy import get_strategy

STATISTICS_ROWS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """The stores of one task, train's and those of its dev splits, and the roles of train's rows.

    Attributes:
        task: what the labels are, and the main metric.
        head: which heads are trained.
        stores: train's first.
        draw: which of train's rows a seed is trained on.
        selection: indices of train's selection rows.
        config: how heads are trained.
        balance_classes: whether every class counts the same.
        strategy: a name of STRATEGIES.
        progress: called with what is done, how much of it, and of how much.
    """

    task: TaskSpec
    head: HeadConfig
    stores: Sequence[Store]
    draw: Draw
    selection: np.ndarray
    config: FitConfig
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
        rows = self.draw.rows(seed)
        labels, selected = store.labels[rows], store.labels[self.selection]
        return fit_head(
            functools.partial(self.build, f"seed_{seed}", rows),
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

    def build(self, name: str, rows: np.ndarray) -> keras.Model:
        """An untrained head, adapted to the rows that it is trained on."""
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
    """The training and the selection rows of a task: stratified by label where it has classes, or by whether there is
    an answer."""
    return split_selection(labels, groups, stratify=task.kind in (TaskKind.CLASSIFICATION, TaskKind.SPAN))


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
