"""A lean forward pass that returns every hidden state: what extraction runs.

One matrix product for query, key and value, tokens flattened for every dense layer, and operations in the order that
TensorFlow fuses into one kernel each on a processor: product, bias and activation or residual; scores, scale and
mask; layer norm. KerasHub's backbone gives the same states and stays the reference.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from .checkpoint import Architecture

ACTIVATIONS = {
    "gelu_exact": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
}


class Forward:
    """The forward pass of BERT and its kin; to be traced into a graph.

    Args:
        architecture: the sizes, activation and epsilon.
        weights: what `read_weights` gives.
        dtype: "float32" or "bfloat16", the type of products and states; kernels add up in float32.
        portable: whether the weights are variables, which a SavedModel keeps in a file of their own, and norms are
            written alike for every device that may load it.
    """

    def __init__(
        self, architecture: Architecture, weights: Mapping[str, np.ndarray], dtype: str, portable: bool = False
    ):
        self.architecture = architecture
        self.dtype = tf.as_dtype(dtype)
        self.head_dim = architecture.hidden_dim // architecture.num_heads
        # Embeddings, the largest, stay outside the graph. The rest go into it as constants: on a processor their
        # layout is then prepared once instead of at every product, a tenth of the time.
        self._embeddings = {name: tf.constant(value) for name, value in weights.items() if "_embedding" in name}
        self._weights = {
            name: value.astype(self.dtype.as_numpy_dtype)
            for name, value in weights.items()
            if name not in self._embeddings
        }
        for block in range(architecture.num_blocks):
            for end in ("kernel", "bias"):
                parts = [self._weights.pop(f"block_{block}.{part}.{end}") for part in ("query", "key", "value")]
                self._weights[f"block_{block}.qkv.{end}"] = np.concatenate(parts, axis=-1)
        if portable:
            for group in (self._embeddings, self._weights):
                group |= {name: tf.Variable(value, trainable=False, name=name) for name, value in group.items()}
        self._plain_norm = portable or bool(tf.config.list_physical_devices("GPU"))

    def __call__(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, lengths: tf.Tensor, num_blocks: int):
        """Returns the embeddings' output and those of the first `num_blocks` blocks, each (batch · tokens, hidden_dim).

        Args:
            token_ids, segment_ids: int32, (batch, tokens), padding on the right.
            lengths: int32, (batch,), real tokens of each text.
        """
        batch, tokens = tf.shape(token_ids)[0], tf.shape(token_ids)[1]
        x = tf.gather(self._embeddings["token_embedding"], token_ids) + self._embeddings["position_embedding"][:tokens]
        if self.architecture.num_segments:
            segment_ids = tf.minimum(segment_ids, self.architecture.num_segments - 1)
            x += tf.gather(self._embeddings["segment_embedding"], segment_ids)  # (batch, tokens, embedding)
        x = tf.cast(tf.reshape(x, (-1, self.architecture.embedding_dim)), self.dtype)  # (batch · tokens, embedding)
        x = self._norm(x, "embeddings_norm")
        if "projection.kernel" in self._weights:
            x = self._dense(x, "projection")  # (batch · tokens, hidden)
        bias = tf.where(tf.sequence_mask(lengths, tokens), 0.0, -1e9)[:, None, None, :]  # (batch, 1, 1, tokens)
        bias = tf.cast(bias, self.dtype)
        states = [x]
        for index in range(num_blocks):
            x = self._block(x, f"block_{self.architecture.block_of(index)}", bias, batch, tokens)
            states.append(x)
        return states

    def pool(self, cls: tf.Tensor) -> tf.Tensor:
        """The pooler's output (batch, hidden_dim) from the final block's [CLS] column (batch, hidden_dim)."""
        return tf.tanh(self._dense(cls, "pooler"))

    def _block(self, x, name, bias, batch, tokens):
        hidden, heads = self.architecture.hidden_dim, self.architecture.num_heads
        qkv = self._dense(x, f"{name}.qkv")  # (batch · tokens, 3 · hidden)
        qkv = tf.reshape(qkv, (batch, tokens, 3, heads, self.head_dim))
        query, key, value = tf.unstack(tf.transpose(qkv, (2, 0, 3, 1, 4)))  # (batch, heads, tokens, head_dim)
        scores = tf.matmul(query, key, transpose_b=True)  # (batch, heads, tokens, tokens)
        scores = scores * tf.constant(self.head_dim**-0.5, self.dtype) + bias
        context = tf.matmul(tf.nn.softmax(scores), value)  # (batch, heads, tokens, head_dim)
        context = tf.reshape(tf.transpose(context, (0, 2, 1, 3)), (-1, hidden))  # (batch · tokens, hidden)
        x = self._norm(self._dense(context, f"{name}.attention_output") + x, f"{name}.attention_norm")
        inner = ACTIVATIONS[self.architecture.activation](self._dense(x, f"{name}.intermediate"))
        return self._norm(self._dense(inner, f"{name}.output") + x, f"{name}.output_norm")

    def _dense(self, x, name):
        kernel, bias = (tf.convert_to_tensor(self._weights[f"{name}.{part}"]) for part in ("kernel", "bias"))
        return tf.nn.bias_add(tf.matmul(x, kernel), bias)

    def _norm(self, x, name):
        """Layer norm of (rows, hidden)."""
        epsilon = self.architecture.layer_norm_epsilon
        gamma, beta = self._weights[f"{name}.gamma"], self._weights[f"{name}.beta"]
        if self._plain_norm:
            wide = tf.cast(x, tf.float32)
            mean, variance = tf.nn.moments(wide, axes=[1], keepdims=True)
            return tf.cast((wide - mean) * tf.math.rsqrt(variance + epsilon), self.dtype) * gamma + beta
        # A batch norm whose channels are our rows: the one way of writing it that becomes a single kernel and keeps
        # the epsilon. A GPU would raise epsilon to 1e-5.
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
        return tf.reshape(normed, (-1, x.shape[-1])) * gamma + beta
