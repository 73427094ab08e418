"""Batches of a plan as a tf.data.Dataset."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..forks import check_process
from .plan import BatchPlan


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

    TensorFlow never forgets a function that it has traced, so the functions only know the source weakly: it lives
    as long as the dataset, or one made from it, and no longer.

    Args:
        source: what is read: a store, an encoder, measurements.
        plan: which examples stand together.
        gather: the source and example indices, int64 (batch,) → arrays.
        load: what gathers a batch, and an int64 tensor that says which → the dataset's element; traced into the graph.
    """
    check_process()
    reference, iterations = weakref.ref(source), itertools.count()
    length = len(plan.batches())
    find_batches = functools.lru_cache(2)(plan.batches)  # an epoch's, and those of the one that is prefetched

    as_written = tf.autograph.experimental.do_not_convert  # reading their source anew takes longer than a trace

    def begin(_: np.ndarray) -> np.ndarray:
        return np.array(next(iterations))

    def gather_batch(place: np.ndarray) -> Any:
        iteration, number = place.tolist()
        epoch, number = divmod(number, length)
        return gather(reference(), find_batches(iteration if plan.epochs is None else epoch)[number])

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
    dataset = dataset.map(as_written(lambda place: load(gather_batch, place)), num_parallel_calls=2)
    dataset._source = source
    return dataset.prefetch(2).with_options(options)


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
