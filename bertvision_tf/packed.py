"""Long columns in little memory: of many rows they lie in files of the system's folder for temporary ones (TMPDIR),
from which the system maps into memory what is read."""

from __future__ import annotations

import array
import contextlib
import errno
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar, overload

import numpy as np

from .errors import TaskError

IN_MEMORY = 8 * 2**20  # bytes of a column
AT_ONCE = 2**20  # bytes that are written, or read
LISTED = 100_000  # rows of which texts and names are plain lists
Item = TypeVar("Item")
if TYPE_CHECKING:
    Base = Sequence
else:

    class Base(Generic[Item]):
        """No Sequence when it runs."""


class LazySequence(Base[Item]):
    """A sequence whose items are made when they are asked for; a slice of it is a list. It equals any sequence of the
    same items. For numpy and TensorFlow it is an array of them: of the abstract class Sequence TensorFlow would take
    each item for an argument."""

    def __len__(self) -> int:
        raise NotImplementedError

    def _find(self, index: int) -> Item:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._read(range(len(self))[index])
        return self._find(range(len(self))[index])

    def _read(self, places: range) -> list[Item]:
        return [self._find(place) for place in places]

    def __iter__(self) -> Iterator[Item]:
        return map(self._find, range(len(self)))

    def __contains__(self, item: object) -> bool:
        return any(one == item for one in self)

    def index(self, item: Item, start: int = 0, stop: int | None = None) -> int:
        """The place where an item comes first."""
        for place in range(len(self))[start:stop]:
            if self[place] == item:
                return place
        raise ValueError(f"{item!r} is not in it")

    def count(self, item: Item) -> int:
        """How often an item is there."""
        return sum(one == item for one in self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array([*self], dtype)

    def __add__(self, other: Iterable[Item]) -> list[Item]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Item]) -> list[Item]:
        return [*other, *self]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Sequence, LazySequence)) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self[:3]!r}, {len(self)} in all)"


class ArrayWriter:
    """Parts of an array that come one after another; in a file once they are many.

    Args:
        dtype: of its items.
        limit: bytes that stay in memory.
    """

    def __init__(self, dtype: Any, limit: int = IN_MEMORY):
        self._dtype, self._limit, self._size = np.dtype(dtype), limit, 0
        self._parts: list[np.ndarray] = []
        self._file: BinaryIO | None = None

    def append(self, part: np.ndarray) -> None:
        """Adds a part: (items, …)."""
        part = np.ascontiguousarray(part, self._dtype)
        self._parts.append(part)
        self._size += part.nbytes
        if self._size > self._limit:
            self._write()

    def finish(self) -> np.ndarray:
        """All parts as one array; read-only where it lies in a file."""
        if self._file is None:
            return np.concatenate(self._parts) if self._parts else np.zeros(0, self._dtype)
        self._write()
        with disk_errors(), self._file as file:
            file.flush()
            return np.asarray(np.memmap(file, self._dtype, "r")).reshape(-1, *self._shape)

    def _write(self) -> None:
        with disk_errors():
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="bertvision-")  # noqa: SIM115 (closed when it is mapped)
            for part in self._parts:
                self._shape = part.shape[1:]
                self._file.write(part.data)
        self._parts = []


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Turns what the file system says of the folder for temporary files into one line."""
    try:
        yield
    except OSError as error:
        remedy = "let TMPDIR name another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "let TMPDIR name a folder with more room"
        if error.errno in (errno.EMFILE, errno.ENFILE):
            remedy = "the table has many columns: leave some out, or allow more open files with ulimit -n"
        folder = tempfile.tempdir or "the folder for temporary files"  # where one was found
        raise TaskError(f"{folder} cannot be written: {error.strerror}; {remedy}.") from None


class Texts(LazySequence[str]):
    """Texts as UTF-8, one after another; made by `TextWriter`.

    Args:
        data: uint8, all bytes.
        ends: int64, (texts,), where each ends.
        places: of these texts, in order; all with None.
    """

    def __init__(self, data: np.ndarray, ends: np.ndarray, places: np.ndarray | None = None):
        self._data, self._ends, self._places = data, ends, places

    def __len__(self) -> int:
        return len(self._ends if self._places is None else self._places)

    def __iter__(self) -> Iterator[str]:
        if self._places is not None:
            yield from map(self._find, range(len(self)))
            return
        start, first = 0, 0  # a piece's first text and its first byte
        while start < len(self._ends):
            stop = max(int(np.searchsorted(self._ends, first + AT_ONCE, "right")), start + 1)
            stop = min(stop, start + AT_ONCE // 64, len(self._ends))  # of short texts not too many
            yield from self._read(range(start, stop))
            start, first = stop, int(self._ends[stop - 1])

    def _read(self, places: range) -> list[str]:
        """Neighbours are read as one piece."""
        if self._places is not None or places.step != 1 or not places:
            return super()._read(places)
        first = int(self._ends[places.start - 1]) if places.start else 0
        ends = (self._ends[places.start : places.stop] - first).tolist()
        content = self._data[first : first + ends[-1]].tobytes()
        return [content[begin:end].decode() for begin, end in zip([0, *ends], ends, strict=False)]

    def _find(self, index: int) -> str:
        place = index if self._places is None else self._places[index]
        start = self._ends[place - 1] if place else 0
        return self._data[start : self._ends[place]].tobytes().decode()

    def __reduce__(self) -> Any:
        return _pack, ([*self],)  # no more than these

    def select(self, indices: Sequence[int] | np.ndarray) -> Texts:
        """Some of them, in this order; no text is copied."""
        indices = np.asarray(indices, np.int64)
        return Texts(self._data, self._ends, indices if self._places is None else self._places[indices])


def _pack(texts: list[str]) -> Texts:
    return TextWriter(texts).finish()


class TextWriter:
    """Makes `Texts` of texts that come one by one."""

    def __init__(self, texts: Iterable[str] = ()):
        self._buffer, self._size = bytearray(), 0
        self._own_ends = array.array("q")
        self._data, self._ends = ArrayWriter(np.uint8), ArrayWriter(np.int64)
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Adds a text; UnicodeEncodeError where it has half a character."""
        data = text.encode()
        self._buffer += data
        self._size += len(data)
        self._own_ends.append(self._size)
        if len(self._buffer) + 8 * len(self._own_ends) > AT_ONCE:
            self._flush()

    def finish(self) -> Texts:
        self._flush()
        return Texts(self._data.finish(), self._ends.finish())

    def _flush(self) -> None:
        self._data.append(np.frombuffer(self._buffer, np.uint8))
        self._ends.append(np.frombuffer(self._own_ends, np.int64))
        self._buffer, self._own_ends = bytearray(), array.array("q")


class NumberedNames(LazySequence[str]):
    """Names such as train-0, train-1; each is made when it is asked for.

    Args:
        start: what they begin with.
        numbers: of each, or how many they are.
    """

    def __init__(self, start: str, numbers: int | np.ndarray):
        self._start, self._numbers = start, np.arange(numbers) if isinstance(numbers, int) else numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def _find(self, index: int) -> str:
        return f"{self._start}-{self._numbers[index]}"

    def select(self, indices: Sequence[int] | np.ndarray) -> NumberedNames:
        """Some of them, in this order."""
        return NumberedNames(self._start, self._numbers[np.asarray(indices, np.int64)])

    @property
    def unique(self) -> bool:
        """Whether all differ."""
        return len(np.unique(self._numbers)) == len(self._numbers)


class ByteNames(LazySequence[str]):
    """Names of an array of UTF-8 bytes, dtype S, (names,)."""

    def __init__(self, names: np.ndarray):
        self._names = names

    def __len__(self) -> int:
        return len(self._names)

    def _find(self, index: int) -> str:
        return self._names[index].decode()


class Numbers(LazySequence[int]):
    """Whole numbers in eight bytes each."""

    def __init__(self, numbers: array.array):
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def _find(self, index: int) -> int:
        return self._numbers[index]


def list_short(column: Sequence[Item]) -> Sequence[Item]:
    """A list of the items, where they are not many."""
    return [*column] if len(column) <= LISTED else column


def pick(column: Sequence[Item], indices: Sequence[int] | np.ndarray) -> Sequence[Item]:
    """The items of a column at `indices`, in that order."""
    select = getattr(column, "select", None)
    return select(indices) if select is not None else [column[index] for index in indices]
