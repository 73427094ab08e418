"""The same command in other surroundings, and by another clock."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from children import PATIENCE, breaking, run
from promises import Promise, Trial
from verbs import TRAIN, have_same_scores, take_works

YEAR = 365 * 86400.0
CHILD = str(Path(__file__).with_name("children.py"))

SURROUNDINGS = {
    "a second run": {},
    "another hash seed": {"PYTHONHASHSEED": "7"},
    "another locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "no locale": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "another number of threads": {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
    "a folder with spaces, quotes and other letters": {},
}


def run_elsewhere(trial: Trial) -> None:
    """Trains in one folder and then in others, each from its own states."""
    words = (*TRAIN, "--store", "states", "--output", "run")
    first = trial.folder / "first"
    for number, (name, more) in enumerate([("the first", {"PYTHONHASHSEED": "0"}), *SURROUNDINGS.items()]):
        if trial.tries == trial.count:
            break
        folder = first if number == 0 else trial.folder / (name if "folder" not in name else "ä 'q\" 名 \\ %20")
        folder.mkdir()
        child = subprocess.run(
            [sys.executable, CHILD, *words],
            cwd=folder,
            env=os.environ | more,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if child.returncode:
            trial.check(False, f"{name}: {child.stderr.strip().rpartition(chr(10))[2]}")
        elif number:
            trial.check(have_same_scores(first, folder), f"{name}: other scores or predictions")
            trial.seen[name] += 1
        if number:
            shutil.rmtree(folder)


def go_back(words: list[str]) -> None:
    """Runs a verb while the clock goes back, a thousand seconds each second, from a year after now."""
    from bertvision_tf.cli import main

    first, start = time.time() + YEAR, time.perf_counter()
    time.time = lambda: first - 1000 * (time.perf_counter() - start)
    time.time_ns = lambda: int(time.time() * 1e9)
    sys.argv = ["bertvision", *words]
    main()


def find_negative(content: object) -> list[float]:
    """Numbers below 0 that are called seconds."""
    if isinstance(content, dict):
        own = [one for name, one in content.items() if "seconds" in name and isinstance(one, (int, float)) and one < 0]
        return own + [one for value in content.values() for one in find_negative(value)]
    return [one for value in content for one in find_negative(value)] if isinstance(content, list) else []


def set_clock_back(trial: Trial) -> None:
    """Runs each verb in turn on files that were written a year later than now, by a clock that goes back."""
    for work, folder in take_works(trial):
        for path in folder.rglob("*"):
            os.utime(path, (time.time() + YEAR,) * 2)
        ended = run(folder, go_back, list(work.words))
        wrong = ended.last if ended.status else ""
        negative = [one for path in folder.rglob("*.json") for one in find_negative(json.loads(path.read_text()))]
        wrong = wrong or (f"{negative[0]} seconds" if negative else "") or work.find_fault(folder)
        trial.check(not wrong, f"{work.verb}: {wrong}")
        trial.seen[work.verb] += 1


PROMISES = [
    Promise("sameness", "the same command gives the same scores elsewhere", run_elsewhere, 7, 1, breaking),
    Promise("clock", "a clock that is set back changes nothing", set_clock_back, 14, 2, breaking),
]
