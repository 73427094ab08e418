"""A head as a Keras Tuner hypermodel: built of a trial's values, and scored on the selection rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from ..heads import HeadConfig
from ..training import FitConfig
from ..training.trial import Trial, build_task_head
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
        head, config = self.choose(hp)
        fitted = [dataclasses.replace(trial, head=head, config=config).fit(self.seed) for trial in self.trials]
        return {SCORE: float(np.mean([one.selection_score for one in fitted]))}
