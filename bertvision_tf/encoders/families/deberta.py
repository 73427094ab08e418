"""DeBERTa v2 and v3: attention to what tokens are and, apart from it, to how far they lie apart.

Source: He et al., 2020, arXiv 2006.03654, and 2021, arXiv 2111.09543.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from ...settings.checks import is_count
from ..architecture import Architecture, Weight, list_dense, list_norm, list_table, norm_rows
from ..blocks import (
    Context,
    Parts,
    attend,
    finish_post_norm_block,
    join_heads,
    list_distances,
    make_context,
    split_heads,
    spread_distances,
)
from .bert import SIZES, Kin
from .family import BERT_SIZES, OwnHead, Preset

KINDS = ("c2p", "p2c")  # content to position, position to content


@dataclasses.dataclass(frozen=True)
class DebertaArchitecture(Architecture):
    """Sizes, and how distances are attended to.

    Attributes:
        position_buckets: of distances on each side, of which far ones share some; 0 where each has its own.
        farthest: the distance up to which they are told apart.
        kinds: of KINDS, those that are added to the scores.
        shares_key: whether distances are projected by the layers' own query and key.
        norms_distances: whether the table of distances passes a layer norm.
        absolute: whether embeddings have absolute positions too.
    """

    position_buckets: int = 0
    farthest: int = 512
    kinds: tuple[str, ...] = KINDS
    shares_key: bool = True
    norms_distances: bool = True
    absolute: bool = False

    @property
    def span(self) -> int:
        """Distances that the table has, on each side."""
        return self.position_buckets or self.farthest


class Deberta(Kin):
    """The family."""

    def read_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Family`."""
        if config.get("conv_kernel_size"):
            raise ValueError("conv_kernel_size names a convolution beside the first block, which is not read.")
        if config.get("relative_attention") is not True:
            raise ValueError("relative_attention needs to be true; a DeBERTa v2 without it is not read.")
        if config.get("attention_head_size", 0) not in (0, config["hidden_size"] // config["num_attention_heads"]):
            raise ValueError("attention_head_size needs to be hidden_size / num_attention_heads.")
        kinds = config.get("pos_att_type") or []
        kinds = [kind.strip() for kind in kinds.lower().split("|")] if isinstance(kinds, str) else kinds
        if not isinstance(kinds, list) or not set(map(str, kinds)) <= set(KINDS):
            raise ValueError(f"pos_att_type knows {' and '.join(KINDS)}, got {kinds!r}.")
        norm = config.get("norm_rel_ebd", "none")
        if norm not in ("none", "layer_norm"):
            raise ValueError(f"norm_rel_ebd knows 'none' and 'layer_norm', got {norm!r}.")
        buckets, farthest = config.get("position_buckets", -1), config.get("max_relative_positions", -1)
        for name, value in (("position_buckets", buckets), ("max_relative_positions", farthest)):
            if not is_count(value):
                raise ValueError(f"{name} needs a whole number, got {value!r}.")
        farthest = farthest if farthest > 0 else config["max_position_embeddings"]
        if buckets > 0 and not 2 <= buckets < 2 * (farthest - 1):
            raise ValueError(
                f"position_buckets needs to be from 2 to twice the distances that there are, got {buckets}."
            )
        flags = {"share_att_key": False, "position_biased_input": True}
        for name in flags:
            flags[name] = config.get(name, flags[name])
            if not isinstance(flags[name], bool):
                raise ValueError(f"{name} needs true or false, got {flags[name]!r}.")
        return {
            "position_buckets": max(buckets, 0),
            "farthest": farthest,
            "kinds": tuple(kind for kind in KINDS if kind in kinds),
            "shares_key": flags["share_att_key"],
            "norms_distances": norm == "layer_norm",
            "absolute": flags["position_biased_input"],
        }

    def describe_settings(self, architecture: Architecture) -> dict[str, Any]:
        """See `Family`."""
        assert isinstance(architecture, DebertaArchitecture)
        return {
            "relative_attention": True,
            "position_buckets": architecture.position_buckets or -1,
            "max_relative_positions": architecture.farthest,
            "pos_att_type": list(architecture.kinds),
            "share_att_key": architecture.shares_key,
            "norm_rel_ebd": "layer_norm" if architecture.norms_distances else "none",
            "position_biased_input": architecture.absolute,
            "pooler_hidden_size": architecture.hidden_dim,
        }

    def list_weights(self, architecture: Architecture, positions: int | None) -> list[Weight]:
        """See `Family`: BERT's, a table of distances, and where they are not shared its projections in each block."""
        assert isinstance(architecture, DebertaArchitecture)
        hidden, width = architecture.hidden_dim, architecture.embedding_dim
        weights = super().list_weights(architecture, positions)
        norm = list_norm("embeddings_norm", "embeddings.LayerNorm", hidden)  # after the projection
        weights = [next((one for one in norm if one.ours == weight.ours), weight) for weight in weights]
        absent = ("pooler",) if architecture.absolute else ("pooler", "position_embedding")
        weights = [weight for weight in weights if not weight.ours[0].startswith(absent)]
        if width != hidden:
            weights += list_dense("projection", "embeddings.embed_proj", width, hidden, bias=False)
        weights += list_table("distance_embedding", "encoder.rel_embeddings", 2 * architecture.span, hidden)
        if architecture.norms_distances:
            weights += list_norm("distance_norm", "encoder.LayerNorm", hidden)
        if not architecture.shares_key:
            theirs = {"c2p": "pos_key_proj", "p2c": "pos_query_proj"}
            for block in range(architecture.num_blocks):
                stem = f"{self.block.format(block)}.attention.self"
                for kind in architecture.kinds:
                    ours = f"block_{block}.{self._name(architecture, kind)}"
                    weights += list_dense(ours, f"{stem}.{theirs[kind]}", hidden, hidden)
        return weights

    def embed(self, parts: Parts, token_ids: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
        """See `Family`; the projection stands before the norm."""
        x = self.add_tables(parts, token_ids, segment_ids)
        x = parts.dense(x, "projection") if parts.has("projection.kernel") else x
        return parts.drop(parts.norm(x, "embeddings_norm"))

    def fold(self, architecture: Architecture, weights: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """See `Family`: the table of distances as keys and queries of every block, each (2 · span, hidden)."""
        assert isinstance(architecture, DebertaArchitecture)
        folded = {name: value for name, value in weights.items() if not name.startswith("distance_")}
        table = weights["distance_embedding"]
        if architecture.norms_distances:
            table = norm_rows(table, architecture.layer_norm_epsilon)
            table = table * weights["distance_norm.gamma"] + weights["distance_norm.beta"]
        for block in range(architecture.num_blocks):
            for name in (self._name(architecture, kind) for kind in architecture.kinds):
                start = f"block_{block}.{name}"
                folded[f"block_{block}.folded_{name}"] = table @ weights[f"{start}.kernel"] + weights[f"{start}.bias"]
                if not architecture.shares_key:
                    del folded[f"{start}.kernel"], folded[f"{start}.bias"]
        return folded

    def prepare(self, parts: Parts, lengths: tf.Tensor, tokens: tf.Tensor) -> Context:
        """See `Family`: for every distance, 2 · tokens − 1 of them, its row in the table, or what stands there."""
        architecture = parts.architecture
        assert isinstance(architecture, DebertaArchitecture)
        context = make_context(lengths, tokens, parts.dtype)
        rows = find_rows(-list_distances(tokens), architecture)  # DeBERTa counts from the key to the query
        if not parts.has("distance_embedding"):
            return context | {"rows": rows}
        table = tf.cast(parts.read("distance_embedding"), parts.dtype)
        if architecture.norms_distances:
            table = parts.norm(table, "distance_norm")
        return context | {"distances": parts.drop(tf.gather(table, rows))}

    def run_block(self, parts: Parts, x: tf.Tensor, layer: int, context: Context) -> tf.Tensor:
        """See `Family`."""
        architecture = parts.architecture
        assert isinstance(architecture, DebertaArchitecture)
        query, key, value = split_heads(parts, x, context)
        scale = (architecture.head_dim * (1 + len(architecture.kinds))) ** -0.5
        bias = context["mask"]
        if "c2p" in architecture.kinds:  # (batch, heads, query, 2 · tokens − 1), spread over keys
            near = self._project(parts, context, "c2p")
            bias += spread_distances(tf.matmul(query * tf.constant(scale, parts.dtype), near, transpose_b=True))
        if "p2c" in architecture.kinds:  # (batch, heads, key, 2 · tokens − 1), of distances seen from the query
            near = self._project(parts, context, "p2c")[:, ::-1]
            scores = tf.matmul(key * tf.constant(scale, parts.dtype), near, transpose_b=True)
            bias += tf.transpose(spread_distances(scores), (0, 1, 3, 2))
        attended = attend(parts, query, key, value, bias, scale)
        return finish_post_norm_block(parts, x, join_heads(parts, attended))

    def _project(self, parts: Parts, context: Context, kind: str) -> tf.Tensor:
        """Every distance as a key or a query: (heads, 2 · tokens − 1, head_dim)."""
        architecture = parts.architecture
        assert isinstance(architecture, DebertaArchitecture)
        name = self._name(architecture, kind)
        if parts.has(f"folded_{name}"):
            found = tf.gather(parts.read(f"folded_{name}"), context["rows"])
        else:
            found = parts.dense(context["distances"], name)
        return tf.transpose(tf.reshape(found, (-1, architecture.num_heads, architecture.head_dim)), (1, 0, 2))

    def _name(self, architecture: DebertaArchitecture, kind: str) -> str:
        """The dense layer that projects distances for a kind of attention."""
        name = {"c2p": "key", "p2c": "query"}[kind]
        return name if architecture.shares_key else f"distance_{name}"


def find_rows(distances: tf.Tensor, architecture: DebertaArchitecture) -> tf.Tensor:
    """The row in the table of each distance of a query from its key: near ones have their own, and where there are
    buckets, farther ones share them in steps that grow as the logarithm."""
    span = architecture.span
    if architecture.position_buckets:
        middle, last = architecture.position_buckets // 2, architecture.farthest - 1
        far = tf.cast(tf.maximum(tf.abs(distances), middle), tf.float32)
        steps = tf.math.ceil(tf.math.log(far / middle) / math.log(last / middle) * (middle - 1))
        shared = tf.sign(distances) * (tf.cast(steps, tf.int32) + middle)
        distances = tf.where(tf.abs(distances) <= middle, distances, shared)
    return tf.clip_by_value(distances + span, 0, 2 * span - 1)


DEBERTA = Deberta(
    transformers="DebertaV2",
    prefix="deberta",
    parts=(
        "attention.self.query_proj",
        "attention.self.key_proj",
        "attention.self.value_proj",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
        "attention.output.LayerNorm",
        "output.LayerNorm",
    ),
    sizes=BERT_SIZES | {"num_segments": ("type_vocab_size", 0), "num_blocks": ("", "num_hidden_layers")},
    epsilon=("layer_norm_eps", 1e-7),
    alone=False,
    head=OwnHead("gelu", "pooler.dense", "classifier"),
    preset=Preset(
        "DebertaV3Backbone",
        "DebertaV2Tokenizer",
        {**SIZES, "bucket_size": "position_buckets"},
        {"vocabulary.spm": "spm.model"},
    ),
    architecture=DebertaArchitecture,
)
