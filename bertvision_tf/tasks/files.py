"""Texts of the user's, and files of them."""

from pathlib import Path

from ..errors import TaskError

HALF = "has half a character, a surrogate without its partner"


def is_whole(text: str) -> bool:
    """Whether a text can be written as UTF-8: JSON may hold halves of characters, as in "\\ud83d" alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, with or without a byte-order mark.

    Raises:
        TaskError: it cannot be read, or is not UTF-8; then the line is named.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise TaskError(f"{path}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8.") from None
