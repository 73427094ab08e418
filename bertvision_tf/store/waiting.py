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
        status = folder.stat()
        locks = [line.split() for line in LOCKS.read_text().splitlines()]
        # each as in "1: FLOCK ADVISORY WRITE 1234 08:01:5678 0 EOF"; some file systems show another device here
        of_inode = {
            fields[5]: int(fields[4])
            for fields in locks
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(status.st_ino)
        }
    except (OSError, IndexError, ValueError):
        return None  # no Linux, or another form
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return of_inode.get(place, next(iter(of_inode.values()), None))
