"""A store that several processes write at a time, on one machine or on many that share its folder.

Each process writes shards of its own and, beside each, its entry: `shard-00003.json`. When all are there, `merge_store`
enters them in the manifest. A shard has the name of its process while it is written, and gets its own name only where
no other process was faster.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from .codecs import Calibration
from .reader import Store, open_store
from .schema import ShardEntry, StoreSpec, read_manifest, write_flushed, write_manifest
from .waiting import wait_for
from .writer import (
    ShardRows,
    StoreWriter,
    build_shard,
    compute_sha256,
    disk_errors,
    find_entry,
    holds,
    lock_store,
    name_shard,
)

UNFINISHED = ".part"  # the end of the name of a shard that a process is writing
NAMED = 5  # shards that an error names


class PartWriter:
    """Writes some shards of a store, while other processes write others.

    Args:
        path, spec, **options: as `StoreWriter`'s. The first process calibrates, and the others wait for it.

    Raises:
        StoreError: as `StoreWriter` does.
    """

    def __init__(self, path: Path, spec: StoreSpec, **options: Any):
        first = wait_for(lambda: StoreWriter(path, spec, **options))
        first.close()
        self.path, self.codec, self.manifest = path, first.codec, read_manifest(path)

    @property
    def calibration(self) -> Calibration:
        return self.manifest.calibration

    def has(self, number: int, rows: ShardRows) -> bool:
        """Whether a shard is there, by whichever process; its entry is made where that was killed before."""
        if number < len(self.manifest.shards):
            return True
        file = self.path / name_shard(number)
        if not holds(file, rows):
            return False
        if not find_entry(file).is_file():
            self._leave_entry(file, rows, compute_sha256(file))
        return True

    def write(self, number: int, rows: ShardRows, batches: Iterator[np.ndarray]) -> bool:
        """Writes a shard: `batches` are its encoded states in order, each (rows, states, width).

        Returns:
            whether it is this process's: another one may have been faster.
        """
        file = self.path / name_shard(number)
        staging = _stage(file)
        with disk_errors(self.path):
            sha256 = write_flushed(staging, build_shard(self.manifest.spec, rows, batches))
            try:
                os.link(staging, file)  # which fails where the file is there
            except FileExistsError:
                return False
            finally:
                staging.unlink()
            self._leave_entry(file, rows, sha256)
        return True

    def _leave_entry(self, file: Path, rows: ShardRows, sha256: str) -> None:
        entry = ShardEntry(file.name, len(rows.lengths), len(rows.token_ids), file.stat().st_size, sha256)
        content = dataclasses.asdict(entry) | {"calibration": fingerprint_calibration(self.calibration)}
        staging = _stage(find_entry(file))
        write_flushed(staging, [json.dumps(content).encode()])
        os.replace(staging, find_entry(file))


def merge_store(path: Path) -> Store:
    """Enters the shards that several processes have written in the manifest; every byte of them is read.

    Raises:
        StoreError: there is no such store, shards are missing, or one is not what its entry says.
    """
    manifest = read_manifest(path)
    lock = lock_store(path)
    try:
        numbers = range(len(manifest.shards), manifest.num_shards)
        missing = [number for number in numbers if not find_entry(path / name_shard(number)).is_file()]
        if missing:
            named = ", ".join(map(str, missing[:NAMED])) + (" and more" if len(missing) > NAMED else "")
            raise StoreError(
                f"{path} lacks {len(missing)} of {manifest.num_shards} shards (from 0, numbers {named}): run all parts "
                "first."
            )
        found = [_read_entry(path / name_shard(number), manifest.calibration) for number in numbers]
        with disk_errors(path):
            write_manifest(path, dataclasses.replace(manifest, shards=(*manifest.shards, *found)))
            for number in range(manifest.num_shards):
                find_entry(path / name_shard(number)).unlink(missing_ok=True)
            for left in path.glob(f".*{UNFINISHED}"):  # by processes that were killed
                left.unlink()
    finally:
        if lock is not None:
            os.close(lock)
    return open_store(path)


def fingerprint_calibration(calibration: Calibration) -> str:
    """16 hexadecimal digits over the statistics that codes are made with."""
    digest = hashlib.sha256()
    for value in vars(calibration).values():
        digest.update(np.ascontiguousarray(value, "<f4").data)
    return digest.hexdigest()[:16]


def _stage(file: Path) -> Path:
    """The name of a file while this process writes it; `StoreWriter` leaves it alone."""
    return file.with_name(f".{file.name}.{socket.gethostname()}-{os.getpid()}{UNFINISHED}")


def _read_entry(file: Path, calibration: Calibration) -> ShardEntry:
    """The entry of a shard, checked against the file."""
    again = f"delete {file} and {find_entry(file).name}, and run their part again."
    try:
        content = json.loads(find_entry(file).read_text(encoding="utf-8"))
        made_with = content.pop("calibration")
        entry = ShardEntry(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{find_entry(file)} cannot be read ({error}): {again}") from None
    if made_with != fingerprint_calibration(calibration):
        raise StoreError(f"{file} was made with another calibration than the store's: {again}")
    with contextlib.suppress(OSError):
        if compute_sha256(file) == entry.sha256 and entry.name == file.name and file.stat().st_size == entry.bytes:
            return entry
    raise StoreError(f"{file} is not what its entry says: {again}")
