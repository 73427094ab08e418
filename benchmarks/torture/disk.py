"""Disks and memory that are full, and places that are odd."""

import contextlib
import os
import shutil
from pathlib import Path

from children import breaking, run
from promises import Promise, Trial
from verbs import find_half, make_works

PLACES = {
    "spaces and quotes": "a b/'c' \"d\"",
    "other letters": "名前/ä ö ü/שלום",
    "signs": "%20 #1;&|$HOME `x` \\ {a}[b]*?",
    "a dot and a dash": ".hidden/-rf",
    "240 letters": "x" * 240,
    "2,000 letters": "/".join(["y" * 100] * 20),
    "a link": "link/inside",
}


def largest(folder: Path) -> int:
    """Bytes of the largest file in a folder and below."""
    return max((file.stat().st_size for file in folder.rglob("*") if file.is_file()), default=1)


def fill_disk(trial: Trial) -> None:
    """Lets each verb in turn write files of at most a random size, and then of any."""
    works = make_works()
    for number in range(trial.count):
        work, folder = works[number % len(works)], trial.folder / str(number)
        folder.mkdir()
        work.prepare(folder)
        limit = int(largest(work.alone[0]) * trial.chance.random() ** 3)  # small files too
        ended = run(folder, work.words, largest=limit)
        wrong = find_half(folder / work.result) or ended.find_fault() or work.find_fault(folder)
        trial.check(not wrong, f"{work.verb}, files of {limit} bytes at most: {wrong}")
        trial.seen[f"{work.verb} {'stopped' if ended.status else 'had room'}"] += 1
        shutil.rmtree(folder)


def end_memory(trial: Trial) -> None:
    """Gives each verb in turn a random amount of memory, and runs it to its end afterwards.

    Where it takes more, it is refused the memory, or is killed, as systems without swap do.
    """
    works = make_works()
    for number in range(trial.count):
        work, folder = works[number % len(works)], trial.folder / str(number)
        folder.mkdir()
        work.prepare(folder)
        memory, kind = trial.chance.randrange(2**25, 2**29), ("resident", "address_space")[number // len(works) % 2]
        ended = run(folder, work.words, **{kind: memory})
        wrong = find_half(folder / work.result) or work.find_fault(folder)
        trial.check(not wrong, f"{work.verb}, with {memory >> 20} MiB of {kind}: {wrong}")
        trial.seen[f"{work.verb} {'stopped' if ended.status else 'had enough'}"] += 1
        shutil.rmtree(folder)


def write_in_places(trial: Trial) -> None:
    """Extracts to odd paths, and reads the store from there."""
    from bertvision_tf.store import open_store

    words = ("extract", "--split", "dev", "--limit", "50", "--output")
    (trial.folder / "elsewhere").mkdir()
    (trial.folder / "link").symlink_to(trial.folder / "elsewhere")
    for name, place in list(PLACES.items())[: trial.count]:
        path = trial.folder / place
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        ended = run(trial.folder, (*words, os.path.join(".", place)))
        try:
            wrong = ended.last if ended.status or len(open_store(path)) != 50 else ""
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        trial.check(not wrong, f"{name}: {wrong}")
        trial.seen[name] += 1
    words = (*words, "/".join(["z" * 200] * 40))  # longer than any path may be
    ended = run(trial.folder, words)
    trial.check(ended.status == 1 and not ended.find_fault(), f"8,000 letters: {ended.last}")


PROMISES = [
    Promise("disk-full", "a full disk is said in one line, and nothing is lost", fill_disk, 70, 7, breaking),
    Promise("memory-ends", "a verb without memory leaves nothing by half", end_memory, 70, 4, breaking),
    Promise("places", "a folder may have any name", write_in_places, len(PLACES), 3, breaking),
]
