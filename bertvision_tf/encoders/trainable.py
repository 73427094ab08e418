"""An encoder's forward pass of Keras layers, which fine-tuning trains: whole, of the families that KerasHub does not
have, and of all families the last blocks alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .architecture import Architecture
from .families import FAMILIES

# How the names of weights begin that only the embeddings read.
EMBEDDINGS = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_norm", "projection")


class Backbone(keras.Model):
    """The forward pass of a family over Keras layers, with dropout.

    Its inputs are token_ids, segment_ids and padding_mask, each int32 (batch, tokens), padding on the right; its
    output is the last hidden state (batch, tokens, hidden_dim).

    Args:
        architecture: sizes and settings.
        weights: what `read_weights` gives.
        dtype: of its products, or a Keras dtype policy.

    Attributes:
        blocks: its layers of one block each.
        states: all hidden states, as symbolic tensors.
    """

    def __init__(self, architecture: Architecture, weights: Mapping[str, np.ndarray], dtype: str = "float32"):
        groups = _group_weights(weights)
        names = ("token_ids", "segment_ids", "padding_mask")
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
        shared = _Shared(architecture, groups["shared"], dtype=dtype, name="embeddings")
        blocks = [
            _Block(architecture, groups[f"block_{layer}"], layer, dtype=dtype, name=f"block_{layer}")
            for layer in range(architecture.num_layers)
        ]
        x, context = shared(**inputs)
        states = [x]
        for block in blocks:
            x = block(x, context)
            states.append(x)
        if "final" in groups:
            states[-1] = x = _Final(architecture, groups["final"], dtype=dtype, name="final")(x)
        super().__init__(inputs, x, name="backbone")
        self.blocks, self.states = blocks, states

    @property
    def token_embedding(self) -> keras.layers.Layer:
        """The layer of the table of tokens."""
        return self.get_layer("embeddings").parts["token_embedding"]

    def find_variables(self) -> dict[str, keras.Variable]:
        """The variables by our names."""
        found: dict[str, keras.Variable] = {}
        for layer in self.layers:
            if isinstance(layer, _Parts):
                start = f"{layer.name}." if isinstance(layer, _Block) else ""
                found |= {f"{start}{name}": variable for name, variable in layer.find_variables().items()}
        return found

    def enable_lora(self, rank: int) -> None:
        """Freezes all but changes of so many ranks to each block's query and value kernels, and their biases."""
        for layer in self.layers:
            layer.trainable = layer in self.blocks
        for block in self.blocks:
            for name, part in block.parts.items():
                part.trainable = name in ("query", "value")
                if part.trainable:
                    part.enable_lora(rank)


class _Parts(keras.layers.Layer):
    """`blocks.Parts` of Keras layers, one for each dense layer, norm and table."""

    long = False  # fine-tuning's texts are short

    def __init__(self, architecture: Architecture, weights: Mapping[str, np.ndarray], **options: Any):
        super().__init__(**options)
        self.architecture, self._weights = architecture, dict(weights)
        self._family = FAMILIES[architecture.family]
        states, attention = self._family.dropout
        self._dropout = keras.layers.Dropout(states, dtype=self.dtype_policy)
        self._attention_dropout = keras.layers.Dropout(attention, dtype=self.dtype_policy)
        self.parts: dict[str, keras.layers.Layer] = {}
        for name in {name.partition(".")[0]: None for name in weights}:
            self.parts[name] = part = self._make(name)
            setattr(self, f"part_{name}", part)  # Keras finds layers that are attributes
        self._training = False

    def _make(self, name: str) -> keras.layers.Layer:
        options = {"dtype": self.dtype_policy, "name": name}
        if name in self._weights:
            rows, width = self._weights[name].shape
            layer = keras.layers.Embedding(rows, width, dtype="float32", name=name)
            layer.build()
            layer.embeddings.assign(self._weights[name])
        elif f"{name}.kernel" in self._weights:
            inputs, outputs = self._weights[f"{name}.kernel"].shape
            layer = keras.layers.Dense(outputs, use_bias=f"{name}.bias" in self._weights, **options)
            layer.build((None, inputs))
        else:
            layer = keras.layers.LayerNormalization(
                epsilon=self.architecture.layer_norm_epsilon, center=f"{name}.beta" in self._weights, **options
            )
            layer.build((None, *self._weights[f"{name}.gamma"].shape))
        for end in ("kernel", "bias", "gamma", "beta"):
            if f"{name}.{end}" in self._weights:
                getattr(layer, end).assign(self._weights[f"{name}.{end}"])
        return layer

    def find_variables(self) -> dict[str, keras.Variable]:
        """The variables by our names within the block."""
        found = {}
        for name in self._weights:
            part, _, end = name.partition(".")
            found[name] = getattr(self.parts[part], end or "embeddings")
        return found

    @property
    def dtype(self) -> tf.DType:
        """Of products and states."""
        return tf.as_dtype(self.compute_dtype)

    def has(self, name: str) -> bool:
        return name in self._weights

    def read(self, name: str) -> tf.Tensor:
        return self.parts[name](tf.range(len(self._weights[name])))  # in float32, whatever the products are in

    def look_up(self, name: str, ids: tf.Tensor) -> tf.Tensor:
        return self.parts[name](ids)

    def dense(self, x: tf.Tensor, name: str) -> tf.Tensor:
        return self.parts[name](x)

    def heads(self, x: tf.Tensor, batch: tf.Tensor, tokens: tf.Tensor) -> list[tf.Tensor]:
        shape = (batch, tokens, self.architecture.num_heads, self.architecture.head_dim)
        projected = [tf.reshape(self.parts[name](x), shape) for name in ("query", "key", "value")]
        return [tf.transpose(part, (0, 2, 1, 3)) for part in projected]

    def norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        return self.parts[name](x)

    def drop(self, x: tf.Tensor) -> tf.Tensor:
        return self._dropout(x, training=self._training)

    def drop_attention(self, x: tf.Tensor) -> tf.Tensor:
        return self._attention_dropout(x, training=self._training)


class _Shared(_Parts):
    """The embeddings, and what all blocks read beside the states."""

    def call(self, token_ids: tf.Tensor, segment_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool = False):
        """The embeddings' output (batch, tokens, hidden), and the context."""
        self._training = training
        rows, tokens = tf.shape(token_ids)[0], tf.shape(token_ids)[1]
        x = self._family.embed(self, token_ids, segment_ids)
        lengths = tf.reduce_sum(tf.cast(padding_mask, tf.int32), axis=1)
        context = self._family.prepare(self, lengths, tokens)
        return tf.reshape(x, (rows, tokens, self.architecture.hidden_dim)), dict(context)


class _Block(_Parts):
    """A block."""

    def __init__(self, architecture: Architecture, weights: Mapping[str, np.ndarray], layer: int, **options: Any):
        super().__init__(architecture, weights, **options)
        self._layer = layer

    def call(self, x: tf.Tensor, context: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """The block's output from its input, both (batch, tokens, hidden)."""
        self._training = training
        flat = tf.reshape(x, (-1, self.architecture.hidden_dim))
        return tf.reshape(self._family.run_block(self, flat, self._layer, context), tf.shape(x))


class _Final(_Parts):
    """What follows the last block."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """The last hidden state from the last block's output, both (batch, tokens, hidden)."""
        flat = tf.reshape(x, (-1, self.architecture.hidden_dim))
        return tf.reshape(self._family.finish(self, flat), tf.shape(x))


class _Context(_Parts):
    """What all blocks read beside the states, where the embeddings are not run."""

    def call(self, padding_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """The context of a padding mask (batch, tokens)."""
        lengths = tf.reduce_sum(tf.cast(padding_mask, tf.int32), axis=1)
        return dict(self._family.prepare(self, lengths, tf.shape(padding_mask)[1]))


class UpperBlocks(keras.layers.Layer):
    """The last blocks of an encoder, with dropout, on the states below them: the lower layers of an image → all.

    What lower blocks read too, such as a table of relative positions, is not trained: their states would be others.

    Args:
        architecture: of the encoder; no two of its layers share a block.
        weights: what `read_weights` gives.
        count: how many blocks, 1 to all.
        dtype: of their products, or a Keras dtype policy.

    Call arguments:
        hidden_states: float32 (batch, layers, tokens, hidden_dim), the input of the lowest of these blocks the last.
        padding_mask: int (batch, tokens), padding on the right.
    Output: float32 (batch, layers + count, tokens, hidden_dim), 0 at padding.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, np.ndarray],
        count: int,
        dtype: str = "float32",
        **options: Any,
    ):
        super().__init__(**options)  # in float32: it only passes on what it reads
        groups = _group_weights(weights)
        shared = {name: value for name, value in groups["shared"].items() if not name.startswith(EMBEDDINGS)}
        self.context = _Context(architecture, shared, dtype=dtype, name="context")
        self.context.trainable = False  # after its parts are made, which it is set for too
        last = range(architecture.num_layers - count, architecture.num_layers)
        self.blocks = [
            _Block(architecture, groups[f"block_{layer}"], layer, dtype=dtype, name=f"block_{layer}") for layer in last
        ]
        has_final = "final" in groups
        self.final = _Final(architecture, groups["final"], dtype=dtype, name="final") if has_final else None

    def call(self, hidden_states: tf.Tensor, padding_mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        context, x = self.context(padding_mask), hidden_states[:, -1]  # (batch, tokens, hidden)
        states = []
        for block in self.blocks:
            x = block(x, context, training=training)
            states.append(x)
        if self.final is not None:
            states[-1] = self.final(x)
        upper = tf.stack([tf.cast(state, tf.float32) for state in states], axis=1)
        upper *= tf.cast(padding_mask[:, None, :, None], tf.float32)
        return tf.concat([hidden_states, upper], axis=1)

    def compute_output_shape(self, hidden_states_shape: Any, padding_mask_shape: Any) -> tuple[Any, ...]:
        batch, layers, *rest = hidden_states_shape
        return (batch, layers + len(self.blocks), *rest)

    def read_weights(self) -> dict[str, np.ndarray]:
        """The blocks' weights by our names, and those of the norm after the last, float32."""
        parts = {f"{block.name}.": block for block in self.blocks} | ({"": self.final} if self.final else {})
        return {
            f"{start}{name}": np.array(variable, np.float32)
            for start, part in parts.items()
            for name, variable in part.find_variables().items()
        }


def _group_weights(weights: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Weights by the block that has them, within it by their part's name: "shared" before the blocks, "final" after
    them; without the pooler, which a head of its own replaces."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, value in weights.items():
        block, _, part = name.partition(".") if name.startswith("block_") else ("shared", "", name)
        block = "final" if part.startswith("final_norm.") else block
        if not part.startswith("pooler."):
            groups.setdefault(block, {})[part] = value
    return groups
