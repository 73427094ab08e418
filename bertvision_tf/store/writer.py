"""Writes a store shard by shard, and goes on with one that was left unfinished.

Over 300 lines, since whatever writes shards shares their names, their bytes and their checks.
"""

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import BusyError, StoreError, find_reason
from .blocks import Blocks, BlockSums, add_sums, find_summed, name_sums, write_sums
from .cloud import Place, as_file
from .codecs import Calibration, get_codec
from .schema import (
    MANIFEST,
    UNFINISHED,
    Manifest,
    ShardEntry,
    StoreSpec,
    name_own,
    read_manifest,
    stage,
    write_flushed,
    write_manifest,
    write_new,
    write_whole,
)
from .waiting import build_busy_error

SPARE_BYTES = 64 * 2**20  # left free on the disk beside a store


@dataclasses.dataclass(frozen=True)
class ShardRows:
    """All of a shard but its states: what is known before the encoder runs. Shapes as in the package's docstring."""

    token_ids: np.ndarray
    segment_ids: np.ndarray
    lengths: np.ndarray
    example_index: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    questions: np.ndarray | None = None
    char_offsets: np.ndarray | None = None

    def datasets(self) -> dict[str, np.ndarray]:
        """Those that there are, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


class StoreWriter:
    """A store that is being written; one process at a time.

    Args:
        path: the store's folder; made if it is not there. One that holds part of the same store is gone on with.
        spec: what the states are of.
        **plan: `begin_store`'s.

    Raises:
        StoreError: the folder holds another store, or was begun with other versions, or cannot be written, or the
            disk is too full.
    """

    def __init__(self, path: Place, spec: StoreSpec, **plan: Any):
        self.path = path
        self.codec = get_codec(spec.codec)
        self._token: str | None = None
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_store(path)
        try:
            with disk_errors(path):
                self.manifest = begin_store(path, spec, **plan)
                for pattern in (".*.partial", f".*.sums.*{UNFINISHED}"):
                    for left in path.glob(pattern):
                        left.unlink(missing_ok=True)
        except BaseException:
            self.close()
            raise

    @property
    def calibration(self) -> Calibration:
        return self.manifest.calibration

    @property
    def next_shard(self) -> int:
        """The number of the first shard that is not there yet."""
        return len(self.manifest.shards)

    def list_files(self) -> list[int]:
        """The numbers of the shards that have a file and are not in the manifest yet."""
        numbers = range(self.next_shard, self.manifest.num_shards)
        return [number for number in numbers if self.has_file(number)]

    def has_file(self, number: int) -> bool:
        """Whether a shard has a file."""
        return (self.path / name_shard(number)).is_file()

    def remove(self, number: int) -> None:
        """Removes a shard, and what a process has said of it."""
        file = self.path / name_shard(number)
        with disk_errors(self.path):
            for one in (find_entry(file), name_sums(file), file):
                one.unlink(missing_ok=True)

    def leave_token(self) -> str:
        """Leaves a file by which another machine sees that a folder is this one; its name. `clean` removes it."""
        self._token = name_own(MANIFEST)
        with disk_errors(self.path):
            write_new(self.path / self._token, [b"of the process that writes the store"])
        return self._token

    def find(self, number: int, rows: ShardRows) -> ShardEntry | None:
        """The entry of a shard that is there under its final name and holds these rows; None where there is none, or
        one that is not what a process that wrote it has said."""
        file = self.path / name_shard(number)
        if not holds(file, rows):
            return None
        if find_entry(file).is_file():
            try:
                return check_shard(file, self.calibration)
            except StoreError:
                return None  # it is made anew
        with disk_errors(self.path):
            sha256 = compute_sha256(file)
            if find_summed(file) not in (None, sha256):
                return None  # it has changed since it was written
            return describe_file(file, rows, sha256)

    def enter(self, entry: ShardEntry) -> None:
        """Takes a shard that is there into the manifest, as the next one. In object storage another process may write
        the same store, and the next one is then the first that neither has entered."""
        assert entry.name == name_shard(self.next_shard)
        with disk_errors(self.path):
            add_sums(self.path / entry.name, Blocks.of(entry, self.manifest.spec.row_bytes), entry.sha256)
            self._flush_folder()
            self._enter(entry)

    def write_shard(self, rows: ShardRows, batches: Iterator[np.ndarray]) -> None:
        """Writes the next shard: `batches` are its encoded states in order, each (rows, states, width)."""
        file = self.path / name_shard(self.next_shard)
        with disk_errors(self.path):
            sums = BlockSums()
            parts = sums.watch(build_shard(self.manifest.spec, rows, batches))
            if isinstance(file, Path):
                sha256 = write_whole(file, parts)
            else:
                sha256, won = write_new(file, parts)
                if not won:
                    check_bytes(file, sha256, "the same")
            write_sums(file, sums.to_bytes(sha256))
            self._flush_folder()  # so that no manifest names a shard that is not there, even after a power cut
            self._enter(describe_file(file, rows, sha256))

    def clean(self) -> None:
        """Removes what other processes, such as workers that were lost, have left."""
        entered = {find_entry(self.path / entry.name).name for entry in self.manifest.shards}
        for left in self.path.iterdir():
            unfinished = left.name.startswith(".") and left.name.endswith(UNFINISHED)
            # In object storage, where nothing is locked, another writer's token is not touched.
            if left.name in (*entered, self._token) or (unfinished and isinstance(left, Path)):
                left.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _flush_folder(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):  # not every file system can
                os.fsync(self._lock)

    def _enter(self, entry: ShardEntry) -> None:
        self.manifest = self._write_manifest(dataclasses.replace(self.manifest, shards=(*self.manifest.shards, entry)))
        with contextlib.suppress(StoreError):  # who may put objects may not delete them
            find_entry(self.path / entry.name).unlink(missing_ok=True)

    def _write_manifest(self, own: Manifest) -> Manifest:
        """Replaces the manifest by this process's own. Returns it; or another process's, which has entered the same
        shards and perhaps more, as there may be one in object storage."""
        while True:
            try:
                write_manifest(self.path, own)
                return own
            except BusyError:
                found = read_manifest(self.path)
                if found.shards[: len(own.shards)] == own.shards:
                    return found
                if found.shards != own.shards[: len(found.shards)]:
                    raise


def begin_store(
    path: Place,
    spec: StoreSpec,
    *,
    made_with: dict[str, str],
    truncated: int,
    num_shards: int,
    total_rows: int,
    calibrate: Callable[[], Calibration],
) -> Manifest:
    """The manifest of a store; where there is none, the first that a process makes.

    Args:
        path: the store's folder.
        spec: what the states are of.
        made_with: versions, device type, dtype.
        truncated: texts that were cut.
        num_shards: shards of the whole store.
        total_rows: rows of the whole store, for the room it needs on the disk.
        calibrate: called where the store is new, gives the statistics of a sample.

    Raises:
        StoreError: the folder holds another store, or was begun with other versions, or the disk is too full.
    """
    if not (path / MANIFEST).is_file():
        _check_no_strangers(path)
        _check_room(path, total_rows * spec.row_bytes)
        manifest = Manifest(spec, made_with, truncated, calibrate(), num_shards)
        file, content = path / MANIFEST, manifest.to_json().encode()
        _, first = write_new(file, [content])
        if first and not isinstance(file, Path) and file.put_new(content):
            raise StoreError(f"the server of {path} puts an object over another where it must not: it is of no use.")
    manifest = read_manifest(path)
    manifest.spec.check_same(spec, path)
    if not manifest.complete:
        _check_begun(manifest, spec, made_with, path)
    return manifest


def describe_file(file: Place, rows: ShardRows, sha256: str) -> ShardEntry:
    """The entry of a shard's file."""
    return ShardEntry(file.name, len(rows.lengths), len(rows.token_ids), find_size(file), sha256)


def build_shard(spec: StoreSpec, rows: ShardRows, batches: Iterator[np.ndarray]) -> Iterator[bytes | memoryview]:
    """A shard's bytes, part by part: what HDF5 writes before the states, then the states as they come.

    HDF5 does not write to the disk itself, since it cannot close a file on a full one and takes the process
    with it.
    """
    codec = get_codec(spec.codec)
    shape = (len(rows.token_ids), spec.num_hidden_states, codec.width(spec.hidden_dim))
    head = io.BytesIO()
    # "earliest" keeps the time out of the file: later formats write the root group's into it.
    with h5py.File(head, "w", libver=("earliest", "v110")) as shard:
        for name, value in rows.datasets().items():
            shard.create_dataset(name, data=value)
        states = shard.create_dataset("hidden_states", shape, codec.storage)
        states[0, 0, 0] = 0  # gives it its place, the file's end
        start = states.id.get_offset()
    assert head.tell() <= start + codec.storage.itemsize
    yield head.getvalue()[:start]
    written = 0
    for batch in batches:
        yield np.ascontiguousarray(batch).data
        written += len(batch)
        assert batch.shape[1:] == shape[1:]
    assert written == shape[0]


def find_size(file: Place) -> int:
    """Bytes of a file; raises FileNotFoundError where there is none."""
    size = file.stat().st_size if isinstance(file, Path) else file.find_size()
    if size is None:
        raise FileNotFoundError(str(file))
    return size


def compute_sha256(file: Place) -> str:
    if not isinstance(file, Path):
        return file.compute_sha256()
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_bytes(file: Place, sha256: str, again: str) -> None:
    """Raises StoreError where a file that is there already is not what this process has made of its rows.

    Args:
        file: of a shard.
        sha256: of what this process has made.
        again: what is to be run when the file is gone.
    """
    if compute_sha256(file) != sha256:
        raise StoreError(f"{file} is not what its rows are here: delete it, and run {again} again.")


def holds(file: Place, rows: ShardRows) -> bool:
    """Whether a file is a shard of these rows, as far as can be seen without the encoder."""
    with as_file(file) as own, contextlib.suppress(OSError, KeyError, RuntimeError), h5py.File(own, "r") as shard:
        return all(np.array_equal(shard[name][()], value) for name, value in rows.datasets().items())
    return False


def name_shard(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:05d}.h5"


def find_entry(shard: Place) -> Place:
    """Where the entry of a shard lies that is not in the manifest yet, where several processes write a store."""
    return shard.with_suffix(".json")


def leave_entry(shard: Place, entry: ShardEntry, calibration: Calibration, parts: int) -> None:
    """Writes the entry of a shard beside it.

    Args:
        shard, entry: its file, and what is said of it.
        calibration: that its codes were made with.
        parts: how many processes write the store.
    """
    content = dataclasses.asdict(entry) | {"calibration": fingerprint_calibration(calibration), "parts": parts}
    file, text = find_entry(shard), json.dumps(content).encode()
    if not isinstance(file, Path):
        file.put(text)
        return
    staging = stage(file)
    write_flushed(staging, [text])
    os.replace(staging, file)


def read_entry(shard: Place, calibration: Calibration) -> ShardEntry:
    """The entry beside a shard.

    Raises:
        StoreError: it cannot be read, or is of codes of another calibration.
    """
    again = f"delete {shard} and {find_entry(shard).name}, and run their part again."
    try:
        content = json.loads(find_entry(shard).read_text(encoding="utf-8"))
        made_with, _ = content.pop("calibration"), content.pop("parts")
        entry = ShardEntry(**content)
        if [type(value) for value in vars(entry).values()] != [str, int, int, int, str]:
            raise ValueError("values of other types")
    except OSError as error:
        raise StoreError(f"{find_entry(shard)} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{find_entry(shard)} is no entry of a shard ({error}): {again}") from None
    if made_with != fingerprint_calibration(calibration):
        raise StoreError(f"{shard} was made with another calibration than the store's: {again}")
    return entry


def has_bytes(shard: Place, entry: ShardEntry) -> bool:
    """Whether a shard is there, and every byte of it is as its entry says.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return find_size(shard) == entry.bytes and compute_sha256(shard) == entry.sha256
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{shard} cannot be read: {error.strerror}.") from None


def check_shard(shard: Place, calibration: Calibration) -> ShardEntry:
    """The entry beside a shard, whose every byte is read.

    Raises:
        StoreError: the shard is not what it says, or cannot be read.
    """
    entry = read_entry(shard, calibration)
    if entry.name != shard.name or not has_bytes(shard, entry):
        again = f"delete {shard} and {find_entry(shard).name}, and run their part again."
        raise StoreError(f"{shard} is not what its entry says: {again}")
    return entry


def fingerprint_calibration(calibration: Calibration) -> str:
    """16 hexadecimal digits over the statistics that codes are made with."""
    digest = hashlib.sha256()
    for value in vars(calibration).values():
        digest.update(np.ascontiguousarray(value, "<f4").data)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def disk_errors(path: Place):
    """Turns what the file system says into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk of {path} is full; what is finished is kept: make room and run the same command again."
            ) from None
        reason = error.strerror or find_reason(error)
        raise StoreError(f"{path} cannot be written: {reason}.") from None


def lock_folder(path: Path) -> int | None:
    """Locks a folder until the descriptor that is returned is closed, or the process ends; None where locks are not
    to be had.

    Raises:
        BlockingIOError: another process, or another call, holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return None
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise
    except OSError:  # a file system without locks
        pass
    return folder


def check_free(path: Place) -> None:
    """Raises BusyError where another process is writing a store."""
    if path.is_dir():
        lock = lock_store(path)
        if lock is not None:
            os.close(lock)


def lock_store(path: Place) -> int | None:
    """Locks a store's folder as `lock_folder` does; raises BusyError where another process is writing it."""
    if not isinstance(path, Path):
        return None
    try:
        return lock_folder(path)
    except BlockingIOError:
        raise build_busy_error(path, path) from None


@contextlib.contextmanager
def hold_store(path: Place) -> Iterator[int | None]:
    """Locks a store's folder meanwhile, as `lock_store` does."""
    with disk_errors(path):
        lock = lock_store(path)
    try:
        yield lock
    finally:
        if lock is not None:
            os.close(lock)


def _check_no_strangers(path: Place) -> None:
    own = (".partial", UNFINISHED, MANIFEST)  # another process may just have begun
    strangers = sorted(entry.name for entry in path.iterdir() if not entry.name.endswith(own))
    if strangers:
        raise StoreError(f"{path} holds {strangers[0]!r} and no manifest: name an empty or a new folder.")


def _check_room(path: Place, needed: int) -> None:
    if not isinstance(path, Path):
        return
    free = shutil.disk_usage(path).free
    if needed + SPARE_BYTES > free:
        raise StoreError(
            f"the store at {path} needs {_show_bytes(needed)} and {_show_bytes(SPARE_BYTES)} beside it, the disk has "
            f"{_show_bytes(free)} free: make room, or take a codec of fewer bits, fewer layers, or tokens='cls'."
        )


def _check_begun(manifest: Manifest, spec: StoreSpec, made_with: dict[str, str], path: Place) -> None:
    """Raises StoreError where going on would not give the bytes that the store was begun for."""
    begun, now = (
        {**versions, "batch_tokens": plan.batch_tokens, "shard_rows": plan.shard_rows}
        for versions, plan in ((manifest.made_with, manifest.spec), (made_with, spec))
    )
    for name, value in begun.items():
        if now.get(name) != value:
            raise StoreError(
                f"{path} was begun with {name} {value}, now it is {now.get(name)}: the two would not give the same "
                "bytes; go on with the first, or delete the folder."
            )


def _show_bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
