"""BERT: its KerasHub backbone, and a lean forward pass over the same weights that returns every hidden state.

The backbone is the reference, and what fine-tuning trains. The forward pass is what extraction runs: one matrix
product for query, key and value, tokens flattened for every dense layer, and its operations in the order that
TensorFlow fuses into one kernel each on a processor: product, bias and activation or residual; scores, scale and
mask; layer norm. Both give the same states.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from safetensors import SafetensorError

from ..errors import EncoderError
from .checkpoint import Architecture

KERAS_ACTIVATIONS = {
    "gelu_exact": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True),
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
}
GRAPH_ACTIVATIONS = {
    "gelu_exact": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
}


def load_backbone(folder: Path, architecture: Architecture) -> keras.Model:
    """Loads a checkpoint folder into KerasHub's BertBackbone (float32), with the checkpoint's own activation,
    epsilon and number of segments, which KerasHub's converter leaves at its defaults.

    Raises:
        EncoderError: the weights are damaged, or do not fit what config.json says.
    """
    import keras_hub

    try:
        backbone = keras_hub.models.BertBackbone.from_preset(
            str(folder), num_segments=architecture.num_segments, dtype="float32", name="backbone"
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EncoderError(f"the weights of {folder} cannot be read: {reason}") from None
    epsilon = architecture.layer_norm_epsilon
    backbone.get_layer("embeddings_layer_norm").epsilon = epsilon
    for index in range(architecture.num_layers):
        block = backbone.get_layer(f"transformer_layer_{index}")
        block._self_attention_layer_norm.epsilon = epsilon
        block._feedforward_layer_norm.epsilon = epsilon
        block._feedforward_intermediate_dense.activation = KERAS_ACTIVATIONS[architecture.activation]
    return backbone


def build_states_model(backbone: keras.Model) -> keras.Model:
    """The backbone as a model of all its hidden states, a list of (batch, tokens, hidden_dim), embeddings first."""
    layers = ["embeddings_dropout"] + [f"transformer_layer_{i}" for i in range(backbone.num_layers)]
    return keras.Model(backbone.inputs, [backbone.get_layer(name).output for name in layers])


def read_weights(backbone: keras.Model) -> dict[str, np.ndarray]:
    """The backbone's weights by our names, float32: matrices (inputs, outputs), `qkv` the three side by side."""
    hidden = backbone.hidden_dim
    weights = {
        "token_embedding": backbone.get_layer("token_embedding").embeddings,
        "position_embedding": backbone.get_layer("position_embedding").position_embeddings,
        "segment_embedding": backbone.get_layer("segment_embedding").embeddings,
        "embeddings_norm.gamma": backbone.get_layer("embeddings_layer_norm").gamma,
        "embeddings_norm.beta": backbone.get_layer("embeddings_layer_norm").beta,
        "pooler.kernel": backbone.get_layer("pooled_dense").kernel,
        "pooler.bias": backbone.get_layer("pooled_dense").bias,
    }
    weights = {name: np.asarray(value) for name, value in weights.items()}
    for index in range(backbone.num_layers):
        block = backbone.get_layer(f"transformer_layer_{index}")
        attention = block._self_attention_layer
        projections = (attention.query_dense, attention.key_dense, attention.value_dense)
        parts = {
            "qkv.kernel": np.concatenate([np.reshape(p.kernel, (hidden, hidden)) for p in projections], axis=1),
            "qkv.bias": np.concatenate([np.reshape(p.bias, hidden) for p in projections]),
            "attention_output.kernel": np.reshape(attention.output_dense.kernel, (hidden, hidden)),
            "attention_output.bias": attention.output_dense.bias,
            "attention_norm.gamma": block._self_attention_layer_norm.gamma,
            "attention_norm.beta": block._self_attention_layer_norm.beta,
            "intermediate.kernel": block._feedforward_intermediate_dense.kernel,
            "intermediate.bias": block._feedforward_intermediate_dense.bias,
            "output.kernel": block._feedforward_output_dense.kernel,
            "output.bias": block._feedforward_output_dense.bias,
            "output_norm.gamma": block._feedforward_layer_norm.gamma,
            "output_norm.beta": block._feedforward_layer_norm.beta,
        }
        weights |= {f"block_{index}.{name}": np.asarray(value) for name, value in parts.items()}
    return weights


class BertForward:
    """The forward pass of a BERT that keeps every hidden state; to be traced into a graph.

    Args:
        architecture: the sizes, activation and epsilon.
        weights: what `read_weights` gives.
        dtype: "float32" or "bfloat16", the type of products and states; kernels add up in float32.
    """

    def __init__(self, architecture: Architecture, weights: dict[str, np.ndarray], dtype: str):
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
        self._on_gpu = bool(tf.config.list_physical_devices("GPU"))

    def __call__(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, lengths: tf.Tensor, num_blocks: int):
        """Returns the embeddings' output and those of the first `num_blocks` blocks, each (batch · tokens, hidden_dim).

        Args:
            token_ids, segment_ids: int32, (batch, tokens), padding on the right.
            lengths: int32, (batch,), real tokens of each text.
        """
        batch, tokens = tf.shape(token_ids)[0], tf.shape(token_ids)[1]
        segment_ids = tf.minimum(segment_ids, self.architecture.num_segments - 1)
        x = (
            tf.gather(self._embeddings["token_embedding"], token_ids)
            + self._embeddings["position_embedding"][:tokens]
            + tf.gather(self._embeddings["segment_embedding"], segment_ids)
        )  # (batch, tokens, hidden)
        x = tf.cast(tf.reshape(x, (-1, self.architecture.hidden_dim)), self.dtype)  # (batch · tokens, hidden)
        x = self._norm(x, "embeddings_norm")
        bias = tf.where(tf.sequence_mask(lengths, tokens), 0.0, -1e9)[:, None, None, :]  # (batch, 1, 1, tokens)
        bias = tf.cast(bias, self.dtype)
        states = [x]
        for index in range(num_blocks):
            x = self._block(x, f"block_{index}", bias, batch, tokens)
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
        inner = GRAPH_ACTIVATIONS[self.architecture.activation](self._dense(x, f"{name}.intermediate"))
        return self._norm(self._dense(inner, f"{name}.output") + x, f"{name}.output_norm")

    def _dense(self, x, name):
        product = tf.matmul(x, tf.constant(self._weights[f"{name}.kernel"]))
        return tf.nn.bias_add(product, tf.constant(self._weights[f"{name}.bias"]))

    def _norm(self, x, name):
        """Layer norm of (rows, hidden)."""
        epsilon, hidden = self.architecture.layer_norm_epsilon, self.architecture.hidden_dim
        gamma, beta = self._weights[f"{name}.gamma"], self._weights[f"{name}.beta"]
        if self._on_gpu:
            wide = tf.cast(x, tf.float32)
            mean, variance = tf.nn.moments(wide, axes=[1], keepdims=True)
            return tf.cast((wide - mean) * tf.math.rsqrt(variance + epsilon), self.dtype) * gamma + beta
        # A batch norm whose channels are our rows: the one way of writing it that becomes a single kernel and keeps
        # the epsilon. A GPU would raise epsilon to 1e-5.
        rows = tf.shape(x)[:1]
        normed = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(x, (1, -1, hidden, 1)),
            scale=tf.fill(rows, 1.0),
            offset=tf.fill(rows, 0.0),
            mean=[],
            variance=[],
            epsilon=epsilon,
            data_format="NCHW",
        ).y
        return tf.reshape(normed, tf.shape(x)) * gamma + beta
