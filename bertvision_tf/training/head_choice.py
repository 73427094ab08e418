"""Which kind of head a run trains, of those that it could."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping

import numpy as np

from ..progress import prefix
from .layer_use import SEEDS, estimate_standard_error
from .trial import Trial


@dataclasses.dataclass(frozen=True)
class HeadChoice:
    """What was tried to find the kind of head, all on the selection rows.

    Attributes:
        taken: the name of the kind that is trained.
        scores: of each kind, by name: the mean over its seeds.
        seconds: that it took.
        standard_errors: of the difference between each kind's score and that of the one taken, over resampled rows.
    """

    taken: str
    scores: dict[str, float]
    seconds: float
    standard_errors: dict[str, float]


def choose_head(trials: Mapping[str, Trial]) -> HeadChoice:
    """The kind of head that scores best on the selection rows.

    Args:
        trials: of each kind, by name, on the same stores; of equals the first is taken. Kinds that are fitted at once
            have one seed where all draw the same rows, the others two.
    """
    found, start = {}, time.perf_counter()
    for name, trial in trials.items():
        own = dataclasses.replace(trial, progress=prefix(trial.progress, name))
        seeds = SEEDS[:1] if trial.head.linear and not trial.draw.differs else SEEDS
        gold = trial.selection_gold
        found[name] = [gold.read(fit.selection_logits) for fit in own.fit_all(seeds)]

    def score(name: str, rows: np.ndarray | None = None) -> float:
        return float(np.mean([gold.score(one, rows) for one in found[name]]))

    scores = {name: score(name) for name in found}
    taken = max(scores, key=lambda name: scores[name])

    def measure_lead(name: str, rows: np.ndarray) -> float:
        return score(taken, rows) - score(name, rows)

    errors = {name: estimate_standard_error(functools.partial(measure_lead, name), len(gold)) for name in found}
    return HeadChoice(taken, scores, time.perf_counter() - start, errors)
