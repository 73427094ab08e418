"""Runs that begin with the heads of another: the last blocks of the encoder are fine-tuned under them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from ..errors import RunError
from ..heads import HeadConfig
from ..heads.describe import count_trainable
from ..heads.scale import unscale_head
from ..runs import Run, load_run
from ..runs.folder import RESULTS
from ..settings import RunSettings
from ..tasks import TaskSpec
from ..training import FitResult, Snapshot
from ..training.baselines import Baseline
from ..training.trial import Trial

EPOCHS = 3  # where none are asked for
PARTS = "top_2"
ALIKE = (  # entries of config.json that the two runs share, as their options are called
    *("limit", "negatives", "balance_classes", "train_share", "shots", "encoder", "dtype", "max_length", "codec"),
    *("examples", "selection_rows", "encoder_fingerprint"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Beginning:
    """The run whose heads are there.

    Attributes:
        run: finished, of a frozen encoder.
        head: which heads it has.
        name: of the head.
    """

    run: Run
    head: HeadConfig
    name: str

    @property
    def facts(self) -> dict[str, str]:
        """What config.json says of it: another training of it is another beginning."""
        results = (self.run.path / RESULTS).read_bytes()
        return {"fine_tune_from": str(self.run.path), "first_results": hashlib.sha256(results).hexdigest()[:32]}

    @property
    def seconds(self) -> float:
        """That one of its heads took, extraction included."""
        seconds = self.run.results["seconds"]
        return seconds["extract"] + seconds["train"] / len(self.run.results["seeds"])

    def load_head(self, seed: int) -> keras.Model:
        """The head that a seed begins with: its own, or the only one; its logits as they were trained."""
        seeds = self.run.results["seeds"]
        return unscale_head(self.run.load_head(seeds[0] if len(seeds) == 1 else seed))


def open_beginning(settings: RunSettings, task: TaskSpec) -> Beginning | None:
    """The run that another begins with; None where it begins with none.

    Raises:
        RunError: there is no such run, or none whose heads another can begin with.
    """
    tuning, head = settings.tuning, settings.head
    if tuning.fine_tune_from is None:
        return None
    run = load_run(tuning.fine_tune_from)
    config, what = run.config, f"`fine_tune_from`: {run.path}"
    if config["task"] != task.name:
        raise RunError(f"{what} is of {config['task']}, not of {task.name}.")
    if config.get("snapshots"):
        raise RunError(f"{what} has a fine-tuned encoder: name a run on a frozen one.")
    if run.results.get("folds") or head.folds:
        raise RunError(f"{what}: folds of train would be scored with blocks that were trained on them: leave them out.")
    if config["tokens"] != "all":
        raise RunError(f"{what} has kept the first token's states alone: blocks need those of all tokens.")
    if head.head is not None or head.fit:
        raise RunError(f"{what} has heads: leave `head` and `fit` out, its own are trained on as `fine_tune` says.")
    if tuning.fine_tune_seeds is not None:
        raise RunError(f"{what}: blocks are fine-tuned under each head: leave `fine_tune_seeds` out.")
    if settings.head.predict_with == "mean" and len(head.all_seeds) > 1:
        raise RunError(f"{what}: `predict_with` mean needs heads on one encoder, and each has blocks of its own.")
    seeds = run.results["seeds"]
    lacking = [seed for seed in head.all_seeds if seed not in seeds]
    if lacking and len(seeds) > 1:
        raise RunError(f"{what} has no head of seed {lacking[0]}; its seeds: {', '.join(map(str, seeds))}.")
    return Beginning(run, HeadConfig.from_dict(config["head"]), config["head_name"])


def settle(settings: RunSettings) -> RunSettings:
    """The settings with what a run that begins with another has where nothing is said: epochs and parts."""
    tuning = settings.tuning
    changes: dict[str, Any] = {} if tuning.fine_tune_epochs else {"fine_tune_epochs": EPOCHS}
    given = tuning.fine_tune
    if given is None or (isinstance(given, Mapping) and "parts" not in given):
        changes["fine_tune"] = {"parts": PARTS, **(given or {})}
    settings = settings.change(**changes)
    if settings.tuning.fine_tune_epochs != int(settings.tuning.fine_tune_epochs):
        raise RunError(
            f"under a run's heads an encoder is fine-tuned for whole epochs, got {settings.tuning.fine_tune_epochs:g}."
        )
    return settings


def check_alike(beginning: Beginning, asked: Mapping[str, Any], num_hidden_states: int) -> None:
    """Raises RunError where rows, encoder or states are not those of the first run."""
    config = beginning.run.config
    for name in ALIKE:
        if config.get(name) != asked[name]:
            raise RunError(
                f"`fine_tune_from`: {beginning.run.path} was trained with {name} {config.get(name)}, now it is "
                f"{asked[name]}."
            )
    for what, layers in ((str(beginning.run.path), config["layers"]), ("this run", asked["layers"])):
        if layers != [*range(num_hidden_states)]:
            raise RunError(f"`fine_tune_from`: blocks are fine-tuned under heads on all layers, {what} keeps {layers}.")


def read_fit(trial: Trial, snapshot: Snapshot) -> FitResult:
    """The head that was fine-tuned with an encoder, on the encoder's states.

    Args:
        trial: of these states.
        snapshot: the encoder.
    """
    return _score(trial, snapshot.load_head(), snapshot.facts["best_epoch"], snapshot.facts["history"])


def _score(trial: Trial, head: keras.Model, epoch: int, history: Mapping[str, Sequence[float]]) -> FitResult:
    logits = trial.predict(head, 0, trial.selection)
    score = trial.selection_gold.score(trial.selection_gold.read(logits))
    return FitResult(head, score, logits, epoch, {name: list(values) for name, values in history.items()})


def score_beginning(trial: Trial, beginning: Beginning, seeds: Sequence[int]) -> list[Baseline]:
    """The heads as they were before, as rivals.

    Args:
        trial: of the states of the frozen encoder.
        beginning: whose heads.
        seeds: of the run that begins with them.
    """
    fits = [_score(trial, beginning.load_head(seed), 0, {}) for seed in seeds]
    name = f"{beginning.name}, frozen encoder"
    return [
        Baseline(
            name,
            one.predictions,
            one.fit.selection_score,
            count_trainable(one.head),
            beginning.seconds,
            disk_bytes=beginning.run.results["store"]["bytes"],
        )
        for one in trial.conclude(fits)
    ]
