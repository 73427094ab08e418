"""A store, or a live encoder, as a tf.data.Dataset of images.

Elements: `({"hidden_states", "padding_mask", "segment_ids"}, label)`, with hidden_states float32 (batch,
num_hidden_states, tokens, hidden_dim), the masks int32 (batch, tokens), label (batch,), or (batch, classes) where
several may hold; of a window of a context {"start", "end"}, each (batch,). Padding is on the right and 0.

Over 300 lines, since a store and a live encoder must give the same batches, and share what makes them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from .encoders import Windows
from .extraction.extract import tokenize_examples
from .store import Store, get_codec
from .store.codecs import FloatCodec, Int8Codec, LevelCodec
from .store.plan import plan_batches

if TYPE_CHECKING:
    from .encoders import Encoder, Tokens
    from .tasks import Examples

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


def images_from_store(store: Store, *, layers: Sequence[int] | None = None, **plan) -> tf.data.Dataset:
    """A store's images, read from the maps and decoded in the graph.

    Args:
        store: a finished one.
        layers: places on the image's layer axis to keep, −1 the last; all by default.
        **plan: `BatchPlan`'s: rows, fraction, batch_size or batch_tokens, shuffle, seed, epochs.

    Example:
        >>> dataset = store.as_dataset(batch_size=32, shuffle=True, seed=0)
        >>> images, labels = next(iter(dataset))
    """
    chosen = _choose(layers, store.num_hidden_states)
    codec, spec = store.codec, store.spec
    storage = tf.as_dtype(codec.storage)
    affine = codec.scale_and_shift(store.manifest.calibration.select(np.arange(store.num_hidden_states)[chosen]))

    def gather(store: Store, batch: np.ndarray):
        encoded = store.gather(batch, None if layers is None else chosen)
        return encoded.states, encoded.padding_mask, encoded.segment_ids, store.labels[batch]

    def decode(states, mask, segments, labels):
        image = unpack_in_graph(spec.codec, states, spec.hidden_dim)  # (batch, states, tokens, hidden)
        if affine is not None:
            scale, shift = (tf.constant(part[:, None]) for part in affine)  # (states, 1, hidden)
            image = image * scale + shift
            padded = lambda: image * tf.cast(mask[:, None, :, None], tf.float32)  # noqa: E731
            image = tf.cond(tf.reduce_all(mask > 0), lambda: image, padded)
        return image, mask, segments, labels

    width = codec.width(spec.hidden_dim)
    shape = (None, len(chosen), None, width)
    return _build_dataset(
        store,
        BatchPlan(store.lengths, **plan),
        gather,
        decode,
        storage,
        shape,
        store.labels,
        spec.hidden_dim,
        spec.windowed,
    )


def images_from_encoder(
    encoder: Encoder,
    examples: Examples,
    *,
    max_length: int = 128,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | None = None,
    stride: int | None = None,
    question_length: int | None = None,
    **plan,
) -> tf.data.Dataset:
    """The same elements straight from an encoder, with no store.

    Equal to a float32 store's, bit for bit, where the batches are those of its extraction (`batch_tokens`); else
    within float32's noise.

    Args:
        encoder, examples: what is run over what.
        max_length: tokens, special ones included.
        tokens: "all", or "cls" for the first of each text.
        pooler: with "cls", the pooler's output first.
        layers: hidden states of the encoder to keep, −1 the last; all by default.
        stride, question_length: of windows, where the examples are questions with answers; as `extract`'s.
        **plan: `BatchPlan`'s.
    """
    tokenized, all_labels = tokenize_examples(encoder, examples, max_length, stride, question_length)
    return images_from_tokens(encoder, tokenized, all_labels, tokens=tokens, pooler=pooler, layers=layers, **plan)


def images_from_tokens(
    encoder: Encoder,
    tokenized: Tokens,
    all_labels: np.ndarray,
    *,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | None = None,
    **plan,
) -> tf.data.Dataset:
    """As `images_from_encoder`, of what `tokenize_examples` gives."""
    chosen = _choose(layers, encoder.num_hidden_states)

    def gather(encoder: Encoder, batch: np.ndarray):
        padded = tokenized.pad(batch)
        states = encoder.hidden_state_rows(padded, mode=tokens, pooler=pooler, layers=chosen)
        mask = padded["padding_mask"] if tokens == "all" else np.ones((len(batch), 1), np.int32)
        image = np.zeros((*mask.shape, *states.shape[1:]), np.float32)
        image[mask > 0] = states
        segments = padded["segment_ids"][:, : mask.shape[1]]
        return image.transpose(0, 2, 1, 3), mask, segments, all_labels[batch]

    shape = (None, len(chosen) + pooler, None, encoder.hidden_dim)
    return _build_dataset(
        encoder,
        BatchPlan(tokenized.lengths, **plan),
        gather,
        None,
        tf.float32,
        shape,
        all_labels,
        encoder.hidden_dim,
        isinstance(tokenized, Windows),
    )


def unpack_in_graph(codec_name: str, encoded: tf.Tensor, hidden_dim: int) -> tf.Tensor:
    """The codec's `unpack` in TensorFlow: storage type (…, width) → float32 (…, hidden_dim), before scale and shift."""
    codec = get_codec(codec_name)
    if isinstance(codec, LevelCodec):
        levels = tf.gather(tf.constant(codec.byte_table), tf.cast(encoded, tf.int32))  # (…, width, per_item)
        shape = tf.concat([tf.shape(encoded)[:-1], [encoded.shape[-1] * codec.per_item]], axis=0)
        return tf.reshape(levels, shape)[..., :hidden_dim]
    assert isinstance(codec, FloatCodec | Int8Codec)
    if codec.name == "bfloat16":
        encoded = tf.bitcast(encoded, tf.bfloat16)
    return tf.cast(encoded, tf.float32)


def _build_dataset(
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
        load: gather of indices alone, and an int64 tensor of them, (batch,) → the dataset's element; traced into the
            graph.
    """
    reference = weakref.ref(source)
    iterations = itertools.count()

    def plan_iteration() -> Iterator[np.ndarray]:
        epochs = [next(iterations)] if plan.epochs is None else range(plan.epochs)
        for epoch in epochs:
            yield from plan.batches(epoch)

    dataset = tf.data.Dataset.from_generator(plan_iteration, output_signature=tf.TensorSpec((None,), tf.int64))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(plan.batches()) * (plan.epochs or 1)))
    options = tf.data.Options()
    # Batches are planned for the whole job: replicas split each one, and no file is theirs to shard.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    dataset = dataset.map(functools.partial(load, lambda batch: gather(reference(), batch)), num_parallel_calls=2)
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


def _choose(layers: Sequence[int] | None, count: int) -> list[int]:
    try:
        return list(range(count)) if layers is None else [range(count)[layer] for layer in layers]
    except IndexError:
        raise ValueError(f"`layers` needs indices below {count}, got {list(layers or ())}.") from None


def _cut(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
