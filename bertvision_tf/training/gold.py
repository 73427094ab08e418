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
    rows = np.arange(len(examples)) if rows is None else rows
    return task.kind.build_gold(task, examples.select(rows), lambda: _find_windows(store, rows))


def _find_windows(store: Store, rows: np.ndarray) -> Sequence[np.ndarray]:
    """Offsets, questions, characters of tokens, and spans, of the windows of questions."""
    assert store.questions is not None
    windows = store.find_images(rows)
    offsets = np.cumsum([0, *store.lengths[windows]])
    questions = np.searchsorted(rows, store.questions[windows])
    return offsets, questions, store.read_char_offsets(windows), store.labels[windows]
