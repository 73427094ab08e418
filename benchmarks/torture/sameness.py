"""The same command, in other surroundings."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from children import PATIENCE, breaking
from promises import Promise, Trial
from verbs import TRAIN, have_same_scores

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


PROMISES = [Promise("sameness", "the same command gives the same scores elsewhere", run_elsewhere, 7, 2, breaking)]
