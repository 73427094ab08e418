"""Simple rivals of a head that answers questions."""

import dataclasses
from collections.abc import Iterator, Sequence

from ..heads import HeadConfig
from ..heads.config import Pooling
from ..heads.describe import count_trainable
from ..kinds import AnswerGold
from ..progress import prefix
from .baselines import Baseline
from .cost import Cost
from .trial import Trial

LAST_LAYER = HeadConfig(pooling=Pooling.LAST)


def fit_span_rivals(trial: Trial, seeds: Sequence[int], last: str = "last layer") -> Iterator[Baseline]:
    """Always "no answer"; and of each seed start and end read off the last layer, which of a frozen encoder is all that
    it has of its own.

    Args:
        trial: of the heads; of its stores the last state alone is read.
        seeds: of the second rival.
        last: what the last state is called.
    """
    silent = [
        gold.answer_nothing() for gold in (trial.selection_gold, *trial.dev_golds) if isinstance(gold, AnswerGold)
    ]
    yield Baseline("no answer", silent[1:], trial.selection_gold.score(silent[0]), 0, 0.0)
    stores = [store.select([-1]) for store in trial.stores]
    config, progress = trial.config.for_another(trial.head, LAST_LAYER), prefix(trial.progress, last)
    own = dataclasses.replace(trial, head=LAST_LAYER, stores=stores, config=config, progress=progress)
    for seed in seeds:
        with Cost() as cost:
            outcome = own.run(seed)
        yield Baseline(
            f"{last} + linear",
            outcome.predictions,
            outcome.fit.selection_score,
            count_trainable(outcome.fit.head),
            cost.seconds,
        )
