"""ModernBERT and its descendants (Ettin, mmBERT): rotary positions, most layers attend to near tokens alone.

Norms stand before attention and the gated dense network; the last hidden state is the one after a final norm.

Source: Warner et al., 2024, arXiv 2412.13663.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ...settings.checks import is_count
from ..architecture import Architecture, Weight, list_dense, list_norm, list_table
from ..blocks import (
    Context,
    Parts,
    attend,
    attend_far,
    expand,
    join_heads,
    make_context,
    make_rotation,
    mask_out,
    rotate,
    split_heads,
)
from .family import NO_SEGMENTS, Family, OwnHead
from .rope import check_head_dim, read_base

GLOBAL, LOCAL = "full_attention", "sliding_attention"
BIASES = ("attention_bias", "mlp_bias", "norm_bias")
BASES = {GLOBAL: ("global_rope_theta", 160_000.0), LOCAL: ("local_rope_theta", 10_000.0)}


@dataclasses.dataclass(frozen=True)
class ModernBertArchitecture(Architecture):
    """Sizes, and how layers attend.

    Attributes:
        layers: GLOBAL or LOCAL, of each layer.
        window: tokens that a local layer sees, half of them on each side.
        bases: of rotary positions, of global and of local layers.
        biases: whether attention's dense layers, those of the dense network, and norms have biases.
    """

    layers: tuple[str, ...] = ()
    window: int = 128
    bases: tuple[float, float] = (160_000.0, 10_000.0)
    biases: tuple[bool, bool, bool] = (False, False, False)

    @property
    def reach(self) -> int:
        """How far a local layer sees, in tokens."""
        return self.window // 2


class ModernBert(Family):
    """The family."""

    def read_settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """See `Family`."""
        check_head_dim(config)
        count, every = config["num_hidden_layers"], config.get("global_attn_every_n_layers", 3)
        if not is_count(every) or every < 1:
            raise ValueError(f"global_attn_every_n_layers needs a whole number from 1 on, got {every!r}.")
        layers = config.get("layer_types") or [LOCAL if layer % every else GLOBAL for layer in range(count)]
        if not isinstance(layers, list) or len(layers) != count or not set(map(str, layers)) <= {GLOBAL, LOCAL}:
            raise ValueError(f"layer_types needs {GLOBAL!r} or {LOCAL!r} for each of {count} layers, got {layers!r}.")
        window = config.get("local_attention", 128)
        if not is_count(window) or window < 2:
            raise ValueError(f"local_attention needs a whole number from 2 on, got {window!r}.")
        biases = [config.get(name, False) for name in BIASES]
        if not all(isinstance(bias, bool) for bias in biases):
            raise ValueError(f"{', '.join(BIASES)} need true or false, got {biases}.")
        return {"layers": tuple(layers), "window": window, "bases": _read_bases(config), "biases": tuple(biases)}

    def describe_settings(self, architecture: Architecture) -> dict[str, Any]:
        """See `Family`; by the new names and by those of older versions of transformers."""
        assert isinstance(architecture, ModernBertArchitecture)
        bases = dict(zip((GLOBAL, LOCAL), architecture.bases, strict=True))
        return {
            "layer_types": list(architecture.layers),
            "local_attention": architecture.window,
            "rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()},
            **{BASES[kind][0]: base for kind, base in bases.items()},
            **dict(zip(BIASES, architecture.biases, strict=True)),
            "classifier_bias": True,
            "classifier_pooling": "cls",
        }

    def list_weights(self, architecture: Architecture, positions: int | None) -> list[Weight]:
        """See `Family`; the first block has no norm before its attention."""
        assert isinstance(architecture, ModernBertArchitecture)
        hidden, inner = architecture.hidden_dim, architecture.intermediate_dim
        attention, network, norm = architecture.biases
        weights = list_table("token_embedding", "embeddings.tok_embeddings", architecture.vocabulary_size, hidden)
        weights += list_norm("embeddings_norm", "embeddings.norm", hidden, bias=norm)
        for block in range(architecture.num_blocks):
            name, stem = f"block_{block}", f"layers.{block}"
            if block:
                weights += list_norm(f"{name}.attention_norm", f"{stem}.attn_norm", hidden, bias=norm)
            stacked = [f"{name}.{part}" for part in ("query", "key", "value")]
            weights += list_dense(stacked, f"{stem}.attn.Wqkv", hidden, hidden, bias=attention)
            weights += list_dense(f"{name}.attention_output", f"{stem}.attn.Wo", hidden, hidden, bias=attention)
            weights += list_norm(f"{name}.output_norm", f"{stem}.mlp_norm", hidden, bias=norm)
            gated = [f"{name}.intermediate", f"{name}.gate"]
            weights += list_dense(gated, f"{stem}.mlp.Wi", hidden, inner, bias=network)
            weights += list_dense(f"{name}.output", f"{stem}.mlp.Wo", inner, hidden, bias=network)
        return weights + list_norm("final_norm", "final_norm", hidden, bias=norm)

    def prepare(self, parts: Parts, lengths: tf.Tensor, tokens: tf.Tensor) -> Context:
        """See `Family`: masks of global and local layers, and the angles of both."""
        architecture = parts.architecture
        assert isinstance(architecture, ModernBertArchitecture)
        context = make_context(lengths, tokens, parts.dtype)
        for kind, base in zip((GLOBAL, LOCAL), architecture.bases, strict=True):
            cosine, sine = make_rotation(tokens, architecture.head_dim, base, parts.dtype)
            context |= {f"cosine_{kind}": cosine, f"sine_{kind}": sine}
        if not parts.long:
            places = tf.range(tokens)
            near = tf.abs(places[:, None] - places) <= architecture.reach  # (tokens, tokens)
            context["near"] = context["mask"] + mask_out(near, parts.dtype)  # (batch, 1, t, t)
        return context

    def run_block(self, parts: Parts, x: tf.Tensor, layer: int, context: Context) -> tf.Tensor:
        """See `Family`."""
        architecture = parts.architecture
        assert isinstance(architecture, ModernBertArchitecture)
        kind = architecture.layers[layer]
        inner = parts.norm(x, "attention_norm") if parts.has("attention_norm.gamma") else x
        query, key, value = split_heads(parts, inner, context)
        query, key = (rotate(part, context[f"cosine_{kind}"], context[f"sine_{kind}"]) for part in (query, key))
        if parts.long:
            reach = architecture.reach if kind == LOCAL else None
            attended = attend_far(parts, query, key, value, context["mask"], reach)
        else:
            attended = attend(parts, query, key, value, context["near" if kind == LOCAL else "mask"])
        x += parts.drop(parts.dense(join_heads(parts, attended), "attention_output"))
        return x + parts.drop(parts.dense(expand(parts, parts.norm(x, "output_norm")), "output"))

    def finish(self, parts: Parts, x: tf.Tensor) -> tf.Tensor:
        """See `Family`: the final norm."""
        return parts.norm(x, "final_norm")


def _read_bases(config: Mapping[str, Any]) -> tuple[float, float]:
    """Those of rotary positions, of global and of local layers; a local one that is null is the global one."""
    parameters = config.get("rope_parameters") or {}
    if config.get("rope_scaling") or not isinstance(parameters, Mapping) or not set(parameters) <= {GLOBAL, LOCAL}:
        raise ValueError(f"rope_parameters needs settings of {GLOBAL} and {LOCAL}, and no rope_scaling.")
    found: list[float] = []
    for kind, (entry, usual) in BASES.items():
        usual = found[0] if found and entry in config and config[entry] is None else usual
        found.append(read_base(parameters.get(kind), config.get(entry), entry, usual))
    return found[0], found[1]


MODERNBERT = ModernBert(
    transformers="ModernBert",
    prefix="model",
    sizes=NO_SEGMENTS,
    activation=("hidden_activation", "gelu"),
    epsilon=("norm_eps", 1e-5),
    positions=("absolute", "sans_pos"),
    alone=False,
    head=OwnHead("gelu", "head.dense", "classifier", norm="head.norm"),
    dropout=(0.0, 0.0),
    architecture=ModernBertArchitecture,
)
