"""Several processes that write the same at once."""

from pathlib import Path

from children import PATIENCE, Child, Ended, breaking
from kills import compute_digests
from promises import Promise, Trial
from verbs import TRAIN, find_half

EXTRACT = ("extract", "--split", "dev", "--limit", "300", "--output", "store")
BUSY = "is being written by another process"
COUNTS = (2, 8, 3, 5, 4, 6, 7)


def run_together(folder: Path, words: tuple[str, ...], count: int) -> list[Ended]:
    """Starts a verb so many times at once."""
    children = [Child(folder, words) for _ in range(count)]
    return [child.wait(PATIENCE * count) for child in children]


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
        wrong = [one.find_fault() for one in ended if one.find_fault()]
        wrong += [one.last for one in ended if one.status == 1 and BUSY not in one.last]
        if all(one.status for one in ended):
            wrong.append("none came to its end")
        if verb == "run":
            wrong += [one for one in [find_half(folder / "run")] if one]
        elif compute_digests(folder / "store") != compute_digests(alone / "store"):
            wrong.append("the store is another than that of one process")
        trial.check(not wrong, f"{count} processes on one {verb}: {'; '.join(wrong)}")
        trial.seen[f"{count} on a {verb}"] += 1


PROMISES = [Promise("together", "processes that write the same end in one whole", write_together, 8, 2, breaking)]
