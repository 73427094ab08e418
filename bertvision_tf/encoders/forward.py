"""A lean forward pass that returns every hidden state: what extraction runs.

One matrix product for query, key and value; a family's blocks are in `families/`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from .architecture import Architecture
from .families import FAMILIES

CONSTANT_WEIGHTS = 30_000_000  # up to which they are constants of the graph


class Forward:
    """The forward pass of an encoder; to be traced into a graph.

    Args:
        architecture: the sizes and settings.
        weights: what `read_weights` gives.
        dtype: "float32" or "bfloat16", the type of products and states; kernels add up in float32.
        portable: whether the weights are variables, which a SavedModel keeps in a file of their own, and norms are
            plain for every device that may load it.
        plain: whether layer norms are made of operations that every runtime knows; always on a GPU.
        constants: whether the weights of a small encoder are constants of the graph.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, np.ndarray],
        dtype: str,
        portable: bool = False,
        plain: bool = False,
        constants: bool = True,
    ):
        self._family = FAMILIES[architecture.family]
        weights = self._family.fold(architecture, weights)
        # Embeddings, the largest, stay outside the graph. The rest of a small encoder go into it as constants: on a
        # processor their layout is then prepared once instead of at every product, up to a tenth of the time. A graph
        # of many weights would take as many seconds as tens of batches do before its first one, and twice the memory.
        tables = {name: tf.constant(value) for name, value in weights.items() if "_embedding" in name}
        dense = {
            name: value.astype(tf.as_dtype(dtype).as_numpy_dtype)
            for name, value in weights.items()
            if name not in tables
        }
        for block in range(architecture.num_blocks):
            for end in ("kernel", "bias"):
                names = [f"block_{block}.{part}.{end}" for part in ("query", "key", "value")]
                if names[0] in dense:
                    dense[f"block_{block}.qkv.{end}"] = np.concatenate([dense.pop(name) for name in names], axis=-1)
        if portable:
            for group in (tables, dense):
                group |= {name: tf.Variable(value, trainable=False, name=name) for name, value in group.items()}
        elif not constants or sum(value.size for value in dense.values()) > CONSTANT_WEIGHTS:
            dense = {name: tf.constant(value) for name, value in dense.items()}
        plain_norm = plain or portable or bool(tf.config.list_physical_devices("GPU"))
        self.parts = _Constants(architecture, {**tables, **dense}, tf.as_dtype(dtype), plain_norm)

    def __call__(
        self, token_ids: tf.Tensor, segment_ids: tf.Tensor, lengths: tf.Tensor, num_blocks: int, long: bool = False
    ) -> list[tf.Tensor]:
        """Returns the embeddings' output and those of the first `num_blocks` blocks, each (batch · tokens, hidden_dim).

        Args:
            token_ids, segment_ids: int32, (batch, tokens), padding on the right.
            lengths: int32, (batch,), real tokens of each text.
            num_blocks: to run; after the last of an encoder's the states pass its final norm, if it has one.
            long: whether texts may have more than `blocks.LONG` tokens: attention then takes less memory and more time.
        """
        parts = self.parts.of(long=long)
        architecture = parts.architecture
        x = self._family.embed(parts, token_ids, segment_ids)
        context = self._family.prepare(parts, lengths, tf.shape(token_ids)[1])
        states = [x]
        for layer in range(num_blocks):
            block = parts.of(f"block_{architecture.block_of(layer)}", long)
            x = self._family.run_block(block, x, layer, context)
            states.append(x)
        if num_blocks == architecture.num_layers:
            states[-1] = self._family.finish(parts, x)
        return states

    def pool(self, cls: tf.Tensor) -> tf.Tensor:
        """The pooler's output (batch, hidden_dim) from the final block's [CLS] column (batch, hidden_dim)."""
        return tf.tanh(self.parts.dense(cls, "pooler"))


class _Constants:
    """`blocks.Parts` of weights that do not change."""

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, np.ndarray | tf.Tensor],
        dtype: tf.DType,
        plain_norm: bool,
        block: str = "",
        long: bool = False,
    ):
        self.architecture, self.dtype, self.long = architecture, dtype, long
        self._weights, self._plain_norm, self._start = weights, plain_norm, f"{block}." if block else ""

    def of(self, block: str = "", long: bool = False) -> _Constants:
        """Those of a block."""
        return _Constants(self.architecture, self._weights, self.dtype, self._plain_norm, block, long)

    def has(self, name: str) -> bool:
        return self._start + name in self._weights

    def read(self, name: str) -> tf.Tensor:
        return tf.convert_to_tensor(self._weights[self._start + name])

    def look_up(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._weights[self._start + name], ids)

    def heads(self, x: tf.Tensor, batch: tf.Tensor, tokens: tf.Tensor) -> list[tf.Tensor]:
        heads, head_dim = self.architecture.num_heads, self.architecture.head_dim
        qkv = tf.reshape(self.dense(x, "qkv"), (batch, tokens, 3, heads, head_dim))
        return tf.unstack(tf.transpose(qkv, (2, 0, 3, 1, 4)))

    def dense(self, x: tf.Tensor, name: str) -> tf.Tensor:
        x = tf.matmul(x, self.read(f"{name}.kernel"))
        return tf.nn.bias_add(x, self.read(f"{name}.bias")) if self.has(f"{name}.bias") else x

    def norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        epsilon = self.architecture.layer_norm_epsilon
        if self._plain_norm:
            wide = tf.cast(x, tf.float32)
            centred = wide - tf.reduce_mean(wide, [1], keepdims=True)
            variance = tf.reduce_mean(tf.square(centred), [1], keepdims=True)
            normed = tf.cast(centred / tf.sqrt(variance + epsilon), self.dtype)  # OpenVINO joins just this form
        else:
            normed = _norm_rows(x, epsilon)
        normed *= self._weights[f"{self._start}{name}.gamma"]
        return normed + self._weights[f"{self._start}{name}.beta"] if self.has(f"{name}.beta") else normed

    def drop(self, x: tf.Tensor) -> tf.Tensor:
        return x

    drop_attention = drop


def _norm_rows(x: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Layer norm of (rows, hidden) without gain and bias, as a batch norm whose channels are our rows: the one way of
    writing it that becomes a single kernel and keeps the epsilon. A GPU would raise epsilon to 1e-5."""
    rows = tf.shape(x)[:1]
    normed = tf.raw_ops.FusedBatchNormV3(
        x=tf.reshape(x, (1, -1, x.shape[-1], 1)),
        scale=tf.fill(rows, 1.0),
        offset=tf.fill(rows, 0.0),
        mean=[],
        variance=[],
        epsilon=epsilon,
        data_format="NCHW",
    ).y
    return tf.reshape(normed, (-1, x.shape[-1]))
