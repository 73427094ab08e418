"""Paths as users write them."""

import os
from pathlib import Path

from .errors import BertvisionError


def read_path(path: str | os.PathLike) -> Path:
    """A path in which ~ is the user's home folder.

    Raises:
        BertvisionError: it is no path, or ~NAME names no user.
    """
    try:
        if "\0" in (text := os.fspath(path)):
            raise ValueError("it holds a null character")
        return Path(text).expanduser()
    except (TypeError, ValueError, RuntimeError) as error:
        reason = f"got {type(path).__name__}" if isinstance(error, TypeError) else str(error).rstrip(".").lower()
        raise BertvisionError(f"{str(path)[:80]!r} is no path: {reason}.") from None
