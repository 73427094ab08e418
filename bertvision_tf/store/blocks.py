"""Checksums of a shard's blocks, which stand in a file beside it: `shard-00000.sums`.

    8 bytes     MAGIC
    32 bytes    SHA-256 of the shard, as the manifest has it
    8 bytes     XXH3 (64 bits, little-endian) of each block
    8 bytes     XXH3 of all that stands before

A block has BLOCK bytes; the last one before the states may be shorter, and so may the last one of the states, where
blocks begin anew. The file can be made again of its shard at any time. A store that has none, as those of earlier
versions, is compared with its SHA-256 alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import xxhash

from ..errors import StoreError
from .cloud import Place
from .schema import ShardEntry, stage

BLOCK = 2**16  # bytes: what is read at least, where a batch reads its rows alone
MAGIC = b"BVSUMS1\n"
SUM = np.dtype("<u8")
PIECE = 2**20  # bytes that are read at a time


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Where the blocks of a shard begin and end.

    Attributes:
        start: bytes before its states.
        size: bytes of it all.
    """

    start: int
    size: int

    @classmethod
    def of(cls, entry: ShardEntry, row_bytes: int) -> Blocks:
        """Those of a shard, whose states are its end, of so many bytes a row."""
        return cls(max(entry.bytes - entry.rows * row_bytes, 0), entry.bytes)

    @property
    def before(self) -> int:
        """How many there are before the states."""
        return -(-self.start // BLOCK)

    def __len__(self) -> int:
        return self.before + -(-(self.size - self.start) // BLOCK)

    def bounds(self, block: int) -> tuple[int, int]:
        """The bytes of a block: from the first, to the one after the last."""
        if block < self.before:
            return block * BLOCK, min((block + 1) * BLOCK, self.start)
        first = self.start + (block - self.before) * BLOCK
        return first, min(first + BLOCK, self.size)

    def of_states(self, first: int, end: int) -> range:
        """The blocks that hold bytes of the states, which are counted from the shard's first byte."""
        return range(self.before + (first - self.start) // BLOCK, self.before - (self.start - end) // BLOCK)


def name_sums(shard: Place) -> Place:
    """Where the checksums of a shard are."""
    return shard.with_suffix(".sums")


def has_sums(shard: Place) -> bool:
    """Whether there is such a file."""
    return name_sums(shard).is_file()


def sum_block(content: bytes | memoryview) -> int:
    """The checksum of one block."""
    return xxhash.xxh3_64_intdigest(content)


class BlockSums:
    """The checksums of a shard's bytes, which come part by part.

    Args:
        start: bytes before its states; with None those of the first part.
    """

    def __init__(self, start: int | None = None) -> None:
        self._start, self._seen = start, 0
        self._sums: list[int] = []
        self._last, self._filled = xxhash.xxh3_64(), 0  # of the block that is not whole yet

    def watch(self, parts: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        """The parts themselves, each after it is counted."""
        for part in parts:
            self.update(memoryview(part).cast("B"))
            yield part

    def update(self, part: memoryview) -> None:
        """Counts the next bytes."""
        if self._start is None:
            self._start = len(part)
        before = min(max(self._start - self._seen, 0), len(part))
        for one in (part[:before], part[before:]):
            while one:
                piece, one = one[: BLOCK - self._filled], one[BLOCK - self._filled :]
                self._last.update(piece)
                self._filled += len(piece)
                self._seen += len(piece)
                if self._filled == BLOCK or self._seen == self._start:
                    self._end_block()

    def _end_block(self) -> None:
        self._sums.append(self._last.intdigest())
        self._last, self._filled = xxhash.xxh3_64(), 0

    def to_bytes(self, sha256: str) -> bytes:
        """The file of the checksums; all bytes have come."""
        if self._filled:
            self._end_block()
        content = MAGIC + bytes.fromhex(sha256) + np.array(self._sums, SUM).tobytes()
        return content + np.array([sum_block(content)], SUM).tobytes()


def parse_sums(content: bytes, blocks: Blocks, sha256: str) -> np.ndarray | None:
    """The checksums in a file's bytes, uint64 (blocks,).

    Args:
        content: of the file.
        blocks: of the shard.
        sha256: of the shard, as the manifest has it.

    Returns:
        None where they are damaged, or of another shard.
    """
    found = _split_sums(content)
    return found[1] if found is not None and (found[0], len(found[1])) == (sha256, len(blocks)) else None


def read_sums(shard: Place, blocks: Blocks, sha256: str) -> np.ndarray | None:
    """The checksums of a shard, as `parse_sums` gives them; None where they are not there either."""
    return parse_sums(_read_file(shard), blocks, sha256)


def find_summed(shard: Place) -> str | None:
    """The SHA-256 of the shard that a file of checksums is of; None where there is none, or a damaged one."""
    found = _split_sums(_read_file(shard))
    return None if found is None else found[0]


def _read_file(shard: Place) -> bytes:
    """The file of a shard's checksums; nothing where it cannot be read."""
    try:
        return name_sums(shard).read_bytes()
    except OSError:
        return b""


def _split_sums(content: bytes) -> tuple[str, np.ndarray] | None:
    """The SHA-256 of the shard, and the checksums of its blocks; None where the file is not what was written."""
    start = len(MAGIC) + hashlib.sha256().digest_size
    count, rest = divmod(len(content) - start, SUM.itemsize)
    if count < 1 or rest or not content.startswith(MAGIC):
        return None
    sums = np.frombuffer(content, SUM, offset=start)
    return (content[len(MAGIC) : start].hex(), sums[:-1]) if sum_block(content[: -SUM.itemsize]) == sums[-1] else None


def write_sums(shard: Place, content: bytes) -> None:
    """Writes a shard's file of checksums, in place of one that is there. It is not flushed to disk: what a power cut
    leaves of it is no file of checksums, and then those of the whole shard count."""
    file = name_sums(shard)
    if not isinstance(file, Path):
        file.put(content)
        return
    staging = stage(file)
    try:
        staging.write_bytes(content)
        with contextlib.suppress(FileNotFoundError):  # another process took it for one that was left
            os.replace(staging, file)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def add_sums(shard: Place, blocks: Blocks, sha256: str) -> None:
    """Makes the checksums of a shard that is there, unless it has them.

    Raises:
        StoreError: its bytes are not those of its SHA-256.
    """
    if read_sums(shard, blocks, sha256) is not None:
        return
    digest, sums = hashlib.sha256(), BlockSums(blocks.start)
    for piece in sums.watch(_read_pieces(shard)):
        digest.update(piece)
    if digest.hexdigest() != sha256:
        raise StoreError(f"{shard} is damaged: its SHA-256 differs from its entry. Delete it, and run the same again.")
    write_sums(shard, sums.to_bytes(sha256))


def _read_pieces(file: Place) -> Iterator[bytes]:
    if not isinstance(file, Path):
        yield from file.stream()
        return
    with open(file, "rb") as stream:
        while piece := stream.read(PIECE):
            yield piece
