"""What the library says beside its results: what it guessed, and what makes a score mean less than it seems."""

import os
import sys
import warnings

from .errors import write_line

PACKAGE = os.path.join(os.path.dirname(__file__), "")


class Note(UserWarning):
    """One line for the user. From Python it is a warning; the command prints it as "note: …"."""


def note(text: str) -> None:
    """Says one line, as a warning of the caller's own line: the first outside this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(write_line(text), Note, stacklevel=level)
