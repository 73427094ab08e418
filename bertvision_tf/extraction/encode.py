"""Batches of tokens → their hidden states, as a store keeps them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TypeVar

import numpy as np

from ..encoders import OPENVINO, XLA, Encoder, Tokens
from ..errors import StoreError
from ..store import StoreSpec, get_codec
from ..store.codecs import Calibration
from .devices import Copies, count_workers, list_gpus, rounds_on_device

VERSIONED = ("bertvision-tf", "tensorflow", "keras-hub", "transformers", "h5py", "numpy")
Grid = tuple[np.ndarray, np.ndarray]
Item = TypeVar("Item")
Result = TypeVar("Result")


class BatchEncoder:
    """Runs an encoder over batches, several at a time.

    Args:
        encoder: what is run.
        spec: what is kept of its states.
        workers: batches in work at a time; see `count_workers`.
    """

    def __init__(self, encoder: Encoder, spec: StoreSpec, workers: int | None = None):
        self.encoder, self.spec, self.codec = encoder, spec, get_codec(spec.codec)
        self.workers = workers or count_workers()
        self._copies = Copies(encoder, self.workers)
        self._sampled: dict[int, np.ndarray] = {}  # states of sample batches, by first text: run once only

    def calibrate(self, tokens: Tokens, sample: list[np.ndarray], keep: bool = True) -> Calibration:
        """The statistics of some batches, whose states are kept for `encode` unless `keep` is false.

        Raises:
            StoreError: states are not finite.
        """
        if not sample:
            return Calibration.of(np.zeros((1, self.spec.num_hidden_states, self.spec.hidden_dim), np.float32))
        states = list(map_in_order(lambda batch: self._run(tokens, batch), sample, self.workers))
        if keep:
            self._sampled = {int(batch[0]): state for batch, state in zip(sample, states, strict=True)}
        calibration = Calibration.of(np.concatenate(states))
        if not (np.isfinite(calibration.mean).all() and np.isfinite(calibration.deviation).all()):
            raise StoreError(
                f"hidden states of {self.encoder.name} are not finite: its weights, or its dtype, are wrong."
            )
        return calibration

    def encode(
        self, tokens: Tokens, batches: Iterable[np.ndarray], calibration: Calibration
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The batches in order: how many tokens each has, and its encoded states, (rows, states, width)."""
        grid = self.find_grid(calibration)

        def encode(batch: np.ndarray) -> tuple[int, np.ndarray]:
            return int(tokens.lengths[batch].sum()), self.encode_batch(tokens, batch, calibration, grid)

        return map_in_order(encode, batches, self.workers)

    def find_grid(self, calibration: Calibration) -> Grid | None:
        """The codec's grid, where states are rounded to it on the device."""
        return self.codec.grid(calibration) if rounds_on_device() else None

    def encode_batch(
        self, tokens: Tokens, batch: np.ndarray, calibration: Calibration, grid: Grid | None
    ) -> np.ndarray:
        """Encoded states, (rows, states, width); `grid` is what `find_grid` gives."""
        states = self._sampled.pop(int(batch[0]), None)
        if states is None and grid is not None:
            return self.codec.pack(self._run(tokens, batch, grid))
        return self.codec.encode(self._run(tokens, batch) if states is None else states, calibration)

    def _run(self, tokens: Tokens, batch: np.ndarray, grid: Grid | None = None) -> np.ndarray:
        spec = self.spec
        return self._copies.hidden_state_rows(
            tokens.pad(batch), mode=spec.tokens, pooler=spec.pooler, layers=spec.layers, grid=grid
        )


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Like `map`, with `workers` calls at a time and at most twice as many results waiting."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def describe_versions(encoder: Encoder) -> dict[str, str]:
    """What the bytes of states depend on: versions, kind of device, and dtype."""
    device = "GPU" if list_gpus() else "CPU"
    packages = {OPENVINO: "openvino", XLA: "tensorflow"}  # which brings XLA
    engine = {name: version(package) for name, package in packages.items() if name == encoder.engine}
    return {name: version(name) for name in VERSIONED} | engine | {"device": device, "dtype": encoder.dtype}
