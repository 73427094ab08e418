"""Batches of a plan as a tf.data.Dataset."""

from __future__ import annotations

import collections
import itertools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import BertvisionError
from ..forks import check_process
from .plan import BatchPlan

FAILURES: collections.deque[BertvisionError] = collections.deque(maxlen=8)  # the last ones, of batches
BATCHES_AHEAD = 2  # loaded at a time
KEPT_EPOCHS = 4  # of which the batches are kept: of several iterators of one dataset each is in its own


def read_failure(error: BaseException) -> BertvisionError | None:
    """What this library has raised while a batch was gathered, where TensorFlow's error says that there was such."""
    if not isinstance(error, tf.errors.OpError):
        return None
    return next((one for one in reversed(FAILURES) if str(one) in str(error)), None)


def build_dataset(
    source: Any,
    plan: BatchPlan,
    gather: Callable,
    decode: Callable | None,
    storage: tf.DType,
    shape: tuple[int | None, ...],
    all_labels: np.ndarray,
    hidden_dim: int,
    spans: bool,
) -> tf.data.Dataset:
    types = [storage, tf.int32, tf.int32, tf.as_dtype(all_labels.dtype)]

    def load(gather, batch):
        states, mask, segments, labels = tf.numpy_function(gather, [batch], types, stateful=False)
        states.set_shape(shape)
        mask.set_shape((None, None))
        segments.set_shape((None, None))
        labels.set_shape((None, *all_labels.shape[1:]))
        if decode is not None:
            states, mask, segments, labels = decode(states, mask, segments, labels)
        states.set_shape((*shape[:-1], hidden_dim))
        if spans:
            labels = {"start": labels[:, 0], "end": labels[:, 1]}
        return {"hidden_states": states, "padding_mask": mask, "segment_ids": segments}, labels

    return load_batches(source, plan, gather, load)


def load_batches(source: Any, plan: BatchPlan, gather: Callable, load: Callable) -> tf.data.Dataset:
    """The batches of a plan as a dataset of known cardinality.

    TensorFlow never forgets a function that it has traced, so the functions only know the source and the plan weakly:
    both live as long as the dataset, or one made from it, and no longer.

    Args:
        source: what is read: a store, an encoder, measurements.
        plan: which examples stand together.
        gather: the source and example indices, int64 (batch,) → arrays.
        load: what gathers a batch, and an int64 tensor that says which → the dataset's element; traced into the graph.
    """
    check_process()
    ahead = getattr(source, "batches_ahead", BATCHES_AHEAD)
    planner, iterations = _Planner(plan), itertools.count()
    reference, planned, length = weakref.ref(source), weakref.ref(planner), planner.length

    as_written = tf.autograph.experimental.do_not_convert  # reading their source anew takes longer than a trace

    def begin(_: np.ndarray) -> np.ndarray:
        return np.array(next(iterations))

    def gather_batch(place: np.ndarray) -> Any:
        own = planned()
        assert own is not None
        try:
            return gather(reference(), own.find(*place.tolist()))
        except BertvisionError as error:  # of which TensorFlow makes an error of its own
            FAILURES.append(error)
            raise

    def iterate(iteration: tf.Tensor) -> tf.data.Dataset:
        numbers = tf.data.Dataset.range(length * (plan.epochs or 1))
        return numbers.map(as_written(lambda number: tf.stack([iteration, number])))

    # No from_generator: TensorFlow's would have the allocator give all memory back at once, for the whole process,
    # and every step then takes up to twice the time.
    begun = tf.data.Dataset.range(1).map(as_written(lambda one: tf.numpy_function(begin, [one], tf.int64)))
    dataset = begun.flat_map(as_written(iterate))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(length * (plan.epochs or 1)))
    options = tf.data.Options()
    # Batches are planned for the whole job: replicas split each one, and no file is theirs to shard.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    dataset = dataset.map(as_written(lambda place: load(gather_batch, place)), num_parallel_calls=ahead)
    dataset._source, dataset._planner = source, planner
    return dataset.prefetch(2).with_options(options)


class _Planner:
    """The batches of a plan by their number in an iteration; the epochs that were asked for last are kept."""

    def __init__(self, plan: BatchPlan):
        self.length = len(plan.batches())
        self._plan, self._lock, self._epochs = plan, threading.Lock(), dict[int, list[np.ndarray]]()

    def find(self, iteration: int, number: int) -> np.ndarray:
        """Example indices of a batch of the `iteration`-th pass over the dataset."""
        epoch, number = divmod(number, self.length)
        if self._plan.epochs is None:
            epoch = iteration
        if not self._plan.shuffle:
            epoch = 0  # all are alike
        with self._lock:  # batches are loaded by two threads
            if epoch not in self._epochs:
                self._epochs = dict(list(self._epochs.items())[1 - KEPT_EPOCHS :]) | {epoch: self._plan.batches(epoch)}
            return self._epochs[epoch][number]


def load_arrays(
    source: Any,
    plan: BatchPlan,
    gather: Callable,
    inputs: Mapping[str, tuple[tf.DType, tuple[int | None, ...]]],
    all_labels: np.ndarray,
) -> tf.data.Dataset:
    """The batches of a plan, as `load_batches`, where they are arrays that need no decoding.

    Args:
        source, plan: what is read, and which examples stand together.
        gather: the source and example indices → an array for each input, and the labels.
        inputs: type and shape of each by its name, batch included.
        all_labels: of the source; theirs is the type and shape of an element's.
    """
    types = [*(kind for kind, _ in inputs.values()), tf.as_dtype(all_labels.dtype)]
    shapes = [*(shape for _, shape in inputs.values()), (None, *all_labels.shape[1:])]

    def load(gather: Callable, batch: tf.Tensor):
        parts = tf.numpy_function(gather, [batch], types, stateful=False)
        for part, shape in zip(parts, shapes, strict=True):
            part.set_shape(shape)
        return dict(zip(inputs, parts, strict=False)), parts[-1]

    return load_batches(source, plan, gather, load)


def choose_layers(layers: Sequence[int] | None, count: int) -> list[int]:
    try:
        return list(range(count)) if layers is None else [range(count)[layer] for layer in layers]
    except IndexError:
        raise ValueError(f"`layers` needs indices below {count}, got {list(layers or ())}.") from None
