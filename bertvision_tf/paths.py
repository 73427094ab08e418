"""Paths, and files of JSON, as users write them."""

import errno
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from .errors import BertvisionError

CACHE = "BERTVISION_CACHE"  # names the folder of the library's cache


def read_path(path: str | os.PathLike) -> Path:
    """A path in which ~ is the user's home folder.

    Raises:
        BertvisionError: it is no path, or ~NAME names no user.
    """
    try:
        if "\0" in (text := os.fspath(path)):
            raise ValueError("it holds a null character")
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|(s3|gs|az|hf|file|https?):/", text):  # a Path has one slash alone
            raise ValueError("it is a url, and this needs a folder or a file of this machine")
        path = Path(text).expanduser()
        if is_too_long(path):
            raise ValueError("it is longer than a path may be here")
        return path
    except (TypeError, ValueError, RuntimeError) as error:
        reason = f"got {type(path).__name__}" if isinstance(error, TypeError) else str(error).rstrip(".").lower()
        raise BertvisionError(f"{str(path)[:80]!r} is no path: {reason}.") from None


def is_too_long(path: Path) -> bool:
    """Whether the system takes no path of its length."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def find_cache() -> Path:
    """The folder for what can be made or fetched again: $BERTVISION_CACHE, or the library's in the user's caches."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "bertvision_tf"
    return read_path(os.environ.get(CACHE) or usual)


def read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON file, for `json.loads`; ValueError where a name stands there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"{next(name for name, count in counts.items() if count > 1)!r} stands there twice")
    return content
