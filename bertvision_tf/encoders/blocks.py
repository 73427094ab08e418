"""The parts of a forward pass, and the blocks that several families are made of.

A block is written once, over `Parts`: extraction gives it constants, fine-tuning Keras layers. States are flat,
(batch · tokens, hidden), so that every dense layer is one matrix product. Operations stand in the order that TensorFlow
fuses into one kernel each on a processor: product, bias and activation or residual; scores, scale and mask; layer norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import tensorflow as tf

from .architecture import Architecture

ACTIVATIONS = {
    "gelu_exact": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
}
LONG = 512  # tokens of a text, from which on attention is computed for some queries at a time
QUERIES = 256  # of them

# What all blocks read beside the states: "mask" (batch, 1, 1, tokens), which is added to scores, and a family's own.
Context = Mapping[str, tf.Tensor]


class Parts(Protocol):
    """What a forward pass is made of: weights by our names, within a block by its part's name alone.

    Attributes:
        architecture: the encoder's.
        dtype: of products and states.
        long: whether texts may have more than LONG tokens.
    """

    architecture: Architecture
    dtype: tf.DType
    long: bool

    def has(self, name: str) -> bool:
        """Whether there is such a weight."""

    def read(self, name: str) -> tf.Tensor:
        """A whole table."""

    def look_up(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        """Rows of a table."""

    def dense(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """A dense layer's output."""

    def heads(self, x: tf.Tensor, batch: tf.Tensor, tokens: tf.Tensor) -> list[tf.Tensor]:
        """A block's query, key and value, each (batch, heads, tokens, head_dim)."""

    def norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Layer norm over the last axis."""

    def drop(self, x: tf.Tensor) -> tf.Tensor:
        """Dropout of states; none in extraction."""

    def drop_attention(self, x: tf.Tensor) -> tf.Tensor:
        """Dropout of attention's weights."""


def make_context(lengths: tf.Tensor, tokens: tf.Tensor, dtype: tf.DType) -> dict[str, tf.Tensor]:
    """The mask of padding."""
    real = tf.sequence_mask(lengths, tokens)[:, None, None, :]  # (batch, 1, 1, tokens)
    return {"mask": mask_out(real, dtype)}


def mask_out(real: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """0 where a key is read, and elsewhere so low that softmax leaves it out; two of them added are still a number."""
    return tf.cast(tf.where(real, 0.0, find_lowest(dtype)), dtype)


def find_lowest(dtype: tf.DType) -> float:
    """What is added to scores that softmax is to leave out."""
    return -(2.0**14) if tf.as_dtype(dtype) == tf.float16 else -1e9


def split_heads(parts: Parts, x: tf.Tensor, context: Context) -> list[tf.Tensor]:
    """Query, key and value of the states, each (batch, heads, tokens, head_dim)."""
    shape = tf.shape(context["mask"])
    return parts.heads(x, shape[0], shape[3])


def join_heads(parts: Parts, context: tf.Tensor) -> tf.Tensor:
    """(batch · tokens, hidden) of (batch, heads, tokens, head_dim)."""
    return tf.reshape(tf.transpose(context, (0, 2, 1, 3)), (-1, parts.architecture.hidden_dim))


def attend(
    parts: Parts, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, bias: tf.Tensor, scale: float | None = None
) -> tf.Tensor:
    """Attention of all queries to all keys, (batch, heads, tokens, head_dim).

    Args:
        bias: added to the scores, of a shape that fits (batch, heads, tokens, tokens).
        scale: of the products; 1 / √head_dim with None.
    """
    scale = parts.architecture.head_dim**-0.5 if scale is None else scale
    scores = tf.matmul(query, key, transpose_b=True)  # (batch, heads, tokens, tokens)
    scores = scores * tf.constant(scale, parts.dtype) + bias
    return tf.matmul(parts.drop_attention(tf.nn.softmax(scores)), value)


def attend_far(
    parts: Parts, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, mask: tf.Tensor, reach: int | None = None
) -> tf.Tensor:
    """As `attend`, for long texts: QUERIES at a time, so that memory grows with the tokens and not with their square.

    Args:
        mask: (batch, 1, 1, tokens).
        reach: how far a query's keys lie at most, in tokens; None for all keys.
    """
    tokens = tf.shape(key)[2]
    blocks = (tokens + QUERIES - 1) // QUERIES
    query = tf.pad(query, [[0, 0], [0, 0], [0, blocks * QUERIES - tokens], [0, 0]])
    if reach is not None:  # keys stand `reach` places later, and as many are masked before and behind them
        ends = [reach, reach + blocks * QUERIES - tokens]
        key, value = (tf.pad(part, [[0, 0], [0, 0], ends, [0, 0]]) for part in (key, value))
        mask = tf.pad(
            mask, [[0, 0], [0, 0], [0, 0], ends], constant_values=tf.constant(find_lowest(mask.dtype), mask.dtype)
        )
        width = QUERIES + 2 * reach
        near = tf.range(width)[None] - tf.range(QUERIES)[:, None]  # 0 to 2 · reach for keys within reach
        near = mask_out((near >= 0) & (near <= 2 * reach), mask.dtype)  # (QUERIES, width)

    def run(place: tf.Tensor) -> tf.Tensor:
        start = place * QUERIES
        asked = query[:, :, start : start + QUERIES]
        if reach is None:
            return attend(parts, asked, key, value, mask)
        end = start + width
        bias = mask[..., start:end] + near
        return attend(parts, asked, key[:, :, start:end], value[:, :, start:end], bias)

    found = tf.map_fn(run, tf.range(blocks), fn_output_signature=parts.dtype, parallel_iterations=1)
    found = tf.transpose(found, (1, 2, 0, 3, 4))  # (batch, heads, blocks, QUERIES, head_dim)
    shape = tf.shape(query)
    return tf.reshape(found, (shape[0], shape[1], blocks * QUERIES, parts.architecture.head_dim))[:, :, :tokens]


def rotate(x: tf.Tensor, cosine: tf.Tensor, sine: tf.Tensor) -> tf.Tensor:
    """Rotary positions: (batch, heads, tokens, head_dim) turned by angles (tokens, head_dim).

    Source: Su et al., 2021, arXiv 2104.09864.
    """
    first, second = tf.split(x, 2, axis=-1)
    return x * cosine + tf.concat([-second, first], axis=-1) * sine


def make_rotation(tokens: tf.Tensor, head_dim: int, base: float, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosine and sine of every position's angles, each (tokens, head_dim)."""
    rates = base ** (-tf.range(0, head_dim, 2, dtype=tf.float32) / head_dim)
    angles = tf.cast(tf.range(tokens), tf.float32)[:, None] * rates
    angles = tf.concat([angles, angles], axis=-1)
    return tf.cast(tf.cos(angles), dtype), tf.cast(tf.sin(angles), dtype)


def list_distances(tokens: tf.Tensor) -> tf.Tensor:
    """Every distance of a key from its query, −(tokens − 1) to tokens − 1: (2 · tokens − 1,)."""
    return tf.range(1 - tokens, tokens)


def spread_distances(x: tf.Tensor) -> tf.Tensor:
    """A value for every query and distance → one for every query and key.

    Args:
        x: (..., tokens, 2 · tokens − 1), the distances as `list_distances` has them.

    Returns:
        (..., tokens, tokens): at query i and key j the value of i's distance j − i.
    """
    tokens, lead = tf.shape(x)[-2], tf.shape(x)[:-2]
    rest = [[0, 0]] * (len(x.shape) - 2)
    flat = tf.reshape(tf.pad(x, [*rest, [0, 0], [0, 1]]), tf.concat([lead, [2 * tokens * tokens]], 0))
    flat = flat[..., tokens - 1 : tokens - 1 + tokens * (2 * tokens - 1)]  # each row begins one place earlier
    return tf.reshape(flat, tf.concat([lead, [tokens, 2 * tokens - 1]], 0))[..., :tokens]


def run_post_norm_block(parts: Parts, x: tf.Tensor, context: Context) -> tf.Tensor:
    """BERT's block: attention and a dense network, each with a layer norm after its residual."""
    query, key, value = split_heads(parts, x, context)
    attended = attend(parts, query, key, value, context["mask"])
    return finish_post_norm_block(parts, x, join_heads(parts, attended))


def finish_post_norm_block(parts: Parts, x: tf.Tensor, attended: tf.Tensor) -> tf.Tensor:
    """What follows attention in BERT's block, both (batch · tokens, hidden)."""
    x = parts.norm(parts.drop(parts.dense(attended, "attention_output")) + x, "attention_norm")
    return parts.norm(parts.drop(parts.dense(expand(parts, x), "output")) + x, "output_norm")


def expand(parts: Parts, x: tf.Tensor) -> tf.Tensor:
    """The inner states of a block's dense network, (batch · tokens, intermediate); times a gate where it has one."""
    activate = ACTIVATIONS[parts.architecture.activation]
    inner = activate(parts.dense(x, "intermediate"))
    return inner * parts.dense(x, "gate") if parts.has("gate.kernel") else inner
