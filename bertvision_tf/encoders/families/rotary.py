"""Nomic and GTE: BERT's blocks with rotary positions and a gated dense network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..architecture import Architecture, Weight, list_dense, list_norm, list_table
from ..blocks import (
    Context,
    Parts,
    attend,
    attend_far,
    finish_post_norm_block,
    join_heads,
    make_context,
    make_rotation,
    rotate,
    split_heads,
)
from .family import BERT_SIZES, Family, OwnHead
from .rope import check_head_dim, read_base

FIXED = {  # entries of original Nomic files, and the one value of each that is computed here
    "activation_function": "swiglu",
    "rotary_emb_fraction": 1.0,
    "partial_rotary_factor": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "prenorm": False,
    "parallel_block": False,
    "causal": False,
    "use_rms_norm": False,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
}


@dataclasses.dataclass(frozen=True)
class RotaryArchitecture(Architecture):
    """Sizes, and the base of rotary positions."""

    base: float = 10_000.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rotary(Family):
    """A family of these blocks.

    Attributes:
        base: the older entry of config.json for that of rotary positions, and what it is where it is not said.
        norm: a checkpoint's name of the embeddings' norm.
        block: of a block by its number.
        stacked: of query, key and value in one.
        names: of attention's output, the norm after it, the network's output, and the norm after that.
        gated: of the network's first layers, each with our names of what it stacks.
        biases: whether attention's dense layers, and the network's output, have biases.
    """

    base: tuple[str, float]
    norm: str
    block: str
    stacked: str
    names: tuple[str, str, str, str]
    gated: Mapping[str, tuple[str, ...]]
    biases: tuple[bool, bool]

    def read_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Family`."""
        check_head_dim(config)
        entry, usual = self.base
        for name in ("rope_scaling", "rotary_scaling_factor"):
            if config.get(name):
                raise ValueError(f"{name} scales the rotation, which is not read.")
        for name, wanted in FIXED.items():
            if config.get(name, wanted) not in (wanted, None):
                raise ValueError(f"{name} is {config[name]!r}; only {wanted!r} is read.")
        return {"base": read_base(config.get("rope_parameters"), config.get(entry), entry, usual)}

    def describe_settings(self, architecture: Architecture) -> dict[str, Any]:
        """See `Family`."""
        assert isinstance(architecture, RotaryArchitecture)
        return {"rope_parameters": {"rope_type": "default", "rope_theta": architecture.base}}

    def list_weights(self, architecture: Architecture, positions: int | None) -> list[Weight]:
        """See `Family`."""
        hidden, inner, (attention, network) = architecture.hidden_dim, architecture.intermediate_dim, self.biases
        weights = list_table("token_embedding", "embeddings.word_embeddings", architecture.vocabulary_size, hidden)
        if architecture.num_segments:
            stem = "embeddings.token_type_embeddings"
            weights += list_table("segment_embedding", stem, architecture.num_segments, hidden)
        weights += list_norm("embeddings_norm", self.norm, hidden)
        attention_output, attention_norm, output, output_norm = self.names
        for block in range(architecture.num_blocks):
            name, stem = f"block_{block}", self.block.format(block)
            parts = [f"{name}.{part}" for part in ("query", "key", "value")]
            weights += list_dense(parts, f"{stem}.{self.stacked}", hidden, hidden, bias=attention)
            weights += list_dense(
                f"{name}.attention_output", f"{stem}.{attention_output}", hidden, hidden, bias=attention
            )
            weights += list_norm(f"{name}.attention_norm", f"{stem}.{attention_norm}", hidden)
            for theirs, ours in self.gated.items():
                weights += list_dense([f"{name}.{one}" for one in ours], f"{stem}.{theirs}", hidden, inner, bias=False)
            weights += list_dense(f"{name}.output", f"{stem}.{output}", inner, hidden, bias=network)
            weights += list_norm(f"{name}.output_norm", f"{stem}.{output_norm}", hidden)
        return weights

    def prepare(self, parts: Parts, lengths: tf.Tensor, tokens: tf.Tensor) -> Context:
        """See `Family`: the mask, and the angles of all positions."""
        architecture = parts.architecture
        assert isinstance(architecture, RotaryArchitecture)
        cosine, sine = make_rotation(tokens, architecture.head_dim, architecture.base, parts.dtype)
        return make_context(lengths, tokens, parts.dtype) | {"cosine": cosine, "sine": sine}

    def run_block(self, parts: Parts, x: tf.Tensor, layer: int, context: Context) -> tf.Tensor:
        """See `Family`."""
        query, key, value = split_heads(parts, x, context)
        query, key = (rotate(part, context["cosine"], context["sine"]) for part in (query, key))
        attended = (attend_far if parts.long else attend)(parts, query, key, value, context["mask"])
        return finish_post_norm_block(parts, x, join_heads(parts, attended))


NOMIC = Rotary(
    transformers="NomicBert",
    prefix="nomic_bert",
    aliases={
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_embd": "hidden_size",
        "n_inner": "intermediate_size",
        "n_positions": "max_position_embeddings",
        "layer_norm_epsilon": "layer_norm_eps",
        "rotary_emb_base": "rope_theta",
    },
    activation=("hidden_act", "silu"),
    epsilon=("layer_norm_eps", 1e-12),
    alone=False,
    head=OwnHead("tanh", "nomic_bert.pooler.dense", "classifier"),
    dropout=(0.0, 0.0),
    architecture=RotaryArchitecture,
    base=("rope_theta", 1000.0),
    norm="emb_ln",
    block="encoder.layers.{}",
    stacked="attn.Wqkv",
    names=("attn.out_proj", "norm1", "mlp.fc2", "norm2"),
    gated={"mlp.fc11": ("gate",), "mlp.fc12": ("intermediate",)},
    biases=(False, False),
)
GTE = Rotary(
    transformers="Gte",
    prefix="new",
    sizes=BERT_SIZES | {"num_segments": ("type_vocab_size", 1)},
    positions=("absolute", "rope"),
    epsilon=("layer_norm_eps", 1e-12),
    alone=False,
    head=OwnHead("tanh", "new.pooler.dense", "classifier"),
    architecture=RotaryArchitecture,
    base=("rope_theta", 160_000.0),
    norm="embeddings.LayerNorm",
    block="encoder.layer.{}",
    stacked="attention.qkv_proj",
    names=("attention.o_proj", "attn_ln", "mlp.down_proj", "mlp_ln"),
    gated={"mlp.up_gate_proj": ("gate", "intermediate")},
    biases=(True, True),
)
