"""A head as a Keras Tuner hypermodel: built of a trial's values, and scored on the selection rows."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from ..errors import RunError
from ..heads import HeadConfig
from ..training import FitConfig
from ..training.fit import FitResult, raise_first
from ..training.trial import Trial, build_task_head, fit_trials, plan_passes
from .space import HeadSpace

SCORE = "selection_score"
OBJECTIVE = keras_tuner.Objective(SCORE, "max")
EPOCHS = "tuner/epochs"  # Hyperband's


class HeadHyperModel(keras_tuner.HyperModel):
    """Heads on stores that are there, for any of Keras Tuner's tuners.

    Example:
        >>> model = HeadHyperModel(space, [trial], fit={"epochs": 8})
        >>> tuner = keras_tuner.RandomSearch(model, OBJECTIVE, max_trials=20, seed=1)
        >>> tuner.search()
    """

    def __init__(self, space: HeadSpace, trials: Sequence[Trial], fit: Mapping[str, Any] | None = None, seed: int = 0):
        """
        Args:
            space: what is chosen.
            trials: where a head is trained and scored, with whatever head; of several, folds, the mean score counts.
            fit: fields of FitConfig that are not chosen.
            seed: of all heads.
        """
        super().__init__()
        self.space, self.trials, self.given, self.seed = space, trials, dict(fit or {}), seed

    @property
    def epochs(self) -> int:
        """The most that a head is trained."""
        return self.given.get("epochs", FitConfig.epochs)

    def choose(self, hp: keras_tuner.HyperParameters) -> tuple[HeadConfig, FitConfig]:
        """The head, and how it is trained."""
        head = self.space.choose_head(hp)
        changes = self.space.choose_fit(hp) | self.given
        if EPOCHS in hp.values:
            changes = {"patience": hp.values[EPOCHS]} | changes | {"epochs": hp.values[EPOCHS]}
        return head, FitConfig.for_head(head, **changes)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """An untrained head."""
        head, _ = self.choose(hp)
        return build_task_head(head, self.trials[0].stores[0].spec, self.trials[0].task)

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains heads of the trial's values, not `model`, whose first weights the seed does not decide."""
        ((scores, _),) = self.fit_all([hp])
        found = scores[0]
        if isinstance(found, Exception):
            raise found
        return {SCORE: found}

    def fit_all(
        self, many: Sequence[keras_tuner.HyperParameters]
    ) -> Iterator[tuple[dict[int, float | Exception], float]]:
        """Trains heads of several trials' values, those that read the same batches side by side.

        Returns:
            of those that end together, by their places, the score of each, or why it has none; and the seconds that
            they took.
        """
        folds: dict[int, list[Trial]] = {}
        for place, hp in enumerate(many):
            try:
                head, config = self.choose(hp)
                folds[place] = [dataclasses.replace(trial, head=head, config=config) for trial in self.trials]
                folds[place][0].inputs  # noqa: B018  # a head that cannot be built fails here
            except Exception as error:
                yield {place: error}, 0.0
        waiting = list(folds)
        for places in plan_passes([(folds[place][0], self.seed) for place in waiting]):
            together = [waiting[place] for place in places]
            start = time.perf_counter()
            scores = self._score([folds[place] for place in together])
            yield dict(zip(together, scores, strict=True)), time.perf_counter() - start

    def _score(self, many: Sequence[Sequence[Trial]]) -> list[float | Exception]:
        """The scores of heads that are trained together, of each on all its folds."""
        try:
            found = [fit_trials([(trial, self.seed) for trial in fold]) for fold in zip(*many, strict=True)]
        except Exception as error:  # of one, which does not end the others
            return [error] if len(many) == 1 else [score for one in many for score in self._score([one])]
        return [_take_mean(own) for own in zip(*found, strict=True)]


def _take_mean(fitted: Sequence[FitResult | RunError]) -> float | Exception:
    """The mean score of a head over its folds, or the first error."""
    try:
        return float(np.mean([one.selection_score for one in raise_first(fitted)]))
    except RunError as error:
        return error
