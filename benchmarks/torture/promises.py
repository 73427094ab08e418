"""A promise of the library, and what tries to break it."""

import contextlib
import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

BREAK = "TORTURE_BREAK"  # names the promise whose check a child process of this takes out


class Trial:
    """What was tried on a promise, and what came of it.

    Args:
        folder: empty; for whatever is tried.
        count: how often.
        seed: of what is drawn.

    Attributes:
        tries: how often so far.
        broken: a line for each time that the promise was not kept.
        seen: how often what happened, as the table shows it.
    """

    def __init__(self, folder: Path, count: int, seed: str):
        self.folder, self.count, self.chance = folder, count, random.Random(seed)
        self.tries, self.broken, self.seen = 0, [], Counter()

    def check(self, kept: bool, what: str) -> None:
        """Counts a try; `what` says how the promise was broken."""
        self.tries += 1
        if not kept:
            self.broken.append(what)


@dataclasses.dataclass(frozen=True)
class Promise:
    """A line of the table.

    Attributes:
        name: short, for `--only`.
        text: what is promised.
        keep: tries to break it, `Trial.count` times.
        whole, quick: how often.
        without: takes the check out of the library, so that the promise has to be broken; None where nobody has found
            a single one.
    """

    name: str
    text: str
    keep: Callable[[Trial], None]
    whole: int
    quick: int
    without: Callable[[], contextlib.AbstractContextManager] | None = None
