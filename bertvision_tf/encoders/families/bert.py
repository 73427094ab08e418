"""BERT and its kin: absolute positions, blocks with their norms after the residuals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..architecture import DENSE, NORMS, Architecture, Weight, list_dense, list_norm, list_table
from .family import Family, OwnHead, Preset

PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
    "attention.output.LayerNorm",
    "output.LayerNorm",
)
SIZES: Mapping[str, str] = {
    "vocabulary_size": "vocabulary_size",
    "num_layers": "num_layers",
    "num_heads": "num_heads",
    "hidden_dim": "hidden_dim",
    "intermediate_dim": "intermediate_dim",
    "max_sequence_length": "max_positions",
}
SEGMENTS = {**SIZES, "num_segments": "num_segments"}
WORDS = {"vocabulary.txt": "vocab.txt"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kin(Family):
    """A family whose blocks are BERT's.

    Attributes:
        block: a checkpoint's name of a block by its number.
        parts: of a block's parts, in the order of DENSE and NORMS.
        projection: from the embeddings' width to the hidden states'; None where there is none.
        always_projects: whether it is there where both are equal.
        pooler: of the pooler.
    """

    block: str = "encoder.layer.{}"
    parts: tuple[str, ...] = PARTS
    projection: str | None = None
    always_projects: bool = False
    pooler: str = "pooler.dense"

    def list_weights(self, architecture: Architecture, positions: int | None) -> list[Weight]:
        """See `Family`."""
        hidden, width, inner = architecture.hidden_dim, architecture.embedding_dim, architecture.intermediate_dim
        weights = list_table("token_embedding", "embeddings.word_embeddings", architecture.vocabulary_size, width)
        weights += list_table("position_embedding", "embeddings.position_embeddings", positions, width)
        if architecture.num_segments:
            segments = architecture.num_segments
            weights += list_table("segment_embedding", "embeddings.token_type_embeddings", segments, width)
        weights += list_norm("embeddings_norm", "embeddings.LayerNorm", width)
        if self.projection and (width != hidden or self.always_projects):
            weights += list_dense("projection", self.projection, width, hidden)
        sizes = dict.fromkeys(DENSE, (hidden, hidden)) | {"intermediate": (hidden, inner), "output": (inner, hidden)}
        for block in range(architecture.num_blocks):
            for part, stem in zip((*DENSE, *NORMS), self.parts, strict=True):
                name, stem = f"block_{block}.{part}", f"{self.block.format(block)}.{stem}"
                weights += list_norm(name, stem, hidden) if part in NORMS else list_dense(name, stem, *sizes[part])
        return weights + list_dense("pooler", self.pooler, hidden, hidden, beside=f"{self.pooler}.weight")

    def list_roots(self, architecture: Architecture) -> set[str]:
        """See `Family`; the projection among them where config.json does not say that there is one."""
        return super().list_roots(architecture) | {"embeddings_project"}


BERT = Kin(
    transformers="Bert",
    prefix="bert",
    head=OwnHead("tanh", "bert.pooler.dense", "classifier", in_pooler=True),
    preset=Preset("BertBackbone", "BertTokenizer", SEGMENTS, WORDS),
)
_ROBERTA: dict[str, Any] = {"prefix": "roberta", "pads_positions": True}
ROBERTA = Kin(
    transformers="Roberta",
    preset=Preset(
        "RobertaBackbone", "RobertaTokenizer", SIZES, {"vocabulary.json": "vocab.json", "merges.txt": "merges.txt"}
    ),
    **_ROBERTA,
)
XLM_ROBERTA = Kin(
    transformers="XLMRoberta",
    preset=Preset("XLMRobertaBackbone", "XLMRobertaTokenizer", SIZES, {"vocabulary.spm": "sentencepiece.bpe.model"}),
    **_ROBERTA,
)
CAMEMBERT = Kin(
    transformers="Camembert",
    preset=Preset("RobertaBackbone", "RobertaTokenizer", SIZES, {}),  # its presets are read as RoBERTas
    **_ROBERTA,
)
DISTILBERT = Kin(
    transformers="DistilBert",
    prefix="distilbert",
    block="transformer.layer.{}",
    parts=(
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "ffn.lin1",
        "ffn.lin2",
        "sa_layer_norm",
        "output_layer_norm",
    ),
    sizes={
        "vocabulary_size": ("vocab_size", None),
        "num_layers": ("n_layers", None),
        "num_heads": ("n_heads", None),
        "hidden_dim": ("dim", None),
        "intermediate_dim": ("hidden_dim", None),
        "max_positions": ("max_position_embeddings", None),
        "num_segments": ("", 0),
        "embedding_dim": ("", "dim"),
        "num_blocks": ("", "n_layers"),
    },
    activation=("activation", "gelu"),
    epsilon=("", 1e-12),
    head=OwnHead("relu", "pre_classifier", "classifier"),
    preset=Preset("DistilBertBackbone", "DistilBertTokenizer", SIZES, WORDS),
)
ALBERT = Kin(
    transformers="Albert",
    prefix="albert",
    block="encoder.albert_layer_groups.{}.albert_layers.0",
    parts=(
        "attention.query",
        "attention.key",
        "attention.value",
        "attention.dense",
        "ffn",
        "ffn_output",
        "attention.LayerNorm",
        "full_layer_layer_norm",
    ),
    projection="encoder.embedding_hidden_mapping_in",
    always_projects=True,
    pooler="pooler",
    activation=("hidden_act", "gelu_new"),
    alone=False,
    head=OwnHead("tanh", "albert.pooler", "classifier", in_pooler=True),
    preset=Preset(
        "AlbertBackbone",
        "AlbertTokenizer",
        {**SEGMENTS, "embedding_dim": "embedding_dim", "num_groups": "num_blocks"},
        {"vocabulary.spm": "spiece.model"},
    ),
)
ELECTRA = Kin(
    transformers="Electra",
    prefix="electra",
    projection="embeddings_project",
    head=OwnHead("gelu"),
    preset=Preset(
        "ElectraBackbone",
        "ElectraTokenizer",
        {
            **{("vocab_size" if name == "vocabulary_size" else name): ours for name, ours in SEGMENTS.items()},
            "embedding_dim": "embedding_dim",
        },
        WORDS,
    ),
)
