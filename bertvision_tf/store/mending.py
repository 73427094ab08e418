"""Makes what is damaged of a store again, to the same bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import StoreError
from .blocks import Blocks, BlockSums, add_sums, name_sums, read_sums, write_sums
from .cloud import Place
from .codecs import Calibration
from .schema import UNFINISHED, Manifest, ShardEntry, stage, write_flushed
from .writer import ShardRows, build_shard, disk_errors, has_bytes


class StoreMender:
    """A store whose damaged shards are made again, and that is locked meanwhile. Every byte is read.

    Args:
        path: of the store.
        manifest: of it, as it is under the lock. It is the measure, and cannot be made again itself.

    Attributes:
        damaged: numbers of the shards that are missing, or are not what the manifest says.

    Raises:
        StoreError: its files cannot be read.
    """

    def __init__(self, path: Place, manifest: Manifest):
        self.path, self.manifest = path, manifest
        if manifest.complete and isinstance(path, Path):  # no process writes it but one that repairs it
            for left in path.glob(f".*{UNFINISHED}"):
                left.unlink(missing_ok=True)
        self.damaged = [
            number for number, entry in enumerate(manifest.shards) if not has_bytes(path / entry.name, entry)
        ]

    @property
    def calibration(self) -> Calibration:
        return self.manifest.calibration

    def write_again(self, number: int, rows: ShardRows, batches: Iterator[np.ndarray]) -> None:
        """Puts a shard in the place of a damaged one: `batches` are its encoded states in order, each (rows, states,
        width).

        Raises:
            StoreError: it is not the shard that there was, or cannot be written; what is there stays.
        """
        entry = self.manifest.shards[number]
        file, sums = self.path / entry.name, BlockSums()
        parts = sums.watch(build_shard(self.manifest.spec, rows, batches))
        with disk_errors(self.path):
            if isinstance(file, Path):
                staging = stage(file)
                try:
                    self._check_same(file, write_flushed(staging, parts), entry)
                    os.replace(staging, file)
                finally:
                    staging.unlink(missing_ok=True)
            else:
                content = b"".join(parts)
                self._check_same(file, hashlib.sha256(content).hexdigest(), entry)
                file.put(content)
            write_sums(file, sums.to_bytes(entry.sha256))

    def mend_sums(self) -> list[str]:
        """Makes the checksums of blocks again that are missing or damaged, and returns their files' names."""
        made, damaged = [], set(self.damaged)
        for number, entry in enumerate(self.manifest.shards):
            file, blocks = self.path / entry.name, Blocks.of(entry, self.manifest.spec.row_bytes)
            if number not in damaged and read_sums(file, blocks, entry.sha256) is None:
                with disk_errors(self.path):
                    add_sums(file, blocks, entry.sha256)
                made.append(name_sums(file).name)
        return made

    def _check_same(self, file: Place, sha256: str, entry: ShardEntry) -> None:
        if sha256 != entry.sha256:
            made = ", ".join(f"{name} {value}" for name, value in self.manifest.made_with.items())
            raise StoreError(
                f"{file} cannot be made again here: the encoder gives other bytes than it gave then, with {made}. "
                f"Another processor can give other bytes too: repair it there, or delete {self.path} and extract again."
            )
