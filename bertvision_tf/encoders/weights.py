"""A checkpoint's safetensors → weights by our names, float32.

token_embedding, position_embedding, segment_embedding (rows, embedding_dim); the last only where the family has one
embeddings_norm.gamma, .beta                            (embedding_dim,)
projection.kernel, .bias                                embedding_dim → hidden_dim, in ALBERT and some ELECTRAs
block_0.query.kernel, .bias, key, value, attention_output, intermediate, output; attention_norm, output_norm
pooler.kernel, .bias                                    where the checkpoint has it
Matrices are (inputs, outputs).
"""

import dataclasses
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from ..errors import EncoderError
from .checkpoint import Architecture

DENSE = ("query", "key", "value", "attention_output", "intermediate", "output")
NORMS = ("attention_norm", "output_norm")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a family names its weights: a prefix, a block by its number, and a block's parts in the order of
    DENSE and NORMS."""

    prefix: str
    block: str
    parts: tuple[str, ...]
    projection: str | None = None


_BERT_PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
    "attention.output.LayerNorm",
    "output.LayerNorm",
)
LAYOUTS = {
    "bert": Layout("bert", "encoder.layer.{}", _BERT_PARTS),
    "roberta": Layout("roberta", "encoder.layer.{}", _BERT_PARTS),
    "xlm-roberta": Layout("roberta", "encoder.layer.{}", _BERT_PARTS),
    "electra": Layout("electra", "encoder.layer.{}", _BERT_PARTS, projection="embeddings_project"),
    "distilbert": Layout(
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
    "albert": Layout(
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
    ),
}


def read_weights(folder: Path, architecture: Architecture) -> dict[str, np.ndarray]:
    """Reads the weights of a checkpoint folder.

    Raises:
        EncoderError: they are damaged, one is missing, or does not fit what config.json says.
    """
    layout, source = LAYOUTS[architecture.family], _Source(folder, LAYOUTS[architecture.family].prefix)
    hidden, width, inner = architecture.hidden_dim, architecture.embedding_dim, architecture.intermediate_dim
    positions = source.read("embeddings.position_embeddings.weight", (None, width))[-architecture.max_positions :]
    weights = {
        "token_embedding": source.read("embeddings.word_embeddings.weight", (architecture.vocabulary_size, width)),
        "position_embedding": positions,
    }
    if len(positions) != architecture.max_positions:
        raise EncoderError(f"{folder} has {len(positions)} positions, config.json says {architecture.max_positions}.")
    if architecture.num_segments:
        rows = (architecture.num_segments, width)
        weights["segment_embedding"] = source.read("embeddings.token_type_embeddings.weight", rows)
    weights |= source.read_norm("embeddings_norm", "embeddings.LayerNorm", width)
    if layout.projection and (width != hidden or architecture.family == "albert"):
        weights |= source.read_dense("projection", layout.projection, width, hidden)
    sizes = dict.fromkeys(DENSE, (hidden, hidden)) | {"intermediate": (hidden, inner), "output": (inner, hidden)}
    for block in range(architecture.num_blocks):
        for part, stem in zip((*DENSE, *NORMS), layout.parts, strict=True):
            name, stem = f"block_{block}.{part}", f"{layout.block.format(block)}.{stem}"
            if part in NORMS:
                weights |= source.read_norm(name, stem, hidden)
            else:
                weights |= source.read_dense(name, stem, *sizes[part])
    pooler = "pooler" if architecture.family == "albert" else "pooler.dense"
    if source.has(f"{pooler}.weight"):
        weights |= source.read_dense("pooler", pooler, hidden, hidden)
    return weights


class _Source:
    """The tensors of a folder, in one file or several, by the names of a family without its prefix."""

    def __init__(self, folder: Path, prefix: str):
        self.folder = folder
        self.places: dict[str, tuple[Path, str]] = {}
        for file in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(file, framework="numpy") as tensors:
                    names = list(tensors.keys())
            except (OSError, SafetensorError) as error:
                raise self._damaged(error) from None
            self.places |= {name.removeprefix(f"{prefix}."): (file, name) for name in names}

    def has(self, name: str) -> bool:
        return name in self.places

    def read(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        name = old if old in self.places else name
        if name not in self.places:
            raise EncoderError(f"the weights of {self.folder} lack {name!r}.")
        file, full_name = self.places[name]
        try:
            with safe_open(file, framework="numpy") as tensors:
                value = tensors.get_tensor(full_name)
        except (OSError, SafetensorError) as error:
            raise self._damaged(error) from None
        if value.ndim != len(shape) or any(b is not None and a != b for a, b in zip(value.shape, shape, strict=True)):
            raise EncoderError(f"{name!r} of {self.folder} has shape {value.shape}, config.json says {shape}.")
        return value.astype(np.float32)

    def read_dense(self, name: str, stem: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        kernel = self.read(f"{stem}.weight", (outputs, inputs)).T
        return {f"{name}.kernel": kernel, f"{name}.bias": self.read(f"{stem}.bias", (outputs,))}

    def read_norm(self, name: str, stem: str, width: int) -> dict[str, np.ndarray]:
        return {
            f"{name}.gamma": self.read(f"{stem}.weight", (width,)),
            f"{name}.beta": self.read(f"{stem}.bias", (width,)),
        }

    def _damaged(self, error: Exception) -> EncoderError:
        reason = str(error).strip().splitlines()[0]
        return EncoderError(f"the weights of {self.folder} cannot be read: {reason}")
