"""A checkpoint's safetensors ↔ weights by our names, float32.

token_embedding, position_embedding, segment_embedding (rows, embedding_dim); the last only where the family has one
embeddings_norm.gamma, .beta                            (embedding_dim,)
projection.kernel, .bias                                embedding_dim → hidden_dim, in ALBERT and some ELECTRAs
block_0.query.kernel, .bias, key, value, attention_output, intermediate, output; attention_norm, output_norm
pooler.kernel, .bias                                    where the checkpoint has it
Matrices are (inputs, outputs).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import EncoderError
from .checkpoint import Architecture, find_weight_files, read_first_position
from .families import Layout, get_layout

DENSE = ("query", "key", "value", "attention_output", "intermediate", "output")
NORMS = ("attention_norm", "output_norm")
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
KINDS = ("F32", "F16", "BF16", "F64")  # of weights; whole numbers are quantised, and mean nothing without their scales
BUFFERS = ("position_ids", "token_type_ids")  # numbers that some checkpoints keep beside the weights


def read_weights(folder: Path, architecture: Architecture) -> dict[str, np.ndarray]:
    """Reads the weights of a checkpoint folder.

    Raises:
        EncoderError: they are damaged, one is missing or there twice, or they do not fit what config.json says: a
            tensor has another shape, or belongs to a part of the encoder that config.json does not name.
    """
    source = _Source(folder, get_layout(architecture.family).prefix)
    first = read_first_position(folder)  # RoBERTa's first rows are of no token
    weights = _walk(source, architecture, first + architecture.max_positions)
    source.check_all_read(get_layout(architecture.family))
    return weights | {"position_embedding": weights["position_embedding"][first:]}


def write_weights(
    file: Path,
    architecture: Architecture,
    weights: Mapping[str, np.ndarray],
    first_position: int,
    classifier: Mapping[str, np.ndarray],
) -> None:
    """Writes the weights of a checkpoint, by the names of its family.

    Args:
        file: `model.safetensors`.
        architecture, weights: an encoder's.
        first_position: the row of the first token's position; RoBERTas begin after their padding's number.
        classifier: what stands beside the encoder, by its own names, in PyTorch's shapes.
    """
    sink = _Sink(dict(weights))
    _walk(sink, architecture, None)
    positions = sink.tensors["embeddings.position_embeddings.weight"]
    sink.tensors["embeddings.position_embeddings.weight"] = np.pad(positions, ((first_position, 0), (0, 0)))
    prefix = get_layout(architecture.family).prefix
    tensors = {f"{prefix}.{name}": value for name, value in sink.tensors.items()} | dict(classifier)
    contiguous = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    save_file(contiguous, file, metadata={"format": "pt"})


def _walk(place: "_Source | _Sink", architecture: Architecture, positions: int | None) -> dict[str, np.ndarray]:
    """Goes through all weights of an architecture, at a place that reads or writes them; `positions` is the number of
    rows in the table of positions."""
    layout = get_layout(architecture.family)
    hidden, width, inner = architecture.hidden_dim, architecture.embedding_dim, architecture.intermediate_dim
    tables = {"token": ("word", architecture.vocabulary_size), "position": ("position", positions)}
    if architecture.num_segments:
        tables["segment"] = ("token_type", architecture.num_segments)
    weights: dict[str, np.ndarray] = {}
    for ours, (theirs, rows) in tables.items():
        weights |= place.pass_table(f"{ours}_embedding", f"embeddings.{theirs}_embeddings", rows, width)
    weights |= place.pass_norm("embeddings_norm", "embeddings.LayerNorm", width)
    if layout.projection and (width != hidden or layout.always_projects):
        weights |= place.pass_dense("projection", layout.projection, width, hidden)
    sizes = dict.fromkeys(DENSE, (hidden, hidden)) | {"intermediate": (hidden, inner), "output": (inner, hidden)}
    for block in range(architecture.num_blocks):
        for part, stem in zip((*DENSE, *NORMS), layout.parts, strict=True):
            name, stem = f"block_{block}.{part}", f"{layout.block.format(block)}.{stem}"
            if part in NORMS:
                weights |= place.pass_norm(name, stem, hidden)
            else:
                weights |= place.pass_dense(name, stem, *sizes[part])
    pooler = "pooler" if architecture.family == "albert" else "pooler.dense"
    if place.has("pooler", pooler):
        weights |= place.pass_dense("pooler", pooler, hidden, hidden)
    return weights


class _Source:
    """The tensors of a folder, in one file or several, by the names of a family without its prefix."""

    def __init__(self, folder: Path, prefix: str):
        self.folder = folder
        self.places: dict[str, tuple[Path, str]] = {}
        self.unread: set[str] = set()
        for file, expected in find_weight_files(folder).items():
            try:
                with safe_open(file, framework="numpy") as tensors:
                    names = list(tensors.keys())
            except (OSError, SafetensorError) as error:
                raise self._damaged(error) from None
            if expected is not None and expected != set(names):
                name = min(expected ^ set(names))
                found = "lacks" if name in expected else "holds"
                raise EncoderError(f"{file} {found} {name!r}, unlike what {folder}'s index says.")
            for name in names:
                self._add(name, name.removeprefix(f"{prefix}."), file)

    def _add(self, full_name: str, name: str, file: Path) -> None:
        for old, new in OLD_NAMES.items():
            name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
        if name in self.places:
            other = self.places[name][1]
            raise EncoderError(
                f"the weights of {self.folder} hold one tensor twice: {other!r} and {full_name!r}; remove one."
            )
        self.places[name] = (file, full_name)
        self.unread.add(name)

    def check_all_read(self, layout: Layout) -> None:
        """Raises EncoderError where a tensor of the encoder was not read, so that config.json does not know it."""
        parts = ("embeddings", "embeddings_project", layout.block.partition(".")[0])
        left = [name for name in self.unread if name.partition(".")[0] in parts and not name.endswith(BUFFERS)]
        if left:
            raise EncoderError(
                f"the weights of {self.folder} hold {len(left)} tensors that config.json does not describe, as "
                f"{min(left)!r}: its numbers of layers and its sizes must be those of the weights."
            )

    def has(self, name: str, stem: str) -> bool:
        return f"{stem}.weight" in self.places

    def read(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        if name not in self.places:
            raise EncoderError(f"the weights of {self.folder} lack {name!r}.")
        file, full_name = self.places[name]
        self.unread.discard(name)
        try:
            with safe_open(file, framework="numpy") as tensors:
                kind = tensors.get_slice(full_name).get_dtype()
                if kind not in KINDS:
                    raise EncoderError(f"{name!r} of {self.folder} holds {kind}, expected one of {', '.join(KINDS)}.")
                value = tensors.get_tensor(full_name).astype(np.float32)
        except (OSError, SafetensorError) as error:
            raise self._damaged(error) from None
        if value.ndim != len(shape) or any(b is not None and a != b for a, b in zip(value.shape, shape, strict=True)):
            raise EncoderError(f"{name!r} of {self.folder} has shape {value.shape}, config.json says {shape}.")
        if not np.isfinite(value).all():
            raise EncoderError(f"{name!r} of {self.folder} holds numbers that are not finite.")
        return value

    def pass_table(self, name: str, stem: str, rows: int | None, width: int) -> dict[str, np.ndarray]:
        return {name: self.read(f"{stem}.weight", (rows, width))}

    def pass_dense(self, name: str, stem: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        kernel = self.read(f"{stem}.weight", (outputs, inputs)).T
        return {f"{name}.kernel": kernel, f"{name}.bias": self.read(f"{stem}.bias", (outputs,))}

    def pass_norm(self, name: str, stem: str, width: int) -> dict[str, np.ndarray]:
        return {
            f"{name}.gamma": self.read(f"{stem}.weight", (width,)),
            f"{name}.beta": self.read(f"{stem}.bias", (width,)),
        }

    def _damaged(self, error: Exception) -> EncoderError:
        reason = str(error).strip().splitlines()[0]
        return EncoderError(f"the weights of {self.folder} cannot be read: {reason}")


class _Sink:
    """Weights by our names, which become tensors by those of a family without its prefix."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights = weights
        self.tensors: dict[str, np.ndarray] = {}

    def has(self, name: str, stem: str) -> bool:
        return f"{name}.kernel" in self.weights

    def pass_table(self, name: str, stem: str, rows: int | None, width: int) -> dict[str, np.ndarray]:
        self.tensors[f"{stem}.weight"] = self.weights[name]
        return {}

    def pass_dense(self, name: str, stem: str, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        self.tensors[f"{stem}.weight"] = self.weights[f"{name}.kernel"].T
        self.tensors[f"{stem}.bias"] = self.weights[f"{name}.bias"]
        return {}

    def pass_norm(self, name: str, stem: str, width: int) -> dict[str, np.ndarray]:
        self.tensors[f"{stem}.weight"] = self.weights[f"{name}.gamma"]
        self.tensors[f"{stem}.bias"] = self.weights[f"{name}.beta"]
        return {}
