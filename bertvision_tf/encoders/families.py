"""The families of encoders, one row each, with all that differs between them.

The forward pass of blocks unlike BERT's is in `forward.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

BERT_SIZES: Mapping[str, tuple[str, Any]] = {
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
KERAS_SIZES: Mapping[str, str] = {
    "vocabulary_size": "vocabulary_size",
    "num_layers": "num_layers",
    "num_heads": "num_heads",
    "hidden_dim": "hidden_dim",
    "intermediate_dim": "intermediate_dim",
    "max_sequence_length": "max_positions",
}
PIECES = {"vocabulary.txt": "vocab.txt"}
PAIRS = {"vocabulary.json": "vocab.json", "merges.txt": "merges.txt"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a checkpoint names its weights.

    Attributes:
        prefix: before all of the encoder's.
        block: of a block by its number.
        parts: of a block's parts, in the order of `weights.DENSE` and `weights.NORMS`.
        projection: from the embeddings' width to the hidden states'; None where there is none.
        always_projects: whether it is there where both are equal.
    """

    prefix: str = "bert"
    block: str = "encoder.layer.{}"
    parts: tuple[str, ...] = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
        "attention.output.LayerNorm",
        "output.LayerNorm",
    )
    projection: str | None = None
    always_projects: bool = False


@dataclasses.dataclass(frozen=True)
class OwnHead:
    """The head that a fine-tuned checkpoint has for labels: two dense layers.

    Attributes:
        activation: between them, as Keras names it; GELU is the exact one.
        dense: the name of the first.
        output: of the second.
        in_pooler: whether the first is the encoder's own pooler.
    """

    activation: str = "tanh"
    dense: str = "classifier.dense"
    output: str = "classifier.out_proj"
    in_pooler: bool = False


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of encoders.

    Attributes:
        backbone: KerasHub's class.
        transformers: how transformers' classes of it begin.
        layout: of its checkpoints; None where only KerasHub's presets are read, and nothing is saved or fine-tuned.
        tokenizer: transformers' class, and its file for each of a preset's.
        sizes: our name of each size → its name in config.json ("" for none), and what it is where it is not said: a
            number, or the value of another entry.
        activation: the entry of config.json that names it, and what it is where it is not said.
        epsilon: the entry of config.json that holds that of layer norms; None where it is always 1e-12.
        keras_sizes: arguments of `backbone` → our sizes.
        head: its own, for labels.
        pads_positions: whether positions are counted from the number of the padding's token on, as RoBERTa's; then
            KerasHub's backbone has no segments either.
        shares_blocks: whether layers may share weights, or blocks read more than the last states: then none stands
            alone.
        lean: whether `forward.Forward` runs it; else KerasHub's backbone does.
    """

    backbone: str
    transformers: str
    layout: Layout | None
    tokenizer: tuple[str, Mapping[str, str]]
    sizes: Mapping[str, tuple[str, Any]] = dataclasses.field(default_factory=lambda: BERT_SIZES)
    activation: tuple[str, str] = ("hidden_act", "gelu")
    epsilon: str | None = "layer_norm_eps"
    keras_sizes: Mapping[str, str] = dataclasses.field(default_factory=lambda: KERAS_SIZES)
    head: OwnHead = OwnHead()
    pads_positions: bool = False
    shares_blocks: bool = False
    lean: bool = True


_ROBERTA: dict[str, Any] = {"layout": Layout("roberta"), "pads_positions": True}
FAMILIES: Mapping[str, Family] = {
    "bert": Family(
        backbone="BertBackbone",
        transformers="Bert",
        layout=Layout(),
        tokenizer=("BertTokenizer", PIECES),
        keras_sizes={**KERAS_SIZES, "num_segments": "num_segments"},
        head=OwnHead("tanh", "bert.pooler.dense", "classifier", in_pooler=True),
    ),
    "roberta": Family(
        backbone="RobertaBackbone", transformers="Roberta", tokenizer=("RobertaTokenizer", PAIRS), **_ROBERTA
    ),
    "xlm-roberta": Family(
        backbone="XLMRobertaBackbone",
        transformers="XLMRoberta",
        tokenizer=("XLMRobertaTokenizer", {"vocabulary.spm": "sentencepiece.bpe.model"}),
        **_ROBERTA,
    ),
    "distilbert": Family(
        backbone="DistilBertBackbone",
        transformers="DistilBert",
        layout=Layout(
            "distilbert",
            "transformer.layer.{}",
            (
                "attention.q_lin",
                "attention.k_lin",
                "attention.v_lin",
                "attention.out_lin",
                "ffn.lin1",
                "ffn.lin2",
                "sa_layer_norm",
                "output_layer_norm",
            ),
        ),
        tokenizer=("DistilBertTokenizer", PIECES),
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
        epsilon=None,
        head=OwnHead("relu", "pre_classifier", "classifier"),
    ),
    "albert": Family(
        backbone="AlbertBackbone",
        transformers="Albert",
        layout=Layout(
            "albert",
            "encoder.albert_layer_groups.{}.albert_layers.0",
            (
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
        ),
        tokenizer=("AlbertTokenizer", {"vocabulary.spm": "spiece.model"}),
        activation=("hidden_act", "gelu_new"),
        keras_sizes={
            **KERAS_SIZES,
            "num_segments": "num_segments",
            "embedding_dim": "embedding_dim",
            "num_groups": "num_blocks",
        },
        head=OwnHead("tanh", "albert.pooler", "classifier", in_pooler=True),
        shares_blocks=True,
    ),
    "electra": Family(
        backbone="ElectraBackbone",
        transformers="Electra",
        layout=Layout("electra", projection="embeddings_project"),
        tokenizer=("ElectraTokenizer", PIECES),
        keras_sizes={
            **{("vocab_size" if name == "vocabulary_size" else name): ours for name, ours in KERAS_SIZES.items()},
            "num_segments": "num_segments",
            "embedding_dim": "embedding_dim",
        },
        head=OwnHead("gelu"),
    ),
    "deberta-v3": Family(
        backbone="DebertaV3Backbone",
        transformers="DebertaV2",
        layout=None,
        tokenizer=("DebertaV2Tokenizer", {"vocabulary.spm": "spm.model"}),
        keras_sizes={**KERAS_SIZES, "bucket_size": "position_buckets"},
        shares_blocks=True,
        lean=False,
    ),
}
READ = tuple(name for name, family in FAMILIES.items() if family.layout is not None)  # from checkpoints


def get_layout(family: str) -> Layout:
    """The layout of a family's checkpoints; KeyError where it has none."""
    layout = FAMILIES[family].layout
    if layout is None:
        raise KeyError(family)
    return layout
