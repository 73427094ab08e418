"""A checkpoint's safetensors ↔ weights by our names, float32; `architecture.py` says which there are."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import EncoderError, find_reason
from .architecture import Architecture, Weight
from .checkpoint import find_weight_files, read_first_position
from .families import FAMILIES

OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
KINDS = ("F32", "F16", "BF16", "F64")  # of weights; whole numbers are quantised, and mean nothing without their scales
BUFFERS = ("position_ids", "token_type_ids")  # numbers that some checkpoints keep beside the weights


def read_weights(folder: Path, architecture: Architecture) -> dict[str, np.ndarray]:
    """Reads the weights of a checkpoint folder.

    Raises:
        EncoderError: they are damaged, one is missing or there twice, or they do not fit what config.json says: a
            tensor has another shape, or belongs to a part of the encoder that config.json does not name.
    """
    family = FAMILIES[architecture.family]
    source = _Source(folder, family.prefix)
    first = read_first_position(folder)  # RoBERTa's first rows are of no token
    weights: dict[str, np.ndarray] = {}
    for weight in family.list_weights(architecture, first + architecture.max_positions):
        if not weight.beside or weight.beside in source.places:
            weights |= _split(weight, source.read(weight.theirs, weight.shape))
    source.check_all_read(family.list_roots(architecture))
    if "position_embedding" in weights:
        weights["position_embedding"] = weights["position_embedding"][first:]
    return weights


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
    family = FAMILIES[architecture.family]
    tensors = dict(classifier)
    for weight in family.list_weights(architecture, None):
        if not weight.beside or weight.ours[0] in weights:
            parts = [weights[name] for name in weight.ours]
            if weight.ours == ("position_embedding",):
                parts = [np.pad(parts[0], ((first_position, 0), (0, 0)))]
            whole = np.concatenate(parts, axis=-1)
            tensors[f"{family.prefix}.{weight.theirs}"] = whole.T if weight.is_kernel else whole
    contiguous = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    save_file(contiguous, file, metadata={"format": "pt"})


def _split(weight: Weight, value: np.ndarray) -> dict[str, np.ndarray]:
    """A tensor's parts by our names."""
    parts = np.split(value.T if weight.is_kernel else value, len(weight.ours), axis=-1)
    return dict(zip(weight.ours, parts, strict=True))


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

    def check_all_read(self, roots: Collection[str]) -> None:
        """Raises EncoderError where a tensor of the encoder was not read, so that config.json does not know it.

        Args:
            roots: how the names of the encoder's tensors begin, up to a dot.
        """
        left = [name for name in self.unread if name.partition(".")[0] in roots and not name.endswith(BUFFERS)]
        if left:
            raise EncoderError(
                f"the weights of {self.folder} hold {len(left)} tensors that config.json does not describe, as "
                f"{min(left)!r}: its numbers of layers and its sizes must be those of the weights."
            )

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

    def _damaged(self, error: Exception) -> EncoderError:
        return EncoderError(f"the weights of {self.folder} cannot be read: {find_reason(error)}")
