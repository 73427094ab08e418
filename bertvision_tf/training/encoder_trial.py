"""An encoder that is fine-tuned on one task, seed by seed, on the same rows as the heads."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..encoders import Encoder, Windows
from ..errors import LossError, RunError
from ..images import tokenize_examples
from ..kinds import Gold
from ..notes import note
from ..progress import Progress, ignore
from ..settings import FineTuneConfig
from ..settings.checks import check_range
from ..settings.fine_tune import check_parts
from ..tasks import Examples, TaskSpec
from .baselines import Baseline
from .draw import Draw, balance
from .fine_tuning import fine_tune
from .snapshot import Snapshot

NAMES = {"all": "full fine-tuning", "no_embeddings": "fine-tuning without embeddings"}


@dataclasses.dataclass(frozen=True, eq=False)
class EncoderTrial:
    """An encoder, and the rows of one task.

    Attributes:
        encoder: where every seed begins.
        task: what the labels are, and the main metric.
        splits: train and the dev splits.
        selection: indices of train's selection rows.
        draw: which training rows a seed has.
        root: of all stores, under which snapshots lie.
        max_length: tokens a text.
        config: how it is fine-tuned.
        balance_classes: whether every class counts the same.
        strategy: a name of STRATEGIES.
        progress: called with what is done, how much of it, and of how much.
    """

    encoder: Encoder
    task: TaskSpec
    splits: Sequence[Examples]
    selection: np.ndarray
    draw: Draw
    root: str | Path
    max_length: int
    config: FineTuneConfig
    balance_classes: bool = False
    strategy: str = "one_device"
    progress: Progress = ignore

    @functools.cached_property
    def golds(self) -> list[Gold]:
        """What the selection rows, and the rows of each dev split, are scored by."""
        parts = [self.splits[0].select(self.selection), *self.splits[1:]]
        windows = [functools.partial(self._find_windows, part) for part in parts]
        return [self.task.kind.build_gold(self.task, *pair) for pair in zip(parts, windows, strict=True)]

    def _find_windows(self, part: Examples) -> Sequence[np.ndarray]:
        """Offsets, questions, characters of tokens, and spans, of the windows of questions."""
        windows, spans = tokenize_examples(self.encoder, part, self.max_length)
        assert isinstance(windows, Windows)
        return windows.offsets, windows.questions, windows.char_offsets, spans

    def fine_tune(self, seed: int, epochs: float) -> Snapshot:
        """The encoder of a seed after so many epochs; found again where it is there."""
        train, rows = self.splits[0], self.draw.rows(seed)
        what = "fine-tune" if self.config.parts == "all" else f"fine-tune {self.config.parts}"
        return fine_tune(
            *(self.encoder, self.task, train, rows, self.root),
            epochs=epochs,
            seed=seed,
            max_length=self.max_length,
            config=self.config,
            class_weights=self.weigh_classes(rows),
            strategy=self.strategy,
            progress=functools.partial(self.progress, f"{what} seed {seed}"),
        )

    def weigh_classes(self, rows: np.ndarray) -> dict[int, float] | None:
        """What a row of each class counts among these training rows; 1 with None."""
        return balance(self.splits[0].labels[rows], self.task.num_outputs) if self.balance_classes else None

    def fine_tune_each(self, seeds: Sequence[int], count: int | None, epochs: float) -> dict[int, Snapshot]:
        """The encoder of each seed: of the first `count` of them, which the others take in turn; all with None."""
        snapshots = [self.fine_tune(seed, epochs) for seed in seeds[:count]]
        return dict(zip(seeds, itertools.cycle(snapshots), strict=False))

    def fit_best_epoch(self, seed: int, epochs: Sequence[float], rates: Sequence[float] = ()) -> Baseline:
        """The encoder's own head after that of some epochs, with that of some rates, which scores best on the selection
        rows.

        Args:
            seed: of the fine-tuning.
            epochs: to choose from; the fewest of equals are taken.
            rates: to choose from; the lowest of equals is taken. The config's with none.

        Raises:
            LossError: the loss of each rate becomes no number.
        """
        best, rows = None, self.splits[0].select(self.selection)
        configs = [dataclasses.replace(self.config, learning_rate=rate) for rate in sorted(rates)] or [self.config]
        for place, config in enumerate(configs):
            try:
                for count in sorted(epochs):
                    snapshot = dataclasses.replace(self, config=config).fine_tune(seed, count)
                    selected = self.golds[0].read(snapshot.predict(rows, self.max_length))
                    score = self.golds[0].score(selected)
                    if best is None or score > best[0]:
                        best = score, selected, snapshot, config
            except LossError as error:
                if best is None and place == len(configs) - 1:
                    raise
                note(f"{name_fine_tuning(config.parts)} with a rate of {config.learning_rate:g}: {error}")
        assert best is not None
        score, selected, snapshot, config = best
        return Baseline(
            name=name_fine_tuning(self.config.parts),
            predictions=[
                gold.read(snapshot.predict(part, self.max_length), selected)
                for gold, part in zip(self.golds[1:], self.splits[1:], strict=True)
            ],
            selection_score=score,
            trainable_parameters=snapshot.facts["trainable_parameters"],
            seconds=snapshot.facts["seconds"],
            memory_bytes=snapshot.facts.get("memory_bytes"),
            disk_bytes=snapshot.bytes,
            epochs=snapshot.facts["epochs"],
            learning_rate=config.learning_rate,
        )


def check_rivals(parts: Sequence[str], epochs: Sequence[float], rates: Sequence[float] = ()) -> None:
    """Raises RunError where encoders cannot be fine-tuned so to be rivals."""
    for one in parts:
        check_parts(one)
    if rates and not parts:
        raise RunError("`baseline_rates` are of fine-tuned rivals: name some with `baseline_parts`.")
    if parts and (not epochs or not all(0 < count < math.inf for count in epochs)):
        raise RunError(f"`baseline_epochs` needs numbers above 0, got {list(epochs)}.")
    for rate in rates:
        check_range("baseline_rates", rate, above=0)


def check_folds(folds: int | None, epochs: float) -> None:
    """Raises RunError where folds of train would be scored with an encoder that is fine-tuned on one split of it."""
    if folds and epochs:
        raise RunError("`folds` would score rows that the fine-tuned encoder was trained on: leave one of both out.")


def name_fine_tuning(parts: str) -> str:
    """What tables call an encoder's own head after its best epoch."""
    kind = NAMES.get(parts) or parts.replace("lora_", "LoRA of rank ").replace("top_", "fine-tuning of the top ")
    return f"{kind}, best epoch"
