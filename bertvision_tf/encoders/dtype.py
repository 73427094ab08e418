"""Which type matrix products are fast in on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .encoder import Encoder

AUTO = "auto"
MARGIN = 1.2  # how many times as fast bfloat16 has to be: a close race would end differently from run to run
GPU_CAPABILITY = (8, 0)  # from which on GPUs multiply it
CPU_FLAGS = ("amx_bf16", "avx512_bf16")  # of processors that multiply bfloat16; others only imitate it


def choose_dtype(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """Chooses "bfloat16" where a GPU or the processor multiplies it, else "float32".

    A processor that imitates bfloat16 fine-tunes in it several times as slowly as in float32.

    Args:
        cpu_info: the system's file of the processor's flags; without one (elsewhere than on Linux) "float32" is chosen.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        return "bfloat16" if min(found) >= GPU_CAPABILITY else "float32"
    try:
        flags = cpu_info.read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    return "bfloat16" if set(CPU_FLAGS) & set(flags) else "float32"


def measure_dtype(encoder: Encoder, seconds: float = 1.0) -> str:
    """Measures in which type an encoder is faster on this machine: "bfloat16" from 1.2 times on, else "float32".

    Where `choose_dtype` knows that bfloat16 is only imitated, nothing is run and float32 is chosen. The engine is the
    encoder's.

    Args:
        encoder: of any type; it runs over texts of 128 tokens (fewer where it takes no more), in batches of 2,048, on a
            GPU of 16,384.
        seconds: for each type, after a first batch that is not counted.
    """
    if choose_dtype() == "float32":
        return "float32"
    float32, bfloat16 = (_count_batches(encoder.change(dtype=dtype), seconds) for dtype in ("float32", "bfloat16"))
    return "bfloat16" if bfloat16 >= MARGIN * float32 else "float32"


def _count_batches(encoder: Encoder, seconds: float) -> float:
    """Batches a second."""
    import tensorflow as tf

    texts = 128 if tf.config.list_physical_devices("GPU") else 16
    shape = (texts, encoder.choose_length(None, 128))
    ids = np.random.default_rng(0).integers(encoder.architecture.vocabulary_size, size=shape)
    tokens = {"token_ids": ids, "segment_ids": np.zeros(shape, int), "padding_mask": np.ones(shape, int)}
    encoder.hidden_state_rows(tokens)
    start, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - start < seconds:
        encoder.hidden_state_rows(tokens)
        done += 1
    return done / (time.perf_counter() - start)
