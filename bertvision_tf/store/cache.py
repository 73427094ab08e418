"""Shards of object storage that are kept on this machine."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import StoreError
from ..paths import read_path
from ..settings import PlaceSettings

if TYPE_CHECKING:
    from .cloud import CloudPath

try:
    import fcntl
except ImportError:  # not on Windows: what another process uses is not known there
    fcntl = None  # type: ignore[assignment]

CACHE_BYTES = PlaceSettings.cache_bytes
NAME = re.compile(r"\.?shard-[0-9a-f]{64}\.h5(\.[0-9a-f]{32}\.part)?")
OLD = 24 * 3600.0  # seconds after which a download is removed where there are no locks
STARTING = 10.0  # seconds in which a download is locked
MAKING_ROOM = threading.Lock()
SOUGHT: collections.defaultdict[Path, threading.Lock] = collections.defaultdict(threading.Lock)  # one thread loads each


class ShardCache:
    """Whole shards in a folder of this machine, at most so many bytes; those that were used longest ago go first.

    Processes and stores may share one. A shard is checked against its SHA-256 when it comes. What is mapped by any
    process stays: a cache that is smaller than a store holds some of its shards for good, instead of all in turn.

    Args:
        folder: where; made if it is not there. Other files there are left alone.
        limit: bytes.
    """

    def __init__(self, folder: str | Path, limit: int = CACHE_BYTES):
        if limit < 1:
            raise StoreError(f"`cache_bytes` needs 1 or more, got {limit!r}.")
        self._folder, self._limit = read_path(folder), limit
        self._checked: set[str] = set()  # in this process

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_checked": set()}

    def map(self, shard: CloudPath, size: int, sha256: str) -> np.ndarray | None:
        """The bytes of a shard, uint8 (size,), mapped; it is downloaded where it is not there.

        Returns:
            None where there is no room beside the shards that are in use.

        Raises:
            StoreError: it is damaged, larger than the whole cache, or cannot be read or written.
        """
        if size > self._limit:
            raise StoreError(f"{shard} has {size} bytes, the cache {self._folder} is for {self._limit}: give it more.")
        file = self._folder / f"shard-{sha256}.h5"
        try:
            with SOUGHT[file]:
                while (found := self._open(file, size, sha256)) is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    stream = self._make_room(file, size)
                    if stream is None:
                        return None
                    with stream:
                        self._download(shard, stream, file, sha256)
        except OSError as error:
            raise StoreError(f"{shard} cannot be kept in {self._folder}: {error.strerror or error}.") from None
        return found

    def _open(self, file: Path, size: int, sha256: str) -> np.ndarray | None:
        """Maps a file that has the right bytes, which each process reads once. It is locked while it is mapped."""
        with contextlib.suppress(FileNotFoundError), open(file, "rb") as stream:
            _lock(stream, exclusive=False)
            status = os.fstat(stream.fileno())
            if status.st_nlink == 0 or status.st_size != size:  # another process has just made room
                return None
            if file.name not in self._checked:
                if hashlib.file_digest(stream, "sha256").hexdigest() != sha256:
                    return None
                self._checked.add(file.name)
            with contextlib.suppress(OSError):
                os.utime(file)
            return np.memmap(stream, np.uint8, "r")
        return None

    def _download(self, shard: CloudPath, stream: BinaryIO, file: Path, sha256: str) -> None:
        digest, staging = hashlib.sha256(), Path(stream.name)
        try:
            for piece in shard.stream():
                stream.write(piece)
                digest.update(piece)
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
            if digest.hexdigest() != sha256:
                raise StoreError(
                    f"{shard} is damaged: its SHA-256 is not the manifest's. `bertvision repair {shard.parent}` makes "
                    "it again."
                )
            os.replace(staging, file)
            self._checked.add(file.name)
        finally:
            with contextlib.suppress(OSError):
                staging.unlink(missing_ok=True)

    def _make_room(self, file: Path, size: int) -> BinaryIO | None:
        """A new file of `size` bytes for a download, after what was used longest ago is removed; None where too much is
        in use. Downloads of processes that have ended are removed too."""
        with MAKING_ROOM:
            found = sorted(self._list_files())
            kept = sum(held for _, held, _ in found)
            for used, held, one in found:
                begun = one.name.startswith(".")
                if begun and time.time() - used < STARTING:  # it may not be locked yet
                    continue
                if begun or kept + size > self._limit:
                    kept -= held if _remove_unused(one, begun and time.time() - used < OLD) else 0
            if kept + size > self._limit:
                return None
            stream = open(file.with_name(f".{file.name}.{uuid.uuid4().hex}.part"), "wb")  # noqa: SIM115 (a caller's)
            _lock(stream, exclusive=True)
            stream.truncate(size)  # so that others count it
            return stream

    def _list_files(self) -> Iterator[tuple[float, int, Path]]:
        """When each of its files was used last, its bytes, and where it is."""
        for file in self._folder.iterdir():
            if NAME.fullmatch(file.name):
                with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                    status = file.stat()
                    yield status.st_mtime, status.st_size, file


def _remove_unused(file: Path, surely: bool) -> bool:
    """Removes a file that no process has mapped or is writing: whether it is gone.

    Args:
        file: of the cache.
        surely: not where there are no locks, which would tell.
    """
    try:
        with open(file, "r+b") as stream:  # some systems lock for others only what is open for writing
            held = _lock(stream, exclusive=True)
            if held is False or (held is None and surely):
                return False
        file.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except PermissionError:  # another user's, or mapped on Windows
        return False
    return True


def _lock(stream: BinaryIO, *, exclusive: bool) -> bool | None:
    """Locks a file until it is closed and no longer mapped: whether it could, None where there are no locks. A shared
    lock is waited for."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True
