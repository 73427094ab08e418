"""What the library says beside its results: what it guessed, and what makes a score mean less than it seems."""

import warnings


class Note(UserWarning):
    """One line for the user. From Python it is a warning; the command prints it as "note: …"."""


def note(text: str) -> None:
    """Says one line; the same line from the same place once a process, as Python's warnings do."""
    warnings.warn(text, Note, stacklevel=3)
