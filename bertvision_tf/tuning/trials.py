"""The folder of a search: what was asked, a table of the trials, and the config of the best.

search.json    what was asked; a search goes on where it was only if the same is asked
trials.csv     one line a trial: score, seconds, why it failed, and the values that were chosen
best.json      {"head": HeadConfig, "fit": FitConfig, "selection_score", "trial"}, for `train --head`
checksums.json of these
tuner/         Keras Tuner's own files
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checksums import SUMS, check_file, write_checksums
from ..errors import RunError
from ..runs import writing_to
from ..store.schema import write_whole
from ..store.writer import lock_folder
from .tuner import SECONDS, is_worker, replace_json

SETTING, TABLE, BEST, PROJECT = "search.json", "trials.csv", "best.json", "tuner"


@dataclasses.dataclass(frozen=True)
class TrialScore:
    """One trial of a search.

    Attributes:
        name: its number.
        score: mean of the main metric on the selection rows, or over the folds; None where it failed.
        seconds: that it took; of heads that were trained side by side, its share.
        reason: why it failed; "" where it did not.
        values: chosen, by name.
    """

    name: str
    score: float | None
    seconds: float
    reason: str
    values: dict[str, Any]


@contextlib.contextmanager
def open_folder(path: Path, setting: Mapping[str, Any]) -> Iterator[None]:
    """Makes the folder of a search, or opens it again; of several processes the chief has it, and the workers ask none.

    Raises:
        RunError: it holds something else, or another process searches there.
    """
    if is_worker():
        yield
        return
    with writing_to(path):
        if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / SETTING).is_file())):
            raise RunError(f"{path} is there already and holds no search: name another output folder.")
        path.mkdir(parents=True, exist_ok=True)
        try:
            lock = lock_folder(path)
        except BlockingIOError:
            raise RunError(f"another process searches in {path}.") from None
    try:
        with writing_to(path):
            _check_setting(path, json.loads(json.dumps(setting)))
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _check_setting(path: Path, setting: Mapping[str, Any]) -> None:
    file = path / SETTING
    if not (path / TABLE).is_file():  # no trial has ended there
        shutil.rmtree(path / PROJECT, ignore_errors=True)
        (path / SUMS).unlink(missing_ok=True)
        replace_json(file, setting)
    check_file(file, RunError)
    try:
        there = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise RunError(f"{file} is damaged: no JSON.") from None
    for name, value in setting.items():
        if there.get(name) != value:
            raise RunError(
                f"{path} holds a search with {name} {there.get(name)}, now it is {value}: name another output folder."
            )


def describe_trial(trial: Any) -> TrialScore:
    """One of Keras Tuner's trials."""
    ended = trial.status == "COMPLETED"
    seconds = trial.metrics.get_best_value(SECONDS) if trial.metrics.exists(SECONDS) else 0.0
    lines = (trial.message or "").strip().splitlines()  # a traceback, what it ends with last
    reason = "" if ended or not lines else lines[-1].rpartition("Error: ")[2]
    values = {
        name: value
        for name, value in trial.hyperparameters.values.items()
        if trial.hyperparameters.is_active(name) and not name.startswith("tuner/")
    }
    return TrialScore(trial.trial_id, trial.score if ended else None, seconds or 0.0, reason, values)


def write_trials(path: Path, trials: Sequence[TrialScore], best: Mapping[str, Any] | None) -> None:
    """Writes trials.csv, and best.json where there is a best one.

    Args:
        path: the search's folder.
        trials: in the order in which they began.
        best: the content of best.json.
    """
    names = list(dict.fromkeys(name for one in trials for name in one.values))
    with writing_to(path):
        (path / SUMS).unlink(missing_ok=True)  # of what is replaced now
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(["trial", "score", "seconds", "reason", *names])
        for one in trials:
            chosen = (one.values.get(name) for name in names)
            writer.writerow([one.name, one.score, f"{one.seconds:.2f}", one.reason, *chosen])
        write_whole(path / TABLE, [table.getvalue().encode()])
        if best is not None:
            replace_json(path / BEST, best)
        write_checksums(path, *(name for name in (SETTING, TABLE, BEST) if (path / name).is_file()))
