"""Compares what is read of a shard with its checksums, before it is first used in a process."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BertvisionError, StoreError
from ..paths import find_cache
from ..settings.groups import CHECKS
from .blocks import BLOCK, Blocks, has_sums, name_sums, read_sums, sum_block
from .cloud import Place
from .schema import ShardEntry
from .writer import compute_sha256

NAMED = 5  # blocks that an error names
REMEMBERED = 2**20  # bytes of the smallest shard that is remembered; a smaller one is compared in no time
CHECKING: ContextVar[str] = ContextVar("checking", default="once")


@contextlib.contextmanager
def checking(how: str) -> Iterator[None]:
    """How stores are checked that this thread opens in the meantime: "always", "once" or "never"; see `open_store`."""
    token = CHECKING.set(read_check(how))
    try:
        yield
    finally:
        CHECKING.reset(token)


def read_check(how: str | None) -> str:
    """How a store is checked: as it is said, or with None as `checking` says.

    Raises:
        StoreError: there is no such way.
    """
    if how is None:
        return CHECKING.get()
    if how not in CHECKS:
        raise StoreError(f"`check` needs {', '.join(CHECKS[:-1])} or {CHECKS[-1]}, got {how!r}.")
    return how


class ShardCheck:
    """Which blocks of a shard are compared already.

    Args:
        shard: as errors name it.
        file: on this machine, beside which its checksums are.
        entry, blocks: of it.
        remember: is called when all are compared.

    Attributes:
        passed: whether nothing is left to compare.
        exempt: whether nothing can be, or is to be.
    """

    def __init__(
        self, shard: Place, file: Path, entry: ShardEntry, blocks: Blocks, remember: Callable[[], None] | None = None
    ):
        self.shard, self.blocks = shard, blocks
        self._file, self._entry, self._remember = file, entry, remember
        self.passed = self.exempt = False
        self._sums: list[int] | None = None  # while some are compared and others are not
        self._done: np.ndarray | None = None

    def exempt_all(self) -> None:
        """Takes the whole shard as compared."""
        self.passed = self.exempt = True

    def compare_start(self, sums: np.ndarray) -> None:
        """Compares what stands before the states.

        Args:
            sums: of all blocks.

        Raises:
            StoreError: a block is not what was written.
        """
        with open(self._file, "rb") as stream:
            content = memoryview(stream.read(self.blocks.start))
        for block in range(self.blocks.before):
            self._compare(content, block, sums)

    def compare_states(self, content: Any, first: int, end: int) -> None:
        """Compares the blocks that hold some bytes of the states, but those that are compared already.

        Args:
            content: the whole shard.
            first, end: bytes of the shard.

        Raises:
            StoreError: a block is not what was written.
        """
        sums, done = self._sums, self._done
        if sums is None or done is None:
            if self.passed:  # in another thread, meanwhile
                return
            sums, done = self._read_sums(), np.zeros(len(self.blocks), bool)
            done[: self.blocks.before] = True
            self._sums, self._done = sums, done
        view, blocks = memoryview(content), self.blocks.of_states(first, end)
        before = self.blocks.start - self.blocks.before * BLOCK
        for block in (blocks.start + np.flatnonzero(~done[blocks.start : blocks.stop])).tolist():
            start = before + block * BLOCK  # as `bounds` has it; thousands of blocks a second come here
            if sum_block(view[start : start + BLOCK]) != sums[block]:
                raise self._build_error(block)
            done[block] = True
        if done.all():
            self.passed, self._sums, self._done = True, None, None
            if self._remember is not None:
                self._remember()

    def compare_anew(self, content: bytes, blocks: range) -> None:
        """Compares blocks that have come over the network, whether they were compared already or not.

        Args:
            content: theirs alone.
            blocks: which.

        Raises:
            StoreError: one is not what was written.
        """
        if self.exempt:
            return
        if self._sums is None:
            self._sums = self._read_sums()
        for block in blocks:
            self._compare(memoryview(content), block, self._sums, self.blocks.bounds(blocks.start)[0])

    def _read_sums(self) -> list[int]:
        sums = read_sums(self._file, self.blocks, self._entry.sha256)
        if sums is None:  # since the store was opened
            raise StoreError(f"{name_sums(self.shard)} has changed since the store was opened: open it again.")
        return sums.tolist()

    def _compare(self, content: memoryview, block: int, sums: Sequence[int] | np.ndarray, offset: int = 0) -> None:
        first, end = self.blocks.bounds(block)
        if sum_block(content[first - offset : end - offset]) != sums[block]:
            raise self._build_error(block)

    def _build_error(self, block: int) -> StoreError:
        first, end = self.blocks.bounds(block)
        return StoreError(
            f"{self.shard} is damaged: block {block} of {len(self.blocks)} (bytes {first} to {end - 1}) is not what "
            f"was written. `bertvision repair {self.shard.parent}` makes it again."
        )


class StoreCheck:
    """How the shards of a store are compared with their checksums.

    Args:
        how: "always", "once" or "never".
        remembered: the shards that earlier processes have compared.
        whole: whether a shard without checksums of its blocks is read whole, and compared with its SHA-256.
    """

    def __init__(self, how: str, remembered: Remembered | None, whole: bool = True):
        self._how, self._remembered, self._whole = how, remembered, whole

    def begin(self, shard: Place, file: Path, entry: ShardEntry, blocks: Blocks) -> ShardCheck:
        """Compares what stands before a shard's states, or all of it where blocks have no checksums.

        Args:
            shard: as errors name it.
            file: what is read of it, on this machine.
            entry, blocks: of it.

        Raises:
            StoreError: it is not what was written, or cannot be read.
        """
        try:
            return self._begin(shard, file, entry, blocks)
        except OSError as error:
            raise StoreError(f"{shard} cannot be read: {error.strerror or error}.") from None

    def _begin(self, shard: Place, file: Path, entry: ShardEntry, blocks: Blocks) -> ShardCheck:
        status, remembered = file.stat(), self._remembered
        remember = None if remembered is None else functools.partial(remembered.add, entry, status)
        check = ShardCheck(shard, file, entry, blocks, remember)
        if self._how == "never" or (remembered is not None and remembered.has(entry, status)):
            check.exempt_all()
        elif (sums := read_sums(file, blocks, entry.sha256)) is not None:
            check.compare_start(sums)
        elif self._whole:
            verify_bytes(file, entry, blocks)
            check.exempt_all()
            if remember is not None:
                remember()
        elif has_sums(file):
            raise StoreError(f"{name_sums(shard)} is damaged: `bertvision repair {shard.parent}` makes it again.")
        else:
            check.exempt_all()
        return check


def verify_shard(shard: Place, entry: ShardEntry, blocks: Blocks) -> None:
    """Compares every byte of a shard with its SHA-256, and its checksums of blocks with their own.

    Raises:
        StoreError: it is not what was written, or cannot be read.
    """
    verify_bytes(shard, entry, blocks)
    if has_sums(shard) and read_sums(shard, blocks, entry.sha256) is None:
        raise StoreError(f"{name_sums(shard)} is damaged: `bertvision repair {shard.parent}` makes it again.")


def verify_bytes(shard: Place, entry: ShardEntry, blocks: Blocks) -> None:
    """Compares every byte of a shard with its SHA-256; see `verify_shard`."""
    try:
        found = compute_sha256(shard)
    except OSError as error:
        raise StoreError(f"{shard} cannot be read: {error.strerror}.") from None
    if found != entry.sha256:
        raise StoreError(
            f"{shard} is damaged: its SHA-256 is not the manifest's{_name_damaged(shard, entry, blocks)}. `bertvision "
            f"repair {shard.parent}` makes it again."
        )


def _name_damaged(shard: Place, entry: ShardEntry, blocks: Blocks) -> str:
    """Which blocks of a shard are damaged, where that is known."""
    sums = read_sums(shard, blocks, entry.sha256)
    if sums is None or not isinstance(shard, Path):
        return ""
    with open(shard, "rb") as stream:
        damaged = []
        for block in range(len(blocks)):
            first, end = blocks.bounds(block)
            if sum_block(stream.read(end - first)) != sums[block]:
                damaged.append(str(block))
    more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return f" (block {', '.join(damaged[:NAMED])}{more} of {len(blocks)})" if damaged else ""


class Remembered:
    """The shards of a store that a process of this user has compared whole, with all that changes when a file does.

    A line for each, in a file of the user's cache: its name, bytes, time of change (of content and of the file itself),
    inode and SHA-256. A shard that is copied, or written anew, is another one.

    Args:
        folder: of the store.
        shards: how many it has.
    """

    def __init__(self, folder: Path, shards: int):
        key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
        self._file: Path | None = None  # nothing is remembered where there is no cache
        self._lines: set[str] = set()
        with contextlib.suppress(OSError, UnicodeDecodeError, BertvisionError):
            self._file = find_cache() / "checked" / key
            self._lines = set(self._file.read_text(encoding="ascii").splitlines())
        if self._file is not None and len(self._lines) > 4 * shards + 100:  # of shards that there were
            with contextlib.suppress(OSError):
                self._file.unlink()

    def has(self, entry: ShardEntry, status: os.stat_result) -> bool:
        """Whether a shard was compared, and has not changed since."""
        return _describe(entry, status) in self._lines

    def add(self, entry: ShardEntry, status: os.stat_result) -> None:
        """Remembers a shard, as it was before it was compared; where the cache cannot be written, nothing."""
        if entry.bytes < REMEMBERED or self._file is None:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with open(self._file, "ab", buffering=0) as stream:  # at the end, whoever else writes
                stream.write(f"{_describe(entry, status)}\n".encode("ascii"))


def _describe(entry: ShardEntry, status: os.stat_result) -> str:
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{entry.name} {status.st_size} {times} {status.st_ino} {entry.sha256}"
