"""Waits for what another process is writing, and says for whom."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import BusyError
from ..notes import note

Made = TypeVar("Made")
WAIT = 0.5  # seconds between two looks
LOCKS = Path("/proc/locks")


def wait_for(make: Callable[[], Made]) -> Made:
    """What `make` gives. Where another process is writing it, that one ends first; a line says which.

    Raises:
        BusyError: this process itself is writing it.
    """
    said: list[tuple[str, int | None]] = []
    while True:
        try:
            return make()
        except BusyError as error:
            if error.holder == os.getpid():
                raise
            found = str(error), error.holder
            if not said or (error.holder is not None and found not in said):
                said.append(found)
                which = "it" if error.holder is None else f"process {error.holder}"
                note(f"{found[0].removesuffix('.')}: waiting until {which} ends.")
        time.sleep(WAIT)


def build_busy_error(path: Path, locked: Path) -> BusyError:
    """The error that a folder is being written, with the number of the process that does it, where the system says so.

    Args:
        path: what is being written.
        locked: the folder whose lock that process holds.
    """
    return BusyError(f"{path} is being written by another process.", _find_holder(locked))


def _find_holder(folder: Path) -> int | None:
    try:
        inode = folder.stat().st_ino
        for line in LOCKS.read_text().splitlines():
            fields = line.split()  # as in "1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF"
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
                return int(fields[4])
    except (OSError, IndexError, ValueError):
        pass  # no Linux, or another form
    return None
