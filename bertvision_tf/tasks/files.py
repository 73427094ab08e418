"""Texts of the user's, and files of them."""

from __future__ import annotations

import codecs
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import BertvisionError, TaskError
from ..packed import Texts, disk_errors
from .row_streams import is_tf_dataset, walk_texts

OTHER_KINDS = {  # by how a file begins
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV in UTF-8",
}
MARKS = {  # by which other encodings begin; UTF-32's first, which begin as UTF-16's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
LONGEST = 2**24  # bytes of a line or a cell; reading one may take a hundred times its memory
HALF = "has half a character, a surrogate without its partner"


def is_whole(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON may hold halves of characters, as in "\\ud83d" alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fold_texts(texts: Iterable[str]) -> tuple[str, ...]:
    """A row's texts without what most readers overlook: in small letters, with single blanks of one kind."""
    return tuple(" ".join(text.lower().split()) for text in texts)


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, with or without a byte-order mark.

    Raises:
        TaskError: it cannot be read, or is not UTF-8; then the line is named.
    """
    try:
        content = path.read_bytes()
        other = _name_start(content, OTHER_KINDS)
        if other:
            raise TaskError(f"{path} is {other}.")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        other = _name_start(error.object, MARKS)
        reason = f"it is {other}" if other else error.reason
        raise TaskError(f"{path}, line {line}: not UTF-8 ({reason}); save the file as UTF-8.") from None


def _name_start(content: bytes, names: Mapping[bytes, str]) -> str | None:
    """What a file is called by how it begins."""
    return next((name for start, name in names.items() if content.startswith(start)), None)


class TextFile:
    """The lines of a UTF-8 file, with or without a byte-order mark.

    Args:
        path: the file; of what can be read only once, such as a pipe, a copy is kept in a temporary file.
        carriage_returns: whether lines of a file that has no line feed end with carriage returns.

    Raises:
        TaskError: it cannot be read.
    """

    def __init__(self, path: Path, carriage_returns: bool = True):
        self._path = path
        try:
            self._stream: BinaryIO = open(path, "rb")  # noqa: SIM115 (read several times)
            if not self._stream.seekable():
                with self._stream as pipe, disk_errors():
                    self._stream = tempfile.TemporaryFile(prefix="bertvision-")  # noqa: SIM115
                    shutil.copyfileobj(pipe, self._stream)
                    self._stream.flush()
            self._old = carriage_returns and not any(b"\n" in piece for piece in self._read_pieces())
            start = self._read_start()
        except OSError as error:
            raise TaskError(f"{path} cannot be read: {error.strerror or error}.") from None
        other, mark = _name_start(start, OTHER_KINDS), _name_start(start, MARKS)
        if other or mark:
            self.close()
        if other:
            raise TaskError(f"{path} is {other}.")
        if mark:
            raise TaskError(f"{path}, line 1: not UTF-8 (it is {mark}); save the file as UTF-8.")
        self._first = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0

    def walk(self) -> Iterator[str]:
        """The lines from the first one on, each with a line feed at its end but the last one, which may have none.

        Raises:
            TaskError: it is not UTF-8, or too long; the line is named.
        """
        self._stream.seek(self._first)
        lines = self._split_at_returns() if self._old else iter(lambda: self._stream.readline(LONGEST + 1), b"")
        for number, line in enumerate(lines, start=1):
            if len(line) > LONGEST:
                raise TaskError(f"{self._path}, line {number}: it is longer than {LONGEST} bytes.")
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise TaskError(
                    f"{self._path}, line {number}: not UTF-8 ({error.reason}); save the file as UTF-8."
                ) from None

    def _split_at_returns(self) -> Iterator[bytes]:
        left = b""
        while piece := self._stream.read(2**20):
            *lines, left = (left + piece).split(b"\r")
            yield from (line + b"\n" for line in lines)
            if len(left) > LONGEST:
                break
        if left:
            yield left

    def close(self) -> None:
        self._stream.close()

    def _read_pieces(self) -> Iterator[bytes]:
        self._stream.seek(0)
        return iter(lambda: self._stream.read(2**20), b"")

    def _read_start(self) -> bytes:
        self._stream.seek(0)
        return self._stream.read(max(map(len, (*OTHER_KINDS, *MARKS))))


def list_texts(texts: Iterable[str], name: str, error: type[BertvisionError] = TaskError) -> Sequence[str]:
    """Texts of the user's as a list; those of a table as they are.

    Args:
        texts: a list, a generator, a column of any library, a `tf.data.Dataset` of texts.
        name: of the argument, for errors.
        error: what is raised.

    Raises:
        error: it is one text; a table or a mapping, whose names would be taken for texts; a set, which has no order;
            or holds something that is no text, whose row is named.
    """
    if isinstance(texts, Texts):
        return texts
    if isinstance(texts, (str, bytes)):
        raise error(f"`{name}` needs a list of strings, got one string: put it in a list.")
    if is_tf_dataset(texts):
        try:
            texts = list(walk_texts(texts))
        except TaskError as reason:
            raise error(f"`{name}`: {reason}") from None
    if isinstance(texts, Mapping) or hasattr(texts, "columns") or hasattr(texts, "column_names"):
        raise error(f"`{name}` needs a list of strings, got a {type(texts).__name__}: name one of its columns.")
    if isinstance(texts, (set, frozenset)):
        raise error(f"`{name}` needs texts in an order, got a {type(texts).__name__}: put them in a list.")
    found: list[Any] = texts.to_pylist() if hasattr(texts, "to_pylist") else []
    if not hasattr(texts, "to_pylist"):
        try:
            found = list(texts)
        except TypeError:
            raise error(f"`{name}` needs a list of strings, got {type(texts).__name__}.") from None
    for row, text in enumerate(found):
        if not isinstance(text, str):
            shown = " ".join(repr(text).split())[:40]
            raise error(f"`{name}` needs strings, each one; row {row} is {shown} ({type(text).__name__}).")
        if not is_whole(text):
            raise error(f"`{name}`, row {row}: {text[:40]!r} {HALF}.")
    return found
