"""What a store that is to be repaired was made of."""

from __future__ import annotations

from ..encoders import OPENVINO, TENSORFLOW, XLA
from ..errors import StoreError
from ..settings import RunSettings
from ..store import StoreSpec
from ..store.schema import Manifest
from ..tasks import Examples, get_task
from ..tasks.doubts import load_rows
from ..tasks.selection import SELECTION, take_selection
from ..training.draw import split_task
from .preparation import read_task


def load_store_rows(spec: StoreSpec, settings: RunSettings, task: str | None = None) -> Examples:
    """The rows of a store's task and split, as many as it has.

    Args:
        spec: of the store.
        settings: whose table, folder, limit and negatives say where rows come from.
        task: its name; with None as the store says. A table comes before it.

    Raises:
        StoreError: the store is of rows that a run has drawn.
        BertvisionError: they cannot be read.
    """
    found, rows = get_task(task or spec.task) if settings.table is None else read_task(settings), settings.rows
    if spec.split == SELECTION:
        train = load_rows(found, "train", rows.data_dir, rows.limit, rows.negatives)
        return take_selection(train, split_task(found, train)[1])
    if spec.split not in found.splits:
        raise StoreError(f"a store of {found.name} {spec.split} cannot be repaired: delete it, and run what made it.")
    return load_rows(found, spec.split, rows.data_dir, rows.limit or spec.examples, rows.negatives)


def find_engine(manifest: Manifest) -> str:
    """The engine that has run a store's encoder."""
    return next((engine for engine in (OPENVINO, XLA) if engine in manifest.made_with), TENSORFLOW)
