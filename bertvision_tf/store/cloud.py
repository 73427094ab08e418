"""Stores that lie in object storage: s3://, gs:// and az://, through obstore.

`CloudPath` does what the store needs of a `Path`. An object is put whole or not at all. There are no locks: a shard is
put only where there is none, and a manifest replaces only the one that its writer has read.

Over 300 lines, since whatever knows obstore stands here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import fnmatch
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..errors import StoreError
from ..paths import read_path

if TYPE_CHECKING:
    from .cache import ShardCache

SCHEMES = ("s3", "gs", "az")
NO_STORE = "none"  # instead of a place, where no states are kept
REQUEST = datetime.timedelta(minutes=10)  # that one request may take: a shard has 128 MiB
RETRIES: Any = {"max_retries": 10}  # of a request, in three minutes
CONFLICTS = 3  # times that an object is put which is neither there nor may be put
PIECE = 8 * 2**20  # bytes of a download at a time
CONNECTED: dict[str, int] = {}  # processes, by bucket


def read_place(path: str | os.PathLike | CloudPath, cache: ShardCache | None = None) -> Place:
    """Where a store lies: a folder, by its path or file:// URL, or objects under a URL of SCHEMES.

    Args:
        path: where.
        cache: keeps shards of object storage that are read on this machine.

    Raises:
        BertvisionError: it is neither.
    """
    if path == NO_STORE:
        return read_folder(path)  # which says so
    if isinstance(path, CloudPath):
        return path if cache is None else dataclasses.replace(path, cache=cache)
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


def read_folder(path: str | os.PathLike) -> Path:
    """The folder of stores, for what cannot do without one.

    Raises:
        BertvisionError: it is object storage, or no place at all.
    """
    if path == NO_STORE:
        raise StoreError(f"{path!r} keeps no states, which only `train` and `compare` can do: name a folder.")
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
        tags: of objects that were read or written through this folder: which version each was, by its key, as obstore
            takes it.
    """

    bucket: str
    key: str
    cache: ShardCache | None = dataclasses.field(default=None, compare=False, repr=False)
    tags: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict, compare=False, repr=False)

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

    def check_process(self) -> None:
        """Raises StoreError where this process was forked from one that has connected: requests would hang."""
        _connect(self.bucket)

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
        start = f"{self.key}/" if self.key else ""
        for one in sorted(one["path"] for one in found["objects"]):
            if one.startswith(start) and one != start:  # some tools put an object for the folder itself
                yield self / one.removeprefix(start)

    def glob(self, pattern: str) -> Iterator[CloudPath]:
        """The objects in the folder itself whose name is of a pattern."""
        return (one for one in self.iterdir() if fnmatch.fnmatchcase(one.name, pattern))

    def read_bytes(self) -> bytes:
        with _cloud_errors(self):
            found = _obstore().get(_connect(self.bucket), self.key)
            self.tags[self.key] = _read_tag(found.meta)
            return bytes(found.bytes())

    def read_if_there(self) -> bytes | None:
        """Its bytes; None where there is no such object, or none that may be read: whoever may not list the objects is
        refused instead of told that there is none."""
        try:
            with _cloud_errors(self):
                try:
                    return bytes(_obstore().get(_connect(self.bucket), self.key).bytes())
                except _errors().PermissionDeniedError:
                    return None
        except FileNotFoundError:
            return None

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_start(self, count: int) -> tuple[bytes, int, str | None]:
        """The first bytes, how many there are in all, and the version of the object."""
        with _cloud_errors(self):
            if count == 0:
                meta = _obstore().head(_connect(self.bucket), self.key)
                return b"", meta["size"], meta["e_tag"]
            found = _obstore().get(_connect(self.bucket), self.key, options={"range": (0, count)})
            return bytes(found.bytes()), found.meta["size"], found.meta["e_tag"]

    def read_range(self, start: int, end: int, version: str | None) -> bytes:
        """The bytes of a range.

        Raises:
            Changed: the object is of another version.
        """
        options = {"range": (start, end)} | ({} if version is None else {"if_match": version})
        with _cloud_errors(self):
            try:
                return bytes(_obstore().get(_connect(self.bucket), self.key, options=options).bytes())
            except _errors().PreconditionError:
                raise Changed(str(self)) from None

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
        for _ in range(CONFLICTS):
            if self._put(content, "create", _errors().AlreadyExistsError):
                return True
            if self.is_file():
                return False
        raise StoreError(f"{self} cannot be put: the server says that it is there, and it is not.")

    def put(self, content: bytes) -> None:
        """Puts an object, whatever is there."""
        self._put(content, "overwrite", ())

    def replace(self, content: bytes) -> None:
        """Puts an object in place of the one that was read or written through the same folder.

        Raises:
            Changed: another process has replaced it since, or it is gone.
        """
        tag = self.tags.get(self.key)
        if not tag:
            raise StoreError(f"{self} cannot be replaced: the server does not say which version it is (ETag).")
        if self._put(content, tag, (_errors().PreconditionError, _errors().NotFoundError, FileNotFoundError)):
            return
        with contextlib.suppress(FileNotFoundError):
            if self.read_bytes() == content:  # a request that was answered with an error, and sent again
                return
        self.tags[self.key] = tag  # not that of another process
        raise Changed(str(self))

    def _put(self, content: bytes, mode: Any, lost: Any) -> bool:
        with _cloud_errors(self):
            try:
                found = _obstore().put(_connect(self.bucket), self.key, content, mode=mode, use_multipart=False)
            except lost:
                return False
        self.tags[self.key] = _read_tag(found)
        return True

    def unlink(self, missing_ok: bool = False) -> None:
        with _cloud_errors(self), contextlib.suppress(FileNotFoundError):
            _obstore().delete(_connect(self.bucket), self.key)


Place = Path | CloudPath  # of a store, or of a file of it


@contextlib.contextmanager
def as_file(file: Place) -> Iterator[Path]:
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


def _connect(bucket: str) -> Any:
    """The bucket, with the credentials and the endpoint that the environment names.

    Raises:
        StoreError: this process was forked from one that has connected: requests would hang.
    """
    if CONNECTED.setdefault(bucket, os.getpid()) != os.getpid():
        raise StoreError(f"{bucket} was used by the process that this one was forked from: start it with spawn.")
    return _open_bucket(bucket)


def _read_tag(meta: Any) -> dict[str, str]:
    """Which version an object is; Google's storage goes by numbers beside the ETag."""
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


@functools.cache
def _open_bucket(bucket: str) -> Any:
    with _cloud_errors(bucket):
        return _obstore().store.from_url(
            bucket, client_options={"timeout": REQUEST, "allow_http": True}, retry_config=RETRIES
        )


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise StoreError("object storage needs obstore: pip install 'bertvision-tf[cloud]'.") from None
    return obstore


def _errors() -> Any:
    return _obstore().exceptions


@contextlib.contextmanager
def _cloud_errors(place: Any) -> Iterator[None]:
    """Turns what obstore raises into one line; an object that is not there stays FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such object", str(place)) from None
    except (StoreError, Changed):
        raise
    except Exception as error:
        if not isinstance(error, (_errors().BaseError, OSError, ValueError)):
            raise
        text = str(error)
        said = re.findall(r"<(?:Code|Message)>([^<]+)<", text)  # by S3, in XML
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = (": ".join(said[:2]) or (lines[0] if lines else type(error).__name__))[:300].rstrip(".")
        raise StoreError(f"{place} cannot be reached: {reason}.") from None
