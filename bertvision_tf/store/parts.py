"""A store that several processes write at a time, on one machine or on many that share its folder.

No lock is needed, which shared folders often lack: whatever a process writes has a name of its own, and gets its final
name only where no other process was faster. The first manifest counts, with its calibration. Each process writes shards
of its own and, beside each, its entry: `shard-00003.json`. When all are there, `merge_store` enters them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from .blocks import Blocks, BlockSums, add_sums, write_sums
from .cloud import Place, read_place
from .codecs import Calibration
from .opening import load_store, open_store
from .reader import Store
from .schema import (
    UNFINISHED,
    Manifest,
    ShardEntry,
    StoreSpec,
    read_manifest,
    write_manifest,
    write_new,
)
from .writer import (
    ShardRows,
    begin_store,
    build_shard,
    check_bytes,
    check_shard,
    describe_file,
    disk_errors,
    find_entry,
    hold_store,
    leave_entry,
    name_shard,
    read_entry,
)

NAMED = 5  # shards, or parts, that an error names
WAIT = 10.0  # seconds for the entry of a shard that another process has just finished
OLD = 24 * 3600.0  # seconds after which a file that no process has finished is removed


class PartWriter:
    """Writes some shards of a store, while other processes write others.

    Args:
        path: the store's folder.
        manifest: of the store.
        parts: how many parts there are; entries say it.

    Attributes:
        written: how many shards are this process's.
    """

    def __init__(self, path: Place, manifest: Manifest, parts: int = 1):
        self.path, self.manifest, self.parts, self.written = path, manifest, parts, 0

    @classmethod
    def begin(cls, path: Place, spec: StoreSpec, *, parts: int = 1, **plan: Any) -> PartWriter:
        """Begins the store, or goes on with it.

        Args:
            path, spec, **plan: as `StoreWriter`'s. Each process that finds no manifest calibrates, and the first one's
                counts for all.
            parts: how many parts there are.

        Raises:
            StoreError: as `StoreWriter` does.
        """
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            return cls(path, begin_store(path, spec, **plan), parts)

    @property
    def calibration(self) -> Calibration:
        return self.manifest.calibration

    def has(self, number: int) -> bool:
        """Whether a shard is there with its entry, or in the manifest.

        Raises:
            StoreError: its entry is of another calibration, or cannot be read.
        """
        if number < len(self.manifest.shards):
            return True
        file = self.path / name_shard(number)
        with disk_errors(self.path):
            if not file.is_file() or not find_entry(file).is_file():
                return False
        read_entry(file, self.calibration)  # or says what is wrong with it
        return True

    def write(self, number: int, rows: ShardRows, batches: Iterator[np.ndarray]) -> ShardEntry:
        """Writes a shard: `batches` are its encoded states in order, each (rows, states, width).

        Returns:
            its entry: this process's, or that of another one which was faster.

        Raises:
            StoreError: a file of its name is there that no process has made of these rows, or it cannot be written.
        """
        file = self.path / name_shard(number)
        with disk_errors(self.path):
            sums = BlockSums()
            sha256, won = write_new(file, sums.watch(build_shard(self.manifest.spec, rows, batches)))
            entry = None if won else self._wait_for_entry(number)
            if entry is not None:
                return entry
            if not won:
                check_bytes(file, sha256, "the part")
            write_sums(file, sums.to_bytes(sha256))
            entry = describe_file(file, rows, sha256)
            leave_entry(file, entry, self.calibration, self.parts)
        self.written += won
        return entry

    def _wait_for_entry(self, number: int) -> ShardEntry | None:
        """The entry that the process which was faster has left, or has entered in the manifest."""
        start, file = time.monotonic(), self.path / name_shard(number)
        while True:
            entered = read_manifest(self.path).shards
            if number < len(entered):
                return entered[number]
            if find_entry(file).is_file():
                try:
                    return read_entry(file, self.calibration)
                except StoreError:
                    if find_entry(file).is_file():  # else it has just been entered
                        raise
            if time.monotonic() - start > WAIT:  # it was killed in between
                return None
            time.sleep(0.1)


def merge_store(path: str | Place) -> Store:
    """Enters the shards that several processes have written in the manifest; every byte of them is read.

    Raises:
        StoreError: there is no such store, shards are missing, or some are not what their entries say.
    """
    path = read_place(path)
    read_manifest(path)  # which says so where there is none
    with hold_store(path) as lock:
        manifest = read_manifest(path)  # as it is under the lock
        if not manifest.complete:
            _enter_shards(path, manifest, lock)
    return open_store(path)


def _enter_shards(path: Place, manifest: Manifest, lock: int | None) -> None:
    files = [path / name_shard(number) for number in range(len(manifest.shards), manifest.num_shards)]
    missing = [file for file in files if not find_entry(file).is_file()]
    if missing:
        raise StoreError(_tell_missing(path, manifest, files, missing))
    found, wrong = [], []
    for file in files:
        try:
            found.append(check_shard(file, manifest.calibration))
        except StoreError as error:
            wrong.append((file, str(error)))
    if wrong:
        more = f" {_join([file.name for file, _ in wrong[1:]])} cannot be taken either." if len(wrong) > 1 else ""
        raise StoreError(wrong[0][1] + more)
    whole = dataclasses.replace(manifest, shards=(*manifest.shards, *found))
    with disk_errors(path):
        for entry in found:
            add_sums(path / entry.name, Blocks.of(entry, manifest.spec.row_bytes), entry.sha256)
        load_store(path, whole)  # its shapes, and each row once
        if lock is not None:
            with contextlib.suppress(OSError):  # not every file system can
                os.fsync(lock)
        write_manifest(path, whole)
    with contextlib.suppress(OSError, StoreError):
        for number in range(manifest.num_shards):
            find_entry(path / name_shard(number)).unlink(missing_ok=True)
        for left in path.glob(f".*{UNFINISHED}") if isinstance(path, Path) else ():
            if time.time() - left.stat().st_mtime > OLD:  # no process will finish it any more
                left.unlink(missing_ok=True)


def _tell_missing(path: Place, manifest: Manifest, files: Sequence[Place], missing: Sequence[Place]) -> str:
    """What is to be run again."""
    counts = set()
    for file in files:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            counts.add(max(int(json.loads(find_entry(file).read_text(encoding="utf-8"))["parts"]), 1))
    start = f"{path} lacks {len(missing)} of {manifest.num_shards} shards: run "
    if len(counts) == 1:
        (count,) = counts
        parts = sorted({int(file.stem.split("-")[1]) % count + 1 for file in missing})
        return start + f"part{'s' * (len(parts) > 1)} {_join([f'{part}/{count}' for part in parts])} first."
    return start + f"all parts first ({_join([file.name for file in missing])})."


def _join(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
