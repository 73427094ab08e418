"""Disks that are full, and places that are odd."""

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from child import breaking
from kills import CHILD, PATIENCE, Work, is_whole, list_works
from promises import Promise, Trial

KINDS = ("error: ", "note: ", "warning: ")  # how the lines begin that the command says
PLACES = {
    "spaces and quotes": "a b/'c' \"d\"",
    "other letters": "名前/ä ö ü/שלום",
    "signs": "%20 #1;&|$HOME `x` \\ {a}[b]*?",
    "a dot and a dash": ".hidden/-rf",
    "240 letters": "x" * 240,
    "2,000 letters": "/".join(["y" * 100] * 20),
    "a link": "link/inside",
}


def run_limited(folder: Path, words: tuple[str, ...], limit: int | None) -> tuple[int, list[str]]:
    """Runs a verb that may write no file of more than so many bytes. Returns its status, and its lines of errors."""

    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, CHILD, *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=set_limit,
    )
    return done.returncode, [line for line in done.stderr.splitlines() if line.startswith(KINDS[0])]


def largest(folder: Path) -> int:
    """Bytes of the largest file in a folder and below."""
    return max((file.stat().st_size for file in folder.rglob("*") if file.is_file()), default=1)


def fill_disk(trial: Trial) -> None:
    """Lets each verb in turn write files of at most a random size, and then of any."""
    works, sizes = list_works(trial.folder), {}
    for number in range(trial.count):
        work: Work = works[number % len(works)]
        alone, folder = trial.folder / f"{work.verb}-alone", trial.folder / str(number)
        if work.verb not in sizes:
            alone.mkdir()
            work.prepare(alone)
            status, said = run_limited(alone, work.words, None)
            if status:
                sys.exit(f"{work.verb} failed: {said}")
            sizes[work.verb] = largest(alone)
        folder.mkdir()
        work.prepare(folder)
        limit = int(sizes[work.verb] * trial.chance.random() ** 3)  # small files too
        status, said = run_limited(folder, work.words, limit)
        wrong = is_whole(folder / work.result)
        if status not in (0, 1) or (status == 1) != (len(said) == 1):
            wrong = wrong or f"it ended with {status} and said {said}"
        again, said = run_limited(folder, work.words, None)
        if again:
            wrong = wrong or f"then: {said}"
        elif not wrong:
            wrong = is_whole(folder / work.result)
            wrong = wrong or ("" if work.same(folder, alone) else "the end is another than on a disk with room")
        trial.check(not wrong, f"{work.verb}, files of {limit} bytes at most: {wrong}")
        trial.seen[f"{work.verb} {'stopped' if status else 'had room'}"] += 1
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
        status, said = run_limited(trial.folder, (*words, os.path.join(".", place)), None)
        try:
            wrong = f"ended with {status} and said {said}" if status or len(open_store(path)) != 50 else ""
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        trial.check(not wrong, f"{name}: {wrong}")
        trial.seen[name] += 1
    words = (*words, "/".join(["z" * 200] * 40))  # longer than any path may be
    status, said = run_limited(trial.folder, words, None)
    trial.check(status == 1 and len(said) == 1, f"8,000 letters: ended with {status} and said {said}")


PROMISES = [
    Promise("disk-full", "a full disk is said in one line, and nothing is lost", fill_disk, 60, 6, breaking),
    Promise("places", "a folder may have any name", write_in_places, len(PLACES), 3, breaking),
]
