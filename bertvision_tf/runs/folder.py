"""The folder of a run, put in its place whole.

results.json        scores, seconds and versions; written last, so a folder without it holds no finished run
config.json         all that was asked for: task, encoder, head, states, fit
heads/seed-0.keras  one head a seed or fold; mean.keras is all of them as one model, where they predict together
predictions.csv     the dev rows: id, text, label, prediction, a probability for each class, a prediction a seed;
                    predictions_mismatched.csv for a further dev split
predictions.json    of questions: what each id is answered, "" for nothing, as the official scorer reads it; beside it
                    null_odds.json, and the five best spans of each in nbest_predictions.json
curves.csv          seed, epoch, loss, selection_score
layer_weights.png   where the head pools layers by weights
layer_path.png      where the head drops layers by a penalty
checksums.json      of all these files, which are compared when they are read
saved_model/        on request: what predicts, images in, logits out

That of an ensemble has results.json, predictions, and a config.json that names the runs.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..checksums import SUMS, check_file, write_checksums
from ..errors import RunError
from ..paths import read_path
from ..store.waiting import build_busy_error
from ..store.writer import lock_folder

RESULTS = "results.json"
CONFIG = "config.json"
CURVES = "curves.csv"
MEAN_FILE = "mean.keras"  # in a run's heads, where all of them together predict
MEMBERS = "runs"  # the entry of an ensemble's config.json


def write_run(path: Path) -> contextlib.AbstractContextManager[Path]:
    """Gives a folder to write a run into, as `write_folder` does."""
    return write_folder(path, RESULTS, "run", sums=True)


@contextlib.contextmanager
def write_folder(path: Path, mark: str, what: str, holds: Sequence[str] = (), sums: bool = False) -> Iterator[Path]:
    """Gives a folder to write into, and puts it in the place of `path` when the block ends well.

    One of the same kind that is there already stays until then, or for good where the block writes nothing, and is
    found again where a kill fell into the exchange.

    Args:
        path: where it is to be.
        mark: the file that every finished one has, and nothing else.
        what: its kind, for errors.
        holds: paths inside it, or patterns of them, of all that one may hold; what holds anything else is not replaced.
            With none it is replaced whatever it holds.
        sums: whether checksums of its files are written beside them.

    Raises:
        RunError: the folder cannot be written, is being written by another process, or holds something else.
    """
    holds = [*holds, SUMS] if holds and sums else holds
    path = read_path(path).resolve()
    if not path.name:
        raise RunError(f"{path} cannot be an output folder: name one below it.")
    staging, old = path.with_name(f".{path.name}.partial"), path.with_name(f".{path.name}.old")
    with writing_to(path):
        if old.exists() and not path.exists():
            os.replace(old, path)
        _check_replaceable(path, mark, what, holds)
        made = [parent for parent in path.parents if not parent.exists()]
        staging.mkdir(parents=True, exist_ok=True)
        try:
            lock = lock_folder(staging)
        except BlockingIOError:
            raise build_busy_error(path, staging) from None
        for left in staging.iterdir():  # by a run that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    try:
        yield staging
        if any(staging.iterdir()):
            _check_replaceable(path, mark, what, holds)
            if sums:
                with writing_to(path):
                    write_checksums(staging)
            _exchange(staging, path, old)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(staging, ignore_errors=True)
        for parent in made:  # the innermost first; those that hold something now stay
            with contextlib.suppress(OSError):
                parent.rmdir()


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns what the file system says into one line."""
    try:
        yield
    except OSError as error:
        raise RunError(f"the output folder {path} cannot be written: {error.strerror or error}.") from None


def _check_replaceable(path: Path, mark: str, what: str, holds: Sequence[str]) -> None:
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / mark).is_file())):
        raise RunError(f"{path} is there already and holds no {what}: name another output folder.")
    for file in path.rglob("*") if holds and path.exists() else ():
        inside = file.relative_to(path).as_posix()
        folder = file.is_dir() and not file.is_symlink()
        known = {one.rpartition("/")[0] for one in holds} if folder else holds
        if not any(PurePosixPath("/", inside).match(f"/{one}") for one in known):
            raise RunError(f"{path} holds {inside} beside a {what}: name another output folder.")


def _exchange(staging: Path, path: Path, old: Path) -> None:
    """Puts the finished run in its place; where that fails, both it and the one before are kept."""
    try:
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
        os.replace(staging, path)
    except OSError as error:
        kept = path.with_name(f"{path.name}-finished")
        os.replace(staging, kept)
        if old.exists() and not path.exists():
            os.replace(old, path)
        raise RunError(f"{path} cannot be replaced ({error.strerror}): what is finished is at {kept}.") from None
    shutil.rmtree(old, ignore_errors=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(file: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(file, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(file: Path) -> list[dict[str, str]]:
    """The rows of a file that `write_csv` wrote, by the names of its header.

    Raises:
        RunError: it cannot be read.
    """
    check_file(file, RunError)
    csv.field_size_limit(sys.maxsize)  # a context may be longer than the usual limit
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{file} cannot be read: {error}.") from None
    uneven = next((number for number, row in enumerate(rows, 1) if None in row or None in row.values()), None)
    if uneven is not None:
        raise RunError(f"{file} cannot be read: row {uneven} has more or fewer cells than the header.")
    return rows
