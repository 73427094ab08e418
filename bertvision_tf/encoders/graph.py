"""The graph that extraction runs: token ids in, the hidden states that are kept out."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from .engine import pad_to_bucket
from .forward import Forward


@dataclasses.dataclass(frozen=True)
class Choice:
    """What of an encoder's states leaves the graph.

    Attributes:
        mode: "all" tokens, or "cls" for the first one of each text.
        pooler: whether the pooler's output goes first.
        layers: indices of the hidden states.
        long: whether texts may have more than `blocks.LONG` tokens.
        rounded: whether states are rounded to int8 steps, with a factor and an offset as two more inputs.
    """

    mode: str
    pooler: bool
    layers: tuple[int, ...]
    long: bool
    rounded: bool


def build_graph(forward: Forward, choice: Choice, compiled: bool = False) -> tf.types.experimental.PolymorphicFunction:
    """Builds a function of token ids, segment ids, lengths and, where it rounds, factor and offset.

    Args:
        forward: the encoder's.
        choice: what leaves the graph.
        compiled: by XLA, on batches padded to few shapes.

    Returns:
        a function that gives (rows, states, hidden): float32, or int8 where it rounds.
    """
    matrices = [tf.TensorSpec((None, None), tf.int32, name) for name in ("token_ids", "segment_ids")]
    lengths = tf.TensorSpec((None,), tf.int32, "lengths")
    grid = [tf.TensorSpec((None, None), tf.float32)] * 2 if choice.rounded else []
    compute = functools.partial(_compute, forward, choice)
    if compiled:
        compute = tf.function(compute, jit_compile=True, autograph=False)

    @tf.function(input_signature=[*matrices, lengths, *grid], autograph=False)
    def run(token_ids, segment_ids, lengths, *grid):
        texts = tf.size(lengths)
        if compiled:
            longest = forward.parts.architecture.max_positions
            token_ids, segment_ids, lengths = pad_to_bucket(token_ids, segment_ids, lengths, longest)
        width = tf.shape(token_ids)[1]
        if choice.mode == "cls":
            states = compute(token_ids, segment_ids, lengths, tf.range(tf.size(lengths)) * width)[:texts]
        else:
            kept = tf.cast(tf.where(tf.reshape(tf.sequence_mask(lengths, width), (-1,)))[:, 0], tf.int32)
            if compiled:  # by XLA, which takes no shapes that values decide
                states = tf.gather(compute(token_ids, segment_ids, lengths, None), kept)
            else:
                states = compute(token_ids, segment_ids, lengths, kept)
        return _round(states, *grid) if choice.rounded else states

    return run


def _compute(
    forward: Forward,
    choice: Choice,
    token_ids: tf.Tensor,
    segment_ids: tf.Tensor,
    lengths: tf.Tensor,
    kept: tf.Tensor | None,
) -> tf.Tensor:
    """The states of the cells in `kept`, int32 (rows,), or of all with None: float32 (rows, states, hidden)."""
    num_blocks = forward.parts.architecture.num_layers if choice.pooler else max(choice.layers)
    states = forward(token_ids, segment_ids, lengths, num_blocks, choice.long)  # each (batch · tokens, hidden)

    def keep(x: tf.Tensor) -> tf.Tensor:
        return x if kept is None else tf.gather(x, kept)

    chosen = [keep(states[index]) for index in choice.layers]
    if choice.pooler:
        chosen.insert(0, forward.pool(keep(states[-1])))
    return tf.cast(tf.stack(chosen, axis=1), tf.float32)


def _round(states: tf.Tensor, factor: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """The int8 steps of states, as `store.codecs.round_to_grid` has them."""
    return tf.cast(tf.round(tf.clip_by_value(states * factor + offset, -127.0, 127.0)), tf.int8)
