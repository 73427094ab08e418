"""A store as images, decoded in the graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ..store import Store, get_codec
from ..store.codecs import FloatCodec, Int8Codec, LevelCodec
from .dataset import build_dataset, choose_layers
from .plan import BatchPlan


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
    chosen = choose_layers(layers, store.num_hidden_states)
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
    return build_dataset(
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
