"""Writes a store shard by shard, and goes on with one that was left unfinished."""

import contextlib
import dataclasses
import errno
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from ..errors import StoreError
from .codecs import Calibration, get_codec
from .schema import MANIFEST, Manifest, ShardEntry, StoreSpec, read_manifest, write_manifest, write_whole
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
        made_with: versions, device type, dtype.
        truncated: texts that were cut.
        num_shards: shards of the whole store.
        total_rows: rows of the whole store, for the room it needs on the disk.
        calibrate: called where the store is new, gives the statistics of a sample.

    Raises:
        StoreError: the folder holds another store, or was begun with other versions, or cannot be written, or the
            disk is too full.
    """

    def __init__(
        self,
        path: Path,
        spec: StoreSpec,
        *,
        made_with: dict[str, str],
        truncated: int,
        num_shards: int,
        total_rows: int,
        calibrate: Callable[[], Calibration],
    ):
        self.path = path
        self.codec = get_codec(spec.codec)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_store(path)
        try:
            with disk_errors(path):
                if (path / MANIFEST).is_file():
                    self.manifest = read_manifest(path)
                    self.manifest.spec.check_same(spec, path)
                    if not self.manifest.complete:
                        _check_begun(self.manifest, spec, made_with, path)
                else:
                    _check_no_strangers(path)
                    _check_room(path, total_rows * self.codec.row_bytes(spec.num_hidden_states, spec.hidden_dim))
                    self.manifest = Manifest(spec, made_with, truncated, calibrate(), num_shards)
                    write_manifest(path, self.manifest)
                for partial in path.glob(".*.partial"):
                    partial.unlink()
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

    def adopt(self, rows: ShardRows) -> bool:
        """Enters the next shard in the manifest if its file already has its final name and holds these rows."""
        file = self.path / name_shard(self.next_shard)
        if not holds(file, rows):
            return False
        with disk_errors(self.path):
            self._enter(file, rows, compute_sha256(file))
        return True

    def write_shard(self, rows: ShardRows, batches: Iterator[np.ndarray]) -> None:
        """Writes the next shard: `batches` are its encoded states in order, each (rows, states, width)."""
        file = self.path / name_shard(self.next_shard)
        with disk_errors(self.path):
            sha256 = write_whole(file, build_shard(self.manifest.spec, rows, batches))
            self._flush_folder()  # so that no manifest names a shard that is not there, even after a power cut
            self._enter(file, rows, sha256)

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _flush_folder(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):  # not every file system can
                os.fsync(self._lock)

    def _enter(self, file: Path, rows: ShardRows, sha256: str) -> None:
        entry = ShardEntry(
            name=file.name,
            examples=len(rows.lengths),
            rows=len(rows.token_ids),
            bytes=file.stat().st_size,
            sha256=sha256,
        )
        self.manifest = dataclasses.replace(self.manifest, shards=(*self.manifest.shards, entry))
        write_manifest(self.path, self.manifest)
        find_entry(file).unlink(missing_ok=True)  # of a process that wrote a part of the store


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
    assert written == shape[0]


def compute_sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def holds(file: Path, rows: ShardRows) -> bool:
    """Whether a file is a shard of these rows, as far as can be seen without the encoder."""
    try:
        with h5py.File(file, "r") as shard:
            return all(np.array_equal(shard[name][()], value) for name, value in rows.datasets().items())
    except (OSError, KeyError, RuntimeError):
        return False


def name_shard(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:05d}.h5"


def find_entry(shard: Path) -> Path:
    """Where the entry of a shard lies that is not in the manifest yet, where several processes write a store."""
    return shard.with_suffix(".json")


@contextlib.contextmanager
def disk_errors(path: Path):
    """Turns what the file system says into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"the disk of {path} is full; what is finished is kept: make room and run the same command again."
            ) from None
        reason = error.strerror or str(error).splitlines()[0]
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


def check_free(path: Path) -> None:
    """Raises BusyError where another process is writing a store."""
    if path.is_dir():
        lock = lock_store(path)
        if lock is not None:
            os.close(lock)


def lock_store(path: Path) -> int | None:
    """Locks a store's folder as `lock_folder` does; raises BusyError where another process is writing it."""
    try:
        return lock_folder(path)
    except BlockingIOError:
        raise build_busy_error(path, path) from None


def _check_no_strangers(path: Path) -> None:
    strangers = sorted(entry.name for entry in path.iterdir() if not entry.name.endswith(".partial"))
    if strangers:
        raise StoreError(f"{path} holds {strangers[0]!r} and no manifest: name an empty or a new folder.")


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if needed + SPARE_BYTES > free:
        raise StoreError(
            f"the store at {path} needs {_show_bytes(needed)} and {_show_bytes(SPARE_BYTES)} beside it, the disk has "
            f"{_show_bytes(free)} free: make room, or take a codec of fewer bits, fewer layers, or tokens='cls'."
        )


def _check_begun(manifest: Manifest, spec: StoreSpec, made_with: dict[str, str], path: Path) -> None:
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
