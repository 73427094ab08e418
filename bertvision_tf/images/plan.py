"""Which examples stand together in a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..store.plan import plan_batches

WINDOW = 32  # batches whose examples are sorted by length together, after the shuffle


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Which examples stand together in each epoch: a pure function of lengths, settings and the epoch's number.

    Args:
        lengths: integer, (examples,), tokens of each.
        rows: the examples to use, in order; all with None.
        fraction: of these rows, 0 to 1; the smaller fraction is part of the larger.
        batch_size: examples a batch.
        batch_tokens: instead, batches by length under this many padded cells, as extraction makes them.
        shuffle: a new order each epoch, with examples of like length together.
        seed: of the shuffle.
        epochs: how many passes one iteration of the dataset makes, each shuffled anew. With None it makes one, and
            each iteration is shuffled anew.
    """

    lengths: np.ndarray
    rows: Sequence[int] | np.ndarray | None = None
    fraction: float = 1.0
    batch_size: int = 32
    batch_tokens: int | None = None
    shuffle: bool = False
    seed: int | None = None
    epochs: int | None = None

    def __post_init__(self):
        if self.shuffle and self.seed is None:
            raise ValueError("`shuffle=True` needs a `seed`.")
        if self.shuffle and self.batch_tokens is not None:
            raise ValueError("`batch_tokens` has an order of its own: it does not go with `shuffle=True`.")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` needs more than 0 and at most 1, got {self.fraction}.")
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` needs 1 or more examples, got {self.batch_size}.")
        if self.rows is not None and len(self.rows):
            rows = np.asarray(self.rows)
            if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(self.lengths):
                raise ValueError(f"`rows` needs indices from 0 to {len(self.lengths) - 1}, not a mask of booleans.")

    def indices(self) -> np.ndarray:
        """The examples in use."""
        rows = np.arange(len(self.lengths)) if self.rows is None else np.asarray(self.rows, np.int64)
        if self.fraction == 1:
            return rows
        kept = np.random.default_rng(0).permutation(len(rows))[: max(round(self.fraction * len(rows)), 1)]
        return rows[np.sort(kept)]

    def batches(self, epoch: int = 0) -> list[np.ndarray]:
        """Example indices of each batch."""
        rows = self.indices()
        if self.batch_tokens is not None:
            return [rows[batch] for batch in plan_batches(self.lengths[rows], self.batch_tokens)]
        if not self.shuffle:
            return _cut(rows, self.batch_size)
        random = np.random.default_rng([self.seed or 0, epoch])
        rows = random.permutation(rows)
        batches = []
        for window in _cut(rows, self.batch_size * WINDOW):
            by_length = window[np.argsort(self.lengths[window], kind="stable")]
            batches += _cut(by_length, self.batch_size)
        return [batches[place] for place in random.permutation(len(batches))]


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
