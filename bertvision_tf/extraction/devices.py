"""Where extraction runs: a copy of the encoder on each GPU, or the processor."""

from __future__ import annotations

import os
import queue
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ..encoders import Encoder

BATCH_TOKENS = 2048
GPU_BATCH_TOKENS, GPU_BATCH_BYTES = 2**15, 2**28  # a GPU is done with small batches before the next one arrives
GPU_WORKERS = 2  # one batch is copied while the other is computed


class Copies:
    """An encoder with a copy on each GPU, where there are several; a batch runs on the copy that is free first.

    Args:
        encoder: whose states.
        workers: batches in work at a time.

    Attributes:
        count: how many there are.
    """

    def __init__(self, encoder: Encoder, workers: int):
        gpus = list_gpus()
        copies = [encoder.on_device(gpu) for gpu in gpus] if len(gpus) > 1 else [encoder]
        self.count = len(copies)
        self._free: queue.SimpleQueue[Encoder] = queue.SimpleQueue()
        for worker in range(workers):
            self._free.put(copies[worker % len(copies)])

    def hidden_state_rows(self, tokens: Mapping[str, np.ndarray], **options: Any) -> np.ndarray:
        """As an encoder's; waits while `workers` batches are in work."""
        copy = self._free.get()
        try:
            return copy.hidden_state_rows(tokens, **options)
        finally:
            self._free.put(copy)


def list_gpus() -> list[str]:
    """The names of the GPUs that TensorFlow runs on."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def count_workers() -> int:
    """Batches in work at a time where nobody says: the processor's cores, at most 4; two a GPU, whose are large."""
    return GPU_WORKERS * len(list_gpus()) or min(os.cpu_count() or 1, 4)


def count_batch_tokens(encoder: Encoder, gpu: bool | None = None) -> int:
    """Padded cells of a batch where nobody says; on a GPU as many as have GPU_BATCH_BYTES of float32 states.

    Args:
        encoder: what is run.
        gpu: whether on a GPU; on what this process has with None.
    """
    if not (list_gpus() if gpu is None else gpu):
        return BATCH_TOKENS
    cell = 4 * encoder.num_hidden_states * encoder.hidden_dim
    return min(max(GPU_BATCH_BYTES // cell, BATCH_TOKENS), GPU_BATCH_TOKENS)


def rounds_on_device() -> bool:
    """Whether states are rounded to a codec's steps in the graph: on a GPU, which then sends a quarter of the bytes. On
    a processor numpy rounds them in parts that stay in its cache."""
    return bool(list_gpus())
