"""Stores that lie in object storage: s3://, gs:// and az://, through obstore.

`CloudPath` does what the store needs of a `Path`. An object is put whole or not at all. There are no locks: a shard is
put only where there is none, and a manifest replaces only the one that its writer has read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fnmatch
import functools
import hashlib
import io
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import StoreError
from ..paths import read_path

SCHEMES = ("s3", "gs", "az")
REQUEST = datetime.timedelta(minutes=10)  # that one request may take: a shard has 128 MiB
RETRIES: Any = {"max_retries": 10}  # of a request, in three minutes
PIECE = 8 * 2**20  # bytes of a download at a time


def read_place(path: str | os.PathLike | CloudPath, cache: ShardCache | None = None) -> Path | CloudPath:
    """Where a store lies: a folder, by its path or file:// URL, or objects under a URL of SCHEMES.

    Args:
        path: where.
        cache: keeps shards of object storage that are read on this machine.

    Raises:
        BertvisionError: it is neither.
    """
    if isinstance(path, CloudPath):
        return path
    parts = urlsplit(path) if isinstance(path, str) else None
    if parts is not None and parts.scheme in SCHEMES and "://" in str(path):
        if not parts.netloc or parts.query or parts.fragment:
            raise StoreError(f"{path} is no place of a store: it needs a bucket and a path, as in s3://bucket/states.")
        return CloudPath(f"{parts.scheme}://{parts.netloc}", parts.path.strip("/"), cache)
    if parts is not None and parts.scheme == "file" and str(path).startswith("file:///"):
        return read_path(unquote(parts.path))
    if parts is not None and "://" in str(path):
        known = ", ".join(f"{scheme}://" for scheme in (*SCHEMES, "file"))
        raise StoreError(f"{path} is no place of a store: known are folders and {known}.")
    return read_path(path)


class Changed(Exception):
    """An object is not the one that was read before."""


@dataclasses.dataclass(frozen=True)
class CloudPath:
    """An object, or what stands for a folder of objects; with as much of a `Path` as stores use.

    Attributes:
        bucket: as in s3://bucket.
        key: the rest of the URL.
        cache: keeps shards that are read on this machine; none with None.
        tags: of objects that were read or written through this folder: which version each was, by its key.
    """

    bucket: str
    key: str
    cache: ShardCache | None = dataclasses.field(default=None, compare=False, repr=False)
    tags: dict[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    def __truediv__(self, name: str) -> CloudPath:
        return dataclasses.replace(self, key=f"{self.key}/{name}".strip("/"))

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    @property
    def parent(self) -> CloudPath:
        return dataclasses.replace(self, key=self.key.rpartition("/")[0])

    def with_suffix(self, suffix: str) -> CloudPath:
        return self.parent / (self.stem + suffix)

    def absolute(self) -> CloudPath:
        return self

    resolve = absolute

    def is_relative_to(self, other: Path) -> bool:
        """Whether it lies in a folder of this machine: never."""
        return False

    def mkdir(self, **_: Any) -> None:
        """Nothing: there are no folders."""

    def is_dir(self) -> bool:
        """Whether it is a folder, which could be locked: never."""
        return False

    def is_file(self) -> bool:
        return self.find_size() is not None

    def find_size(self) -> int | None:
        """Bytes; None where there is no such object."""
        try:
            with _cloud_errors(self):
                return _obstore().head(_connect(self.bucket), self.key)["size"]
        except FileNotFoundError:
            return None

    def iterdir(self) -> Iterator[CloudPath]:
        """The objects in the folder itself."""
        with _cloud_errors(self):
            found = _obstore().list_with_delimiter(_connect(self.bucket), self.key or None)
        for one in sorted(one["path"] for one in found["objects"]):
            yield self / one.rpartition("/")[2]

    def glob(self, pattern: str) -> Iterator[CloudPath]:
        """The objects in the folder itself whose name is of a pattern."""
        return (one for one in self.iterdir() if fnmatch.fnmatchcase(one.name, pattern))

    def read_bytes(self) -> bytes:
        with _cloud_errors(self):
            found = _obstore().get(_connect(self.bucket), self.key)
            self.tags[self.key] = found.meta["e_tag"]
            return bytes(found.bytes())

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_start(self, count: int) -> tuple[bytes, int]:
        """The first bytes, and how many there are in all."""
        with _cloud_errors(self):
            if count == 0:
                return b"", _obstore().head(_connect(self.bucket), self.key)["size"]
            found = _obstore().get(_connect(self.bucket), self.key, options={"range": (0, count)})
            return bytes(found.bytes()), found.meta["size"]

    def read_ranges(self, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """The bytes of several ranges; near ones come in one request."""
        with _cloud_errors(self):
            found = _obstore().get_ranges(_connect(self.bucket), self.key, starts=starts, ends=ends)
            return [bytes(part) for part in found]

    def stream(self) -> Iterator[bytes]:
        """All bytes, piece by piece."""
        with _cloud_errors(self):
            for piece in _obstore().get(_connect(self.bucket), self.key).stream(min_chunk_size=PIECE):
                yield bytes(piece)

    def compute_sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.stream():
            digest.update(piece)
        return digest.hexdigest()

    def put_new(self, content: bytes) -> bool:
        """Puts an object, unless there is one: whether it did."""
        return self._put(content, "create", _errors().AlreadyExistsError)

    def put(self, content: bytes) -> None:
        """Puts an object, whatever is there."""
        self._put(content, "overwrite", ())

    def replace(self, content: bytes) -> None:
        """Puts an object in place of the one that was read or written through the same folder.

        Raises:
            Changed: another process has replaced it since, or it is gone.
        """
        tag = self.tags.get(self.key)
        errors = (_errors().PreconditionError, _errors().NotFoundError, FileNotFoundError)
        if self._put(content, "overwrite" if tag is None else {"e_tag": tag}, errors):
            return
        with contextlib.suppress(FileNotFoundError):
            if self.read_bytes() == content:  # a request that was answered with an error, and sent again
                return
        raise Changed(str(self))

    def _put(self, content: bytes, mode: Any, lost: Any) -> bool:
        with _cloud_errors(self):
            try:
                found = _obstore().put(
                    _connect(self.bucket), self.key, io.BytesIO(content), mode=mode, use_multipart=False
                )
            except lost:
                return False
        self.tags[self.key] = found["e_tag"]
        return True

    def unlink(self, missing_ok: bool = False) -> None:
        with _cloud_errors(self), contextlib.suppress(FileNotFoundError):
            _obstore().delete(_connect(self.bucket), self.key)


@contextlib.contextmanager
def as_file(file: Path | CloudPath) -> Iterator[Path]:
    """A file of this machine with the same bytes: the file itself, or a copy while it is needed."""
    if isinstance(file, Path):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="bertvision-") as folder:
        copy = Path(folder) / file.name
        with open(copy, "wb") as stream:
            for piece in file.stream():
                stream.write(piece)
        yield copy


class ShardCache:
    """Whole shards in a folder of this machine, at most so many bytes; those that were used longest ago go first.

    Processes and stores may share one. A shard is checked against its SHA-256 when it comes.

    Args:
        folder: where; made if it is not there.
        limit: bytes.
    """

    def __init__(self, folder: str | Path, limit: int):
        self._folder, self._limit = read_path(folder), limit

    def find(self, shard: CloudPath, size: int, sha256: str) -> Path:
        """The file of a shard, downloaded where it is not there.

        Raises:
            StoreError: it is damaged, larger than the whole cache, or cannot be read or written.
        """
        file = self._folder / f"{sha256}.h5"
        try:
            os.utime(file)
            return file
        except OSError:
            pass
        if size > self._limit:
            raise StoreError(f"{shard} has {size} bytes, the cache {self._folder} is for {self._limit}: give it more.")
        staging = self._folder / f".{uuid.uuid4().hex}.part"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            digest = hashlib.sha256()
            with open(staging, "wb") as stream:
                for piece in shard.stream():
                    stream.write(piece)
                    digest.update(piece)
            if digest.hexdigest() != sha256:
                raise StoreError(f"{shard} is damaged: its SHA-256 is not the manifest's. Delete it and extract again.")
            os.replace(staging, file)
        except OSError as error:
            raise StoreError(f"{shard} cannot be kept in {self._folder}: {error.strerror or error}.") from None
        finally:
            staging.unlink(missing_ok=True)
        return file

    def _make_room(self, size: int) -> None:
        found = []
        for file in self._folder.glob("*.h5"):
            with contextlib.suppress(OSError):  # another process has just removed it
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_size, file))
        kept = sum(held for _, held, _ in found)
        for _, held, file in sorted(found):
            if kept + size <= self._limit:
                break
            file.unlink(missing_ok=True)
            kept -= held


@functools.cache
def _connect(bucket: str) -> Any:
    """The bucket, with the credentials and the endpoint that the environment names."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise StoreError(f"{bucket} needs obstore: pip install 'bertvision-tf[cloud]'.") from None
    with _cloud_errors(bucket):
        return from_url(bucket, client_options={"timeout": REQUEST, "allow_http": True}, retry_config=RETRIES)


def _obstore() -> Any:
    try:
        import obstore
    except ImportError:
        raise StoreError("object storage needs obstore: pip install 'bertvision-tf[cloud]'.") from None
    return obstore


def _errors() -> Any:
    _obstore()
    import obstore.exceptions

    return obstore.exceptions


@contextlib.contextmanager
def _cloud_errors(place: Any) -> Iterator[None]:
    """Turns what obstore raises into one line; an object that is not there stays FileNotFoundError."""
    try:
        yield
    except (FileNotFoundError, StoreError):
        raise
    except Exception as error:
        if not isinstance(error, (_errors().BaseError, OSError, ValueError)):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
        raise StoreError(f"{place} cannot be reached: {reason}.") from None
