"""How long work says how far it is: a function of what is being done, how much of it is done, and of how much."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def ignore(what: str, done: int, total: int) -> None:
    """For whoever does not want to know."""


def prefix(progress: Progress | None, name: str) -> Progress:
    """Says the name before what is being done."""
    if progress is None:
        return ignore
    return lambda what, done, total: progress(f"{name}: {what}", done, total)
