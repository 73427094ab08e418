"""What the rows of a store are scored by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..kinds import Gold
from ..store import Store
from ..tasks import Examples, TaskSpec


def build_gold(task: TaskSpec, examples: Examples, store: Store, rows: np.ndarray | None = None) -> Gold:
    """What rows are scored by, whose logits are those of their images in the store.

    Args:
        task, examples, store: the rows.
        rows: which of them, sorted, each once; all with None.
    """
    chosen = examples if rows is None else examples.select(rows)
    return task.kind.build_gold(task, chosen, lambda: _find_windows(store, len(examples), rows))


def _find_windows(store: Store, count: int, rows: np.ndarray | None) -> Sequence[np.ndarray]:
    """Offsets, questions, characters of tokens, and spans, of the windows of questions, of which there are `count`."""
    assert store.questions is not None
    rows = np.arange(count) if rows is None else rows
    windows = store.find_images(rows)
    offsets = np.cumsum([0, *store.lengths[windows]])
    questions = np.searchsorted(rows, store.questions[windows])
    return offsets, questions, store.read_char_offsets(windows), store.labels[windows]
