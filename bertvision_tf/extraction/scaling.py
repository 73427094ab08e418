"""What a store costs on several devices, beside running the encoder anew for each pass: worked out from measured
rates."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

DEVICES = (1, 8, 64)
ON_A_MACHINE = 8  # devices, all that run an encoder for batches of one training
TRIED_BYTES = 256 * 2**20
PIECE = 2**24


@dataclasses.dataclass(frozen=True)
class Rates:
    """What the times are worked out from.

    Attributes:
        encoder: tokens a second of one device.
        write, read: bytes a second of the disk, of all devices together.
    """

    encoder: float
    write: float
    read: float


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a number of devices comes to. All times are seconds.

    Attributes:
        devices: how many.
        making: of the store.
        disk_bound: whether the disk takes longer over it than the encoders.
        reading: a pass over the store.
        running: a pass with no store.
        pays_from: with so many passes a store takes less time; None where it never does.
    """

    devices: int
    making: float
    disk_bound: bool
    reading: float
    running: float
    pays_from: int | None


def scale(tokens: int, stored: int, rates: Rates, devices: Sequence[int] = DEVICES) -> list[Scale]:
    """Works out what numbers of devices come to.

    Args:
        tokens: that the encoder reads in a pass.
        stored: bytes of the store.
        rates: of one device, and of the disk that all share.
        devices: how many; each makes an equal share of the store's shards. Without a store those of one machine,
            ON_A_MACHINE at most, run the encoder for the batches of a training.
    """
    found = []
    for count in devices:
        running, writing = tokens / rates.encoder / count, stored / rates.write
        making, reading = max(running, writing), stored / rates.read
        anew = tokens / rates.encoder / min(count, ON_A_MACHINE)
        pays = None
        if anew > reading:  # making + passes * reading < passes * anew
            pays = max(math.floor(making / (anew - reading)) + 1, 1)
        found.append(Scale(count, making, writing > running, reading, anew, pays))
    return found


def measure_disk(folder: Path, size: int = TRIED_BYTES) -> tuple[float, float] | None:
    """Bytes a second that a folder's disk writes, flushed, and reads, where the system forgets what it has read.

    Returns:
        None where nothing can be written there, or the system cannot be told to forget it.
    """
    if not hasattr(os, "posix_fadvise"):
        return None
    piece = np.random.default_rng(0).integers(0, 256, PIECE, np.uint8).tobytes()
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".bertvision-", buffering=0) as file:
            start = time.perf_counter()
            for _ in range(max(size // PIECE, 1)):
                file.write(piece)
            os.fsync(file.fileno())
            write = time.perf_counter() - start
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            start, done = time.perf_counter(), 0
            while part := file.read(PIECE):
                done += len(part)
            read = time.perf_counter() - start
    except OSError:
        return None
    return done / write, done / read
