"""What every family of encoders has to say of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ..architecture import Architecture, Weight
from ..blocks import Context, Parts, make_context, run_post_norm_block

BERT_SIZES: dict[str, tuple[str, Any]] = {
    "vocabulary_size": ("vocab_size", None),
    "num_layers": ("num_hidden_layers", None),
    "num_heads": ("num_attention_heads", None),
    "hidden_dim": ("hidden_size", None),
    "intermediate_dim": ("intermediate_size", None),
    "max_positions": ("max_position_embeddings", None),
    "num_segments": ("type_vocab_size", 2),
    "embedding_dim": ("embedding_size", "hidden_size"),
    "num_blocks": ("num_hidden_groups", "num_hidden_layers"),
}
NO_SEGMENTS: dict[str, tuple[str, Any]] = BERT_SIZES | {
    "num_segments": ("", 0),
    "embedding_dim": ("", "hidden_size"),
    "num_blocks": ("", "num_hidden_layers"),
}


@dataclasses.dataclass(frozen=True)
class OwnHead:
    """The head that a fine-tuned checkpoint has for labels: two dense layers.

    Attributes:
        activation: between them, as Keras names it; GELU is the exact one.
        dense: the name of the first.
        output: of the second.
        in_pooler: whether the first is the pooler of KerasHub's backbone.
        norm: the name of a layer norm without a bias between them, after the activation; "" for none.
    """

    activation: str = "tanh"
    dense: str = "classifier.dense"
    output: str = "classifier.out_proj"
    in_pooler: bool = False
    norm: str = ""


@dataclasses.dataclass(frozen=True)
class Preset:
    """How KerasHub has a family.

    Attributes:
        backbone: its class.
        tokenizer: transformers' class of the same tokenizer.
        sizes: arguments of that → our sizes.
        files: transformers' name of the tokenizer's file for each of a preset's.
    """

    backbone: str
    tokenizer: str
    sizes: Mapping[str, str]
    files: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A family of encoders. A family that is none of BERT's kin is a class of its own, in a file of its own.

    Attributes:
        transformers: how transformers' classes of it begin.
        prefix: before all names of a checkpoint's weights.
        sizes: our name of each size → its name in config.json ("" for none), and what it is where it is not said: a
            number, or the value of another entry.
        activation: the entry of config.json that names it, and what it is where it is not said.
        epsilon: the entry of config.json that holds that of layer norms, and what it is where it is not said; the
            entry is "" where it is fixed.
        aliases: entries of config.json by an older name → by the name that is read here.
        positions: what `position_embedding_type` of config.json may say.
        first_position: the row of the first token's position.
        pads_positions: whether positions are counted from the number of the padding's token on, as RoBERTa's; then
            KerasHub's backbone has no segments either.
        alone: whether a block needs nothing but states and their mask, and shares its weights with no other.
        head: its own, for labels.
        dropout: of states, and of attention's weights, in fine-tuning.
        preset: how KerasHub has it; None where it does not: fine-tuning then trains `trainable.Backbone`.
        architecture: the class of its sizes and settings.
    """

    transformers: str
    prefix: str
    sizes: Mapping[str, tuple[str, Any]] = dataclasses.field(default_factory=lambda: BERT_SIZES)
    activation: tuple[str, str] = ("hidden_act", "gelu")
    epsilon: tuple[str, float] = ("layer_norm_eps", 1e-12)
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    positions: tuple[str, ...] = ("absolute",)
    first_position: int = 0
    pads_positions: bool = False
    alone: bool = True
    head: OwnHead = OwnHead()
    dropout: tuple[float, float] = (0.1, 0.1)
    preset: Preset | None = None
    architecture: type[Architecture] = Architecture

    def read_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """What `architecture` has beside sizes, from config.json.

        Raises:
            ValueError: an entry is none that is known; its text follows the file's name.
        """
        return {}

    def describe_settings(self, architecture: Architecture) -> dict[str, Any]:
        """The entries of config.json that `read_settings` reads."""
        return {}

    def list_weights(self, architecture: Architecture, positions: int | None) -> list[Weight]:
        """The tensors of a checkpoint, in the order of the forward pass.

        Args:
            architecture: the sizes.
            positions: rows in the table of positions.
        """
        raise NotImplementedError

    def list_roots(self, architecture: Architecture) -> set[str]:
        """How names of the encoder's own weights begin, up to a dot: a tensor of these that is not listed is an
        error, others are a head's."""
        weights = self.list_weights(architecture, None)
        return {weight.theirs.partition(".")[0] for weight in weights if not weight.beside}

    def fold(self, architecture: Architecture, weights: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The weights of a forward pass that trains none: what depends on weights alone is worked out once."""
        return weights

    def embed(self, parts: Parts, token_ids: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
        """The embeddings' output, (batch · tokens, hidden_dim), of ids (batch, tokens)."""
        x = parts.norm(self.add_tables(parts, token_ids, segment_ids), "embeddings_norm")
        return parts.drop(parts.dense(x, "projection") if parts.has("projection.kernel") else x)

    def add_tables(self, parts: Parts, token_ids: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
        """The sum of a token's, its position's and its segment's embeddings, (batch · tokens, embedding_dim)."""
        architecture = parts.architecture
        x = parts.look_up("token_embedding", token_ids)  # (batch, tokens, embedding)
        if parts.has("position_embedding"):
            x += parts.read("position_embedding")[: tf.shape(token_ids)[1]]
        if architecture.num_segments:
            x += parts.look_up("segment_embedding", tf.minimum(segment_ids, architecture.num_segments - 1))
        return tf.cast(tf.reshape(x, (-1, architecture.embedding_dim)), parts.dtype)

    def prepare(self, parts: Parts, lengths: tf.Tensor, tokens: tf.Tensor) -> Context:
        """What all blocks read beside the states.

        Args:
            lengths: int32, (batch,), real tokens of each text.
            tokens: int32, a scalar: the width of the batch.
        """
        return make_context(lengths, tokens, parts.dtype)

    def run_block(self, parts: Parts, x: tf.Tensor, layer: int, context: Context) -> tf.Tensor:
        """A layer's output from its input, both (batch · tokens, hidden_dim); `parts` are its block's."""
        return run_post_norm_block(parts, x, context)

    def finish(self, parts: Parts, x: tf.Tensor) -> tf.Tensor:
        """The last hidden state from the last layer's output, both (batch · tokens, hidden_dim)."""
        return x
