"""Several processes that write the same at once."""

import subprocess
import sys
from pathlib import Path

from child import breaking
from kills import CHILD, PATIENCE, TRAIN, compute_digests, is_whole
from promises import Promise, Trial

EXTRACT = ("extract", "--split", "dev", "--limit", "300", "--output", "store")
COUNTS = (2, 8, 3, 5, 4, 6, 7)


def run_together(folder: Path, words: tuple[str, ...], count: int) -> list[tuple[int, str]]:
    """Starts a verb so many times at once; of each its status and its last line of errors."""
    children = [
        subprocess.Popen(
            [sys.executable, CHILD, *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    return [
        (child.returncode, said.strip().rpartition("\n")[2])
        for child, said in ((child, child.communicate(timeout=PATIENCE * count)[1]) for child in children)
    ]


def write_together(trial: Trial) -> None:
    """Extracts into one store, and trains into one run folder."""
    alone = trial.folder / "alone"
    alone.mkdir()
    run_together(alone, EXTRACT, 1)
    for number in range(trial.count):
        verb, count = ("store", "run")[number % 2], COUNTS[number // 2 % len(COUNTS)]
        folder = trial.folder / str(number)
        folder.mkdir()
        words = EXTRACT if verb == "store" else (*TRAIN, "--store", "states", "--output", "run")
        ended = run_together(folder, words, count)
        wrong = [f"ended with {status}: {said}" for status, said in ended if status not in (0, 1)]
        wrong += [said for status, said in ended if status == 1 and "is being written by another process" not in said]
        if not any(status == 0 for status, _ in ended):
            wrong.append("none came to its end")
        if verb == "run":
            wrong += [one for one in [is_whole(folder / "run")] if one]
        elif compute_digests(folder / "store") != compute_digests(alone / "store"):
            wrong.append("the store is another than that of one process")
        trial.check(not wrong, f"{count} processes on one {verb}: {'; '.join(wrong)}")
        trial.seen[f"{count} on a {verb}"] += 1


PROMISES = [Promise("together", "processes that write the same end in one whole", write_together, 8, 2, breaking)]
