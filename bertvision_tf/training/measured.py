"""What a head reads of a store, or what it measures of it, kept in memory for all its epochs and seeds."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from ..images import BatchPlan, load_arrays
from ..store import Store

MEASURED_BYTES = 4 * 2**30  # of all that is kept; more than this stays on disk, as images
SCORED_CELLS = 8192  # tokens of a batch that is not trained on, padding included
_KEPT: weakref.WeakSet[MeasuredStore] = weakref.WeakSet()


class MeasuredStore:
    """Stands for a store where the part of a head that is trained reads measurements instead of images.

    Attributes:
        labels: the store's.
        measurements: by name, float32 (examples, …), in the store's order.
    """

    def __init__(self, measure: keras.Model, store: Store, progress: Callable[[int, int], None]):
        """Runs the measuring part of a head (`split_head`) over a whole store, once.

        Args:
            measure, store: what is run over what.
            progress: called with the examples done and those in all.
        """
        self.labels, self._lengths = store.labels, store.lengths
        self.measurements = {
            name: np.zeros((len(store), *tensor.shape[1:]), np.float32) for name, tensor in measure.output.items()
        }
        _KEPT.add(self)
        run = _trace(measure)
        plan = BatchPlan(store.lengths, batch_tokens=4096)
        done = 0
        for rows, (images, _) in zip(plan.batches(), store.as_dataset(batch_tokens=4096), strict=True):
            for name, part in run({name: images[name] for name in measure.input}).items():
                self.measurements[name][rows] = part.numpy()
            done += len(rows)
            progress(done, len(store))

    @staticmethod
    def fits(measure: keras.Model, *stores: Store) -> bool:
        """Whether the measurements of these stores, and those that are kept already, come to at most MEASURED_BYTES."""
        row = sum(4 * int(np.prod(tensor.shape[1:])) for tensor in measure.output.values())
        kept = sum(part.nbytes for one in _KEPT for part in one.measurements.values())
        return kept + row * sum(len(store) for store in stores) <= MEASURED_BYTES

    def as_dataset(
        self, batch_size: int = 32, shuffle: bool = False, seed: int | None = None, **options
    ) -> tf.data.Dataset:
        """As a store's, with the same batches: elements are (measurements by name, label)."""

        def gather(source: MeasuredStore, rows: np.ndarray):
            return [*(part[rows] for part in source.measurements.values()), source.labels[rows]]

        inputs = {name: (tf.float32, (None, *part.shape[1:])) for name, part in self.measurements.items()}
        plan = BatchPlan(self._lengths, batch_size=batch_size, shuffle=shuffle, seed=seed, **options)
        return load_arrays(self, plan, gather, inputs, self.labels)


@functools.lru_cache(1)
def _trace(measure: keras.Model) -> Callable:
    """The measuring part as one graph for batches of all shapes, and for the stores that follow each other."""
    signature = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name) for name, tensor in measure.input.items()}
    return tf.function(lambda images: measure(images, training=False), input_signature=[signature])


def read_in_order(
    store: Store, rows: np.ndarray | None = None, source: Store | MeasuredStore | None = None
) -> tf.data.Dataset:
    """What a head reads of rows where nothing is trained: at most 64 a batch, and fewer of long ones.

    Args:
        store: whose rows.
        rows: which; all with None.
        source: what the head reads of the store, where that is no images.
    """
    images = None if rows is None else store.find_images(rows)
    size = 64 if store.spec.tokens == "cls" else max(min(64, SCORED_CELLS // store.spec.max_length), 1)
    return (source or store).as_dataset(size, rows=images)
