"""Which kind of head a run trains, of those that it could."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from ..progress import prefix
from .cost import Cost
from .layer_use import estimate_standard_error
from .trial import Trial


@dataclasses.dataclass(frozen=True)
class HeadChoice:
    """What was tried to find the kind of head, all on the selection rows.

    Attributes:
        taken: the name of the kind that is trained.
        scores: of each kind, by name: the mean over its seeds; nothing where there is one kind alone.
        standard_errors: of the difference between each kind's score and that of the one taken, over resampled rows.
        seconds, memory_bytes: what the choice cost.
    """

    taken: str
    scores: dict[str, float]
    standard_errors: dict[str, float]
    seconds: float
    memory_bytes: int


def choose_head(trials: Mapping[str, Trial], seeds: Sequence[int]) -> HeadChoice:
    """The kind of head that scores best on the selection rows.

    Args:
        trials: of each kind, by name, on the same stores; of equals the first is taken.
        seeds: of the heads that are tried; kinds that are fitted at once have the first alone where all draw the same
            rows.
    """
    with Cost() as cost:
        taken, scores, errors = _compare(trials, seeds) if len(trials) > 1 else (next(iter(trials)), {}, {})
    return HeadChoice(taken, scores, errors, cost.seconds, cost.memory_bytes)


def _compare(trials: Mapping[str, Trial], seeds: Sequence[int]) -> tuple[str, dict[str, float], dict[str, float]]:
    """The best of several kinds, the scores, and the errors of the differences."""
    found = {}
    for name, trial in trials.items():
        own = dataclasses.replace(trial, progress=prefix(trial.progress, name))
        fitted = own.fit_all(seeds[:1] if trial.head.linear and not trial.draw.differs else seeds)
        gold = trial.selection_gold
        found[name] = [gold.read(fit.selection_logits) for fit in fitted]

    def score(name: str, rows: np.ndarray | None = None) -> float:
        return float(np.mean([gold.score(one, rows) for one in found[name]]))

    scores = {name: score(name) for name in found}
    taken = max(scores, key=lambda name: scores[name])

    def measure_lead(name: str, rows: np.ndarray) -> float:
        return score(taken, rows) - score(name, rows)

    errors = {name: estimate_standard_error(functools.partial(measure_lead, name), len(gold)) for name in found}
    return taken, scores, errors
