"""One process of a cluster: it holds an encoder, and makes shards as they are handed to it."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from ..encoders import Encoder, Tokens
from ..errors import StoreError
from ..keras_settings import pin_keras
from ..store import PartWriter, Place, StoreSpec, read_place
from ..store.codecs import Calibration
from ..store.schema import Manifest, ShardEntry
from .devices import GPU_WORKERS
from .encode import BatchEncoder, describe_versions
from .plan import ShardWork

SEEN = 30.0  # seconds in which a shared folder shows a file that another machine has just written


class ShardWorker:
    """Makes shards, a few at a time, each in a thread of its own.

    Args:
        encoder: what is run.
        spec: what is kept.
        threads: of the processor, and batches in work at a time there.
        gpu: whether it runs on its GPUs.
    """

    def __init__(self, encoder: Encoder, spec: StoreSpec, threads: int, gpu: bool):
        self._encoder, self._spec, self._threads, self._gpu = encoder, spec, threads, gpu
        self._done, self._counting = 0, threading.Lock()

    def start(self) -> dict[str, Any]:
        """Sets the process up, and says where it is and what its bytes depend on."""
        tf.config.threading.set_intra_op_parallelism_threads(self._threads)
        if not self._gpu:
            tf.config.set_visible_devices([], "GPU")
        for device in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)  # others may have a share of it
        pin_keras()
        batches = GPU_WORKERS * len(tf.config.get_visible_devices("GPU")) or self._threads
        self._batches = BatchEncoder(self._encoder, self._spec, batches)
        return {"node": platform.node(), "versions": describe_versions(self._encoder)}

    def calibrate(self, tokens: Tokens, sample: list[np.ndarray]) -> Calibration:
        """The statistics of some batches."""
        own = BatchEncoder(self._encoder, self._spec, self._batches.workers)  # which keeps states for `encode`
        return own.calibrate(tokens, sample)

    def write(self, place: tuple[str, Manifest, str], work: ShardWork) -> ShardEntry:
        """Makes a shard, and writes it where the store lies.

        Args:
            place: where the store lies, its manifest as the driver has it, and a file that the driver has left there.
            work: the shard.

        Returns:
            its entry, or that of a process which was faster.

        Raises:
            StoreError: this machine does not see the folder, or cannot write there.
        """
        path, manifest = read_place(place[0]), place[1]
        _wait_until_seen(path, place[2])
        writer = PartWriter(path, manifest)
        return writer.write(work.number, work.rows, self._encode(work, manifest.calibration))

    def count(self) -> int:
        """Tokens that it has done."""
        return self._done

    def _encode(self, work: ShardWork, calibration: Calibration) -> Iterator[np.ndarray]:
        for tokens, encoded in self._batches.encode(work.tokens, work.batches, calibration):
            with self._counting:
                self._done += tokens
            yield encoded


def _wait_until_seen(path: Place, token: str) -> None:
    start = time.monotonic()
    while not (path / token).is_file():  # a folder of the same name may hold another store here
        if time.monotonic() - start > SEEN:
            raise StoreError(
                f"{platform.node()} does not see the store at {path}, which the driver has begun: name a folder that "
                "all machines of the cluster share."
            )
        time.sleep(0.5)
