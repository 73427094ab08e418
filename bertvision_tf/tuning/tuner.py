"""Keras Tuner's oracles, which choose the trials, and the tuner that runs them; what they write survives a kill."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner

from ..errors import RunError
from ..store.schema import write_whole
from .hypermodel import OBJECTIVE

ORACLES = {
    "random": keras_tuner.oracles.RandomSearchOracle,
    "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    "hyperband": keras_tuner.oracles.HyperbandOracle,
    "grid": keras_tuner.oracles.GridSearchOracle,
}
TUNERS = tuple(ORACLES)
SECONDS = "seconds"  # that a trial took, beside its score
INITIAL = 10  # trials at random before the first that the others decide; Keras Tuner would take three a value
WAVE = 32  # trials that are begun at once at most
PATIENCE = 60.0  # seconds that a worker waits for its chief's answer


class ChiefEnded(RunError):
    """A worker's chief has ended, or was never started."""


class HeadTuner(base_tuner.BaseTuner):
    """Runs trials of a `HeadHyperModel`; one that fails is noted with its reason, and the next one begun.

    A process alone begins as many trials at once as do not wait for each other's scores, so that their heads can be
    trained side by side. The trials and their scores are those of one after the other.
    """

    def __init__(self, oracle: keras_tuner.Oracle, hypermodel: keras_tuner.HyperModel, directory: str, name: str):
        super().__init__(oracle, hypermodel, directory=directory, project_name=name)
        if not is_worker() and not oracle.trials and Path(oracle._get_oracle_fname()).is_file():
            oracle.reload()  # what another tuner's name began: a process alone, or a chief

    def search(self, *args: Any, **kwargs: Any) -> None:
        if is_shared():
            super().search(*args, **kwargs)
            return
        while wave := self._begin_wave():
            for scores, seconds in self.hypermodel.fit_all([trial.hyperparameters for trial in wave]):
                for place, score in scores.items():
                    self._end(wave[place], score, seconds / len(scores))

    def _begin_wave(self) -> list[keras_tuner.engine.trial.Trial]:
        """Trials that can run now, at most WAVE; none where the search has ended."""
        wave: list[keras_tuner.engine.trial.Trial] = []
        while len(wave) < WAVE:
            trial = self.oracle.create_trial(f"{self.tuner_id}-{len(wave)}" if wave else self.tuner_id)
            if trial.status != "RUNNING":
                break
            wave.append(trial)
        return wave

    def _end(self, trial: keras_tuner.engine.trial.Trial, score: float | Exception, seconds: float) -> None:
        if isinstance(score, Exception):
            trial.status, trial.message = "INVALID", "".join(traceback.format_exception(score))
        else:
            self.oracle.update_trial(trial.trial_id, {OBJECTIVE.name: score, SECONDS: seconds})
            trial.status = "COMPLETED"
        self.on_trial_end(trial)

    def run_trial(self, trial: keras_tuner.engine.trial.Trial, *args: Any, **kwargs: Any) -> dict[str, float]:
        start = time.perf_counter()
        found = self.hypermodel.fit(trial.hyperparameters, None)
        return found | {SECONDS: time.perf_counter() - start}


class _Durable:
    """What of an oracle is written, whole or not at all, when a trial begins and when it ends."""

    start_order: list[str]
    end_order: list[str]
    trials: dict[str, Any]
    ongoing_trials: dict[str, Any]
    _retry_queue: list[str]
    when_ended: Callable[[], None]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Waits where what comes next depends on trials that run, in a process alone."""
        if is_shared():
            return super().populate_space(trial_id)  # type: ignore[misc]
        if self.ongoing_trials and not self._follows():
            return {"status": "IDLE"}
        found = super().populate_space(trial_id)  # type: ignore[misc]
        if isinstance(self, keras_tuner.oracles.GridSearchOracle) and found["status"] == "RUNNING":
            self._populate_next.append(trial_id)  # whose next one Keras Tuner would look for when it has ended
        return found

    def _follows(self) -> bool:
        """Whether the next trial is the same whatever those that run come to."""
        if isinstance(self, keras_tuner.oracles.BayesianOptimizationOracle):
            return len(self.trials) < INITIAL
        if isinstance(self, keras_tuner.oracles.HyperbandOracle):
            running = {trial.trial_id for trial in self.ongoing_trials.values()}
            return running <= _find_round(self)
        return True

    @keras_tuner.synchronized
    def end_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        super().end_trial(trial)  # type: ignore[misc]
        self.save()  # now without the trial among the ongoing ones, which would be run again
        self.when_ended()

    def reload(self) -> None:
        """Goes on where a kill fell between two files: a trial that the oracle knows nothing of was not begun, and one
        that it knows as ended is not run again."""
        super().reload()  # type: ignore[misc]
        self.trials = {name: self.trials[name] for name in self.start_order}
        self.end_order = list(dict.fromkeys(self.end_order))
        waiting = dict.fromkeys(self._retry_queue)
        self._retry_queue = [name for name in waiting if name not in set(self.end_order)]
        if isinstance(self, keras_tuner.oracles.GridSearchOracle):
            self._rebuild_grid()

    def _rebuild_grid(self) -> None:
        """What a grid knows of its order, which it does not write: the trials so far, each perhaps with a next one."""

        def compare(one: str, other: str) -> int:
            return self._compare(*(self.trials[name].hyperparameters.values for name in (one, other)))  # type: ignore

        names = sorted(self.start_order, key=functools.cmp_to_key(compare))
        for name in names:
            self._ordered_ids.insert(name)  # type: ignore[attr-defined]
        self._populate_next = names

    def save(self) -> None:
        replace_json(Path(self._get_oracle_fname()), self.get_state())  # type: ignore[attr-defined]

    def _save_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        folder = self._get_trial_dir(trial.trial_id)  # type: ignore[attr-defined]
        replace_json(Path(folder) / "trial.json", trial.get_state())


def _find_round(oracle: Any) -> set[str]:
    """The trials of the Hyperband round to which the next trial belongs; none where it would begin a bracket."""
    for bracket in oracle._brackets:  # those before the last have a round that failures left short
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        if len(rounds[0]) < oracle._get_size(number, 0):
            return {one["id"] for one in rounds[0]}
        for place in range(1, len(rounds)):
            sizes = [oracle._get_size(number, one) for one in (place - 1, place)]
            taken = {one["past_id"] for one in rounds[place]}
            waiting = [one["id"] for one in rounds[place - 1] if one["id"] not in taken]
            ended = [name for name in waiting if oracle.trials[name].status == "COMPLETED"]
            if len(ended) > sizes[0] - sizes[1]:
                return {one["id"] for one in rounds[place]}
    return set()


def build_oracle(name: str, trials: int, epochs: int, seed: int, when_ended: Callable[[Any], None]) -> Any:
    """The oracle of a name.

    Args:
        name: one of TUNERS.
        trials: at most.
        epochs: the most that Hyperband trains a head.
        seed: of the choices.
        when_ended: called with the oracle when a trial has ended.
    """
    options: dict[str, Any] = {"max_trials": trials}
    if name == "bayesian":
        options["num_initial_points"] = INITIAL
    if name == "hyperband":
        options = {"max_epochs": epochs, "hyperband_iterations": None}  # as many as make the trials
    kind = type(ORACLES[name].__name__, (_Durable, ORACLES[name]), {})
    oracle = kind(
        objective=OBJECTIVE,
        seed=seed + 1,  # with 0 it would draw one
        max_consecutive_failed_trials=trials + 1,  # each is noted; none ends the search
        **options,
    )
    oracle.max_trials, oracle.verbose = trials, 0
    oracle.when_ended = lambda: when_ended(oracle)
    return oracle


def replace_json(file: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file whole, or leaves the one that is there."""
    write_whole(file, [(json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()])


@contextlib.contextmanager
def keeping_quiet() -> Iterator[None]:
    """Keeps Keras Tuner from printing its progress, and the traceback of each trial that fails."""
    from keras_tuner.src import config

    debugging, config.DEBUG = config.DEBUG, False
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        config.DEBUG = debugging


@contextlib.contextmanager
def reaching_chief() -> Iterator[None]:
    """Lets a worker ask its chief for trials; ends the block early where the chief has ended.

    Raises:
        ChiefEnded: no chief answers within a minute, at first or later; Keras Tuner would wait for an hour.
    """
    import grpc
    from keras_tuner.src.distribute import oracle_client

    address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ.get('KERASTUNER_ORACLE_PORT')}"
    oracle_client.TIMEOUT = PATIENCE
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(PATIENCE)
        yield
    except (grpc.FutureTimeoutError, grpc.RpcError):
        raise ChiefEnded(f"no chief answers at {address}: start it, or its workers sooner.") from None


def is_shared() -> bool:
    """Whether several processes search together: Keras Tuner's variables are set."""
    return "KERASTUNER_ORACLE_IP" in os.environ


def is_worker() -> bool:
    """Whether this process runs trials that a chief hands out."""
    return is_shared() and "chief" not in os.environ.get("KERASTUNER_TUNER_ID", "")
