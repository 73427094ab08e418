"""Heads on the stores of one task: which rows they are trained and scored on.

Over 300 lines, since all that a trial knows of its stores is one class.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import RunError
from ..heads import HeadConfig, adapt_head, build_head, split_head
from ..keras_settings import computing_in
from ..kinds import Gold
from ..metrics.calibration import Calibration
from ..progress import Progress, ignore
from ..settings import FitConfig
from ..store import Store, StoreSpec
from ..tasks import Examples, TaskSpec
from .calibrate import calibrate_fit
from .draw import Draw, balance
from .fit import Candidate, FitResult, build_predictors, choose_part, fit_heads, raise_first
from .gold import build_gold
from .linear import check_features, fit_linear_head
from .measured import MeasuredStore, read_in_order
from .passes import TrainingSet
from .strategy import get_strategy

STATISTICS_ROWS = 500
TOGETHER = 8  # heads that are trained side by side at most
TOGETHER_BYTES = 2**30  # a batch's images times the heads of a pass; what a head keeps of a batch is about as large
ORDER = 0  # the seed of the order of batches, one for the heads of all seeds, which can share the batches so


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """A trained head, and what it says.

    Attributes:
        fit: the head, and how it came to be.
        selection: predictions of the selection rows.
        calibration: the scale of the logits, on which probabilities mean what they say. Head, logits and predictions
            are on it already. None where there are no probabilities.
        logits, predictions: of each dev split.
    """

    fit: FitResult
    selection: Any
    calibration: Calibration | None
    logits: list[np.ndarray]
    predictions: list[Any]

    @property
    def head(self) -> keras.Model:
        """The model."""
        return self.fit.head

    @property
    def selection_logits(self) -> np.ndarray:
        """Of the selection rows."""
        return self.fit.selection_logits


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """The stores of one task, train's and those of its dev splits, and the roles of train's rows.

    Attributes:
        task: what the labels are, and the main metric.
        head: which heads are trained.
        stores: train's first.
        examples: of each store its rows.
        draw: which of train's rows a seed is trained on.
        selection: indices of train's selection rows.
        config: how heads are trained.
        balance_classes: whether every class counts the same.
        strategy: a name of STRATEGIES.
        progress: called with what is done, how much of it, and of how much.
        measured: what heads have measured of these stores, by what measures it, for trials of other heads on the same
            stores; with None nothing is kept for them.
        logs: the folder that gets TensorBoard's logs, a folder a seed; none with None.
    """

    task: TaskSpec
    head: HeadConfig
    stores: Sequence[Store]
    examples: Sequence[Examples]
    draw: Draw
    selection: np.ndarray
    config: FitConfig
    balance_classes: bool = False
    strategy: str = "one_device"
    progress: Progress = ignore
    measured: dict[str, list[MeasuredStore]] | None = None
    logs: Path | None = None

    @functools.cached_property
    def inputs(self) -> list[Store | MeasuredStore]:
        """What heads read: the stores, or what they measure of them once, where that fits and gives the same."""
        parts = split_head(self.build_bare("head"))
        if parts is None or (
            self.config.mixup and not self.head.linear
        ):  # of two images is not that of what is measured of them
            return list(self.stores)
        measured, what = self.measured if self.measured is not None else {}, parts[0].to_json()
        if what not in measured:
            if not MeasuredStore.fits(parts[0], *self.stores):
                return list(self.stores)
            progress = [functools.partial(self.progress, f"measure {store.spec.split}") for store in self.stores]
            measured[what] = [MeasuredStore(parts[0], *pair) for pair in zip(self.stores, progress, strict=True)]
        return list(measured[what])

    @functools.cached_property
    def selection_gold(self) -> Gold:
        """What the selection rows are scored by."""
        return self.build_gold(0, self.selection)

    @functools.cached_property
    def dev_golds(self) -> list[Gold]:
        """What the rows of each dev split are scored by."""
        return [self.build_gold(place) for place in range(1, len(self.stores))]

    def build_gold(self, place: int, rows: np.ndarray | None = None) -> Gold:
        """What the rows of a store, or some of them, are scored by."""
        return build_gold(self.task, self.examples[place], self.stores[place], rows)

    def run(self, seed: int) -> Outcome:
        """Trains the head of a seed, and predicts the dev splits with it."""
        return self.run_all([seed])[0]

    def run_all(self, seeds: Sequence[int]) -> list[Outcome]:
        """Trains the heads of some seeds, and predicts the dev splits with them.

        Raises:
            RunError: the loss of one is no number.
        """
        return self.conclude(self.fit_all(seeds))

    def conclude(self, found: Sequence[FitResult]) -> list[Outcome]:
        """Calibrates trained heads, and predicts the dev splits with them."""
        calibrated = [calibrate_fit(fit, self.selection_gold) for fit in found]
        fits, calibrations = zip(*calibrated, strict=True)
        logits = [self.predict_all([fit.head for fit in fits], split) for split in range(1, len(self.stores))]
        outcomes = []
        for place, fit in enumerate(fits):
            own = [parts[place] for parts in logits]
            selection = self.selection_gold.read(fit.selection_logits)
            found = [gold.read(part, selection) for gold, part in zip(self.dev_golds, own, strict=True)]
            outcomes.append(Outcome(fit, selection, calibrations[place], own, found))
        return outcomes

    def fit(self, seed: int) -> FitResult:
        """Trains the head of a seed."""
        return self.fit_all([seed])[0]

    def fit_all(self, seeds: Sequence[int]) -> list[FitResult]:
        """Trains the heads of some seeds."""
        return raise_first(fit_trials([(self, seed) for seed in seeds]))

    def predict(self, head: keras.Model, place: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Logits of the rows of a store, as `build_predictors` gives them."""
        return self.predict_all([head], place, rows)[0]

    def predict_all(self, heads: Sequence[keras.Model], place: int, rows: np.ndarray | None = None) -> list[np.ndarray]:
        """The same of several heads, in one pass."""
        source = self.inputs[place]
        parts = [choose_part(head, isinstance(source, MeasuredStore)) for head in heads]
        return build_predictors(parts)(read_in_order(self.stores[place], rows, source))

    def name_pass(self, seed: int) -> Hashable:
        """The same for heads that can be trained side by side: on the same rows, or on as many images."""
        images = len(self.stores[0].find_images(self.draw.rows(seed)))  # of questions, windows
        read = (id(self.inputs[0]), id(self.draw), images, id(self.selection))
        return *read, self.config.batch_size, self.config.mixup, self.strategy, self.balance_classes, self.head.linear

    def build_training(self, seed: int, epochs: int) -> TrainingSet:
        """What the head of a seed is trained on, for some epochs."""
        rows, size = self.draw.rows(seed), self.config.batch_size
        labels, images = self.examples[0].labels[rows], self.stores[0].find_images(rows)
        batches = self.inputs[0].as_dataset(size, shuffle=True, seed=ORDER, rows=images, epochs=epochs)
        return TrainingSet(batches, self.task.kind.choose_scale(labels), self.weigh_classes(labels))

    def weigh_classes(self, labels: np.ndarray) -> dict[int, float] | None:
        """What a row of each class counts among training rows of these labels; 1 with None."""
        return balance(labels, self.task.num_outputs) if self.balance_classes else None

    def count_together(self) -> int:
        """How many heads are trained in one pass at most; fewer where a batch of images is large."""
        store = self.inputs[0]
        if isinstance(store, MeasuredStore):
            return TOGETHER
        tokens = 1 if store.spec.tokens == "cls" else store.spec.max_length
        image = 4 * store.num_hidden_states * tokens * store.spec.hidden_dim
        return min(max(TOGETHER_BYTES // (self.config.batch_size * image), 1), TOGETHER)

    def build_bare(self, name: str) -> keras.Model:
        """An untrained head that no rows have been shown to."""
        precision = None if self.head.linear else self.config.precision  # one that is fitted at once is fitted exactly
        with computing_in(precision):
            return build_task_head(self.head, self.stores[0].spec, self.task, name)

    def build(self, seed: int) -> keras.Model:
        """The untrained head of a seed, adapted to the rows that it is trained on."""
        head = self.build_bare(f"seed_{seed}")
        images = self.stores[0].find_images(self.draw.rows(seed))
        step = 1 if self.head.linear else max(len(images) // STATISTICS_ROWS, 1)  # spread over the file
        sample = images[::step]
        adapt_head(head, (part for part, _ in self.inputs[0].as_dataset(batch_size=32, rows=sample)))
        return head


def fit_trials(jobs: Sequence[tuple[Trial, int]]) -> list[FitResult | RunError]:
    """Trains heads, side by side those that can be.

    Args:
        jobs: trials, each with the seed of its head.

    Returns:
        what came of each; an error where its loss is no number.
    """
    found: dict[int, FitResult | RunError] = {}
    for places in plan_passes(jobs):
        found |= zip(places, _fit_together([jobs[place] for place in places]), strict=True)
    return [found[place] for place in range(len(jobs))]


def plan_passes(jobs: Sequence[tuple[Trial, int]]) -> list[list[int]]:
    """Which heads are trained in one pass: those of the same rows or of as many images, of them what fits into memory.

    Args:
        jobs: as `fit_trials`'s.

    Returns:
        the places of the jobs of each pass.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, (trial, seed) in enumerate(jobs):
        groups.setdefault(trial.name_pass(seed), []).append(place)
    passes = []
    for group in groups.values():
        most = jobs[group[0]][0].count_together()
        passes += [group[start : start + most] for start in range(0, len(group), most)]
    return passes


def _fit_together(jobs: Sequence[tuple[Trial, int]]) -> list[FitResult | RunError]:
    """Trains heads side by side; seeds that draw the same rows read the same batches."""
    trial, _ = jobs[0]
    if trial.head.linear:
        return [*map(_fit_linear, *zip(*jobs, strict=True))]
    store, gold, epochs = trial.inputs[0], trial.selection_gold, max(one.config.epochs for one, _ in jobs)
    seeds = list(dict.fromkeys(seed for _, seed in jobs))
    what = f"train seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    if trial.draw.differs:
        training = {seed: trial.build_training(seed, epochs) for seed in seeds}
    else:
        training = dict.fromkeys(seeds, trial.build_training(seeds[0], epochs))
    return fit_heads(
        [
            Candidate(
                functools.partial(one.build, seed),
                training[seed],
                one.config,
                seed,
                one.logs and one.logs / f"seed-{seed}",
            )
            for one, seed in jobs
        ],
        read_in_order(trial.stores[0], trial.selection, store),
        lambda logits: gold.score(gold.read(logits)),
        kind=trial.task.kind,
        measured=isinstance(store, MeasuredStore),
        strategy=get_strategy(trial.strategy),
        progress=functools.partial(trial.progress, what),
    )


def _fit_linear(trial: Trial, seed: int) -> FitResult:
    """Fits a head at once."""
    store, source, gold = trial.stores[0], trial.inputs[0], trial.selection_gold
    rows = trial.draw.rows(seed)
    labels = trial.examples[0].labels[rows]
    check_features(build_task_head(trial.head, store.spec, trial.task), len(rows))
    trial.progress(f"train seed {seed}", 0, 1)
    found = fit_linear_head(
        trial.build(seed),
        (read_in_order(store, rows, source), labels),
        read_in_order(store, trial.selection, source),
        lambda logits: gold.score(gold.read(logits)),
        solver=trial.head.solver,
        kind=trial.task.kind,
        class_weights=trial.weigh_classes(labels),
        measured=isinstance(source, MeasuredStore),
    )
    trial.progress(f"train seed {seed}", 1, 1)
    return found


def build_task_head(head: HeadConfig, states: StoreSpec, task: TaskSpec, name: str | None = None) -> keras.Model:
    """The head of a config for a task's labels and a store's images."""
    return build_head(
        head,
        num_hidden_states=states.num_hidden_states,
        hidden_dim=states.hidden_dim,
        num_outputs=task.num_outputs,
        kind=task.kind.head,
        num_tokens=1 if states.tokens == "cls" else None,
        name=name,
    )
