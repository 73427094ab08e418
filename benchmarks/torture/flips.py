"""Single bits flipped in every file that the library writes."""

import contextlib
import functools
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
from promises import Promise, Trial

import bertvision_tf as bv
from bertvision_tf import checksums
from bertvision_tf.checksums import check_files
from bertvision_tf.encoders import load_encoder, save_encoder
from bertvision_tf.errors import BertvisionError, RunError
from bertvision_tf.extraction import extract
from bertvision_tf.store import check, open_store
from bertvision_tf.training import state

ROWS = 60


@functools.cache
def load_minilm() -> bv.encoders.Encoder:
    return load_encoder("minilm")


def flip_in(
    trial: Trial,
    files: list[Path],
    use: Callable[[Path], str | None],
    before: Callable[[], object] = lambda: None,
    keep_time: bool = False,
) -> None:
    """Flips a bit of one of some files, uses what is in them, and puts the bit back.

    Args:
        trial: of the promise.
        files: one is drawn each time.
        use: gets the file; raises BertvisionError where the damage is found, and else says what came of it: a result
            that is right all the same, or None where it is wrong, or may be.
        before: called before each flip.
        keep_time: give the file the time that it had, as a disk that loses bits does.
    """
    for _ in range(trial.count):
        file = trial.chance.choice(files)
        before()
        content, status = file.read_bytes(), file.stat()
        place, bit = trial.chance.randrange(len(content)), trial.chance.randrange(8)
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        if keep_time:
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = use(file)
        except BertvisionError as error:
            found = "found" if "\n" not in str(error) else None
        except Exception:
            found = None
        file.write_bytes(content)
        trial.check(found is not None, f"{file.name}, byte {place}, bit {bit}: nothing was noticed")
        trial.seen[found or "silent"] += 1


def flip_store(trial: Trial) -> None:
    """Of a store: its manifest, its shards and their checksums."""
    rows = bv.get_task("starter").load("dev").take(ROWS)
    store = extract(load_minilm(), rows, trial.folder / "store", shard_rows=200)
    right = store.gather(range(ROWS))

    def use(file: Path) -> str | None:
        found = open_store(store.path)
        read = found.gather(range(ROWS))
        same = all(np.array_equal(*pair) for pair in zip(vars(read).values(), vars(right).values(), strict=True))
        same &= found.ids == store.ids and np.array_equal(found.labels, store.labels)
        same &= np.array_equal(found.decode(read.states), store.decode(right.states))
        return "right all the same" if same else None

    flip_in(trial, sorted(store.path.iterdir()), use)


def flip_remembered(trial: Trial) -> None:
    """Of shards that were compared before, and have the size and the time that they had."""
    rows = bv.get_task("starter").load("dev").take(ROWS)
    path = extract(load_minilm(), rows, trial.folder / "store", shard_rows=200).path

    def read(file: Path | None = None) -> None:
        open_store(path, check="once").gather(range(ROWS))

    flip_in(trial, [path / "shard-00000.h5"], read, read, keep_time=True)


def flip_folders(trial: Trial) -> None:
    """Of a run, its heads and its SavedModel, and of an encoder's folder."""
    options = {"head": "learned_pooling", "seeds": 1, "limit": 300, "fit": {"epochs": 1}, "baselines": False}
    run = bv.train("starter", load_minilm(), output=trial.folder / "run", store=trial.folder / "states", **options)
    encoder = trial.folder / "encoder"
    save_encoder(load_minilm(), encoder)
    sizes = {file: file.stat().st_size for file in (*run.path.rglob("*"), *encoder.iterdir()) if file.is_file()}

    def use(file: Path) -> str | None:
        if file.parent == encoder:
            load_encoder(encoder)
        else:
            bv.load_run(run.path).load_head()
            bv.load_run(run.path).read_dev_predictions()
            check_files(run.path, RunError)  # of what only a person looks at
        return None

    flip_in(trial, [file for file, size in sizes.items() if size < 2**25], use)


def flip_state(trial: Trial) -> None:
    """Of the state that a fine-tuning goes on from."""
    file, values = trial.folder / "state.safetensors", [np.ones((64, 64), np.float32), np.zeros(9, np.int64)]
    state.write_state(file, values, 7, 1.5)

    def use(file: Path) -> str | None:
        found, step, seconds = state.read_state(file)
        same = (step, seconds) == (7, 1.5) and all(np.array_equal(*pair) for pair in zip(found, values, strict=True))
        return "right all the same" if same else None

    flip_in(trial, [file], use)


def without_blocks() -> contextlib.AbstractContextManager:
    nothing = mock.Mock(return_value=None)
    return mock.patch.multiple(check.ShardCheck, compare_start=nothing, compare_states=nothing)


def without_times() -> contextlib.AbstractContextManager:
    return mock.patch.object(check, "_describe", lambda entry, status: f"{entry.name} {status.st_size} {entry.sha256}")


def without_files() -> contextlib.AbstractContextManager:
    return mock.patch.object(checksums, "_compare", return_value=None)


def without_sum() -> contextlib.AbstractContextManager:
    return mock.patch.object(state, "_sum", return_value="same")


PROMISES = [
    Promise("flips-store", "no flipped bit of a store is read", flip_store, 500, 60, without_blocks),
    Promise("flips-times", "no bit is read that was flipped behind the times", flip_remembered, 100, 20, without_times),
    Promise("flips-files", "no flipped bit of a run or an encoder is used", flip_folders, 400, 40, without_files),
    Promise("flips-state", "no fine-tuning goes on from a flipped bit", flip_state, 100, 40, without_sum),
]
