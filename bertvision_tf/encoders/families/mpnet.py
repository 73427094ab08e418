"""MPNet: BERT's blocks with T5's relative positions beside the absolute ones.

Source: Song et al., 2020, arXiv 2004.09297; the buckets are those of Raffel et al., 2019, arXiv 1910.10683.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ...settings.checks import is_count
from ..architecture import Architecture, Weight, list_table
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
from .bert import Kin
from .family import NO_SEGMENTS

FARTHEST = 128  # tokens, from which on all distances share a bucket
MOST = 4 * FARTHEST  # buckets, from which on near distances would leave none to far ones
BUCKETS = "relative_attention_num_buckets"


@dataclasses.dataclass(frozen=True)
class MPNetArchitecture(Architecture):
    """Sizes, and the number of buckets of relative positions."""

    buckets: int = 32


class MPNet(Kin):
    """The family."""

    def read_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Family`."""
        buckets = config.get(BUCKETS, 32)
        if not is_count(buckets) or buckets % 2 or not 4 <= buckets < MOST:
            raise ValueError(f"{BUCKETS} needs an even number from 4 on, below {MOST}, got {buckets!r}.")
        return {"buckets": buckets}

    def describe_settings(self, architecture: Architecture) -> dict[str, Any]:
        """See `Family`."""
        assert isinstance(architecture, MPNetArchitecture)
        return {BUCKETS: architecture.buckets}

    def list_weights(self, architecture: Architecture, positions: int | None) -> list[Weight]:
        """See `Family`: BERT's, and a bias of each head for each bucket, which all blocks share."""
        assert isinstance(architecture, MPNetArchitecture)
        stem = "encoder.relative_attention_bias"
        shared = list_table("relative_embedding", stem, architecture.buckets, architecture.num_heads)
        return super().list_weights(architecture, positions) + shared

    def prepare(self, parts: Parts, lengths: tf.Tensor, tokens: tf.Tensor) -> Context:
        """See `Family`: the bias (1, heads, tokens, tokens) of every pair of tokens is added to the mask."""
        assert isinstance(parts.architecture, MPNetArchitecture)
        context = make_context(lengths, tokens, parts.dtype)
        buckets = find_buckets(list_distances(tokens), parts.architecture.buckets)
        bias = tf.transpose(parts.look_up("relative_embedding", buckets))[:, None]  # (heads, 1, 2 · tokens − 1)
        bias = spread_distances(tf.repeat(bias, tokens, axis=1))  # (heads, tokens, tokens)
        return context | {"bias": context["mask"] + tf.cast(bias, parts.dtype)[None]}  # (batch, heads, tokens, tokens)

    def run_block(self, parts: Parts, x: tf.Tensor, layer: int, context: Context) -> tf.Tensor:
        """See `Family`."""
        query, key, value = split_heads(parts, x, context)
        attended = attend(parts, query, key, value, context["bias"])
        return finish_post_norm_block(parts, x, join_heads(parts, attended))


def find_buckets(distances: tf.Tensor, buckets: int) -> tf.Tensor:
    """The bucket of each distance of a key from its query: half of them for later keys; near ones have their own,
    farther ones share them in steps that grow as the logarithm."""
    half = buckets // 2
    exact = half // 2
    far = tf.abs(distances)
    steps = tf.math.log(tf.cast(tf.maximum(far, 1), tf.float32) / exact) / math.log(FARTHEST / exact)
    shared = tf.minimum(exact + tf.cast(steps * (half - exact), tf.int32), half - 1)
    return tf.where(distances > 0, half, 0) + tf.where(far < exact, far, shared)


MPNET = MPNet(
    transformers="MPNet",
    prefix="mpnet",
    parts=(
        "attention.attn.q",
        "attention.attn.k",
        "attention.attn.v",
        "attention.attn.o",
        "intermediate.dense",
        "output.dense",
        "attention.LayerNorm",
        "output.LayerNorm",
    ),
    sizes=NO_SEGMENTS,
    first_position=2,
    alone=False,
    architecture=MPNetArchitecture,
)
