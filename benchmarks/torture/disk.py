"""Disks and memory that are full, and places that are odd or locked."""

import contextlib
import os
from pathlib import Path

from children import breaking, run
from promises import Promise, Trial
from verbs import find_half, take_works

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
    for work, folder in take_works(trial):
        limit = int(largest(work.alone[0]) * trial.chance.random() ** 3)  # small files too
        ended = run(folder, work.words, largest=limit)
        wrong = find_half(folder / work.result) or ended.find_fault() or work.find_fault(folder)
        trial.check(not wrong, f"{work.verb}, files of {limit} bytes at most: {wrong}")
        trial.seen[f"{work.verb} {'stopped' if ended.status else 'had room'}"] += 1


def end_memory(trial: Trial) -> None:
    """Gives each verb in turn a random amount of memory, and runs it to its end afterwards.

    Where it takes more, it is refused the memory, or is killed, as systems without swap do.
    """
    for number, (work, folder) in enumerate(take_works(trial)):
        memory, kind = trial.chance.randrange(2**25, 2**30), ("resident", "address_space")[number // 2 % 2]
        ended = run(folder, work.words, seconds=30, **{kind: memory})  # the tokenizers may wait for ever
        wrong = find_half(folder / work.result)
        if ended.status == 1 and "PanicException" not in ended.last:  # of Rust, which no one can catch
            wrong = wrong or ended.find_fault()
        wrong = wrong or work.find_fault(folder)
        trial.check(not wrong, f"{work.verb}, with {memory >> 20} MiB of {kind}: {wrong}")
        how = {0: "had enough", 1: "refused"}.get(ended.status, "waited for ever" if ended.seconds > 30 else "killed")
        trial.seen[f"{work.verb} {how}"] += 1


def change_rights(folder: Path, kind: str) -> None:
    """Takes the right to write into a folder and all below, or to read files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if kind == "unreadable" and path.is_file():
            path.chmod(0)
        elif kind == "read-only":
            path.chmod(0o555 if path.is_dir() else 0o444)
    if kind == "read-only":
        folder.chmod(0o555)


def give_rights(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def take_rights(trial: Trial) -> None:
    """Runs each verb in turn where it may not write, and where it may not read what it needs, and then where it may."""
    for number, (work, folder) in enumerate(take_works(trial)):
        kind = ("read-only", "unreadable")[number // 2 % 2]
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        change_rights(folder, kind)
        ended = run(folder, work.words, powerless=True)
        give_rights(folder)
        wrong = ended.find_fault() or ("it wrote" if not ended.status and kind == "read-only" else "")
        lost = [path.name for path, content in before.items() if not path.exists() or path.read_bytes() != content]
        wrong = wrong or (f"{lost[0]} is lost" if lost and ended.status else "") or work.find_fault(folder)
        trial.check(not wrong, f"{work.verb}, {kind}: {wrong}")
        trial.seen[f"{work.verb} {'refused' if ended.status else 'done'}"] += 1


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
    Promise("disk-full", "a full disk is said in one line, and nothing is lost", fill_disk, 70, 4, breaking),
    Promise("memory-ends", "a verb without memory leaves nothing by half", end_memory, 70, 3, breaking),
    Promise("permissions", "a folder without rights is named, and stays as it is", take_rights, 28, 3, breaking),
    Promise("places", "a folder may have any name", write_in_places, len(PLACES), 2, breaking),
]
