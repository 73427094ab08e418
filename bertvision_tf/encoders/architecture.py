"""What an encoder is made of: its sizes, and its weights by our names and by a checkpoint's.

token_embedding, position_embedding, segment_embedding  (rows, embedding_dim); the last two where the family has them
embeddings_norm.gamma, .beta                            (embedding_dim,)
projection.kernel, .bias                                embedding_dim → hidden_dim, in ALBERT and some ELECTRAs
block_0.query.kernel, .bias, key, value, attention_output, intermediate, output; attention_norm, output_norm
pooler.kernel, .bias                                    where the checkpoint has it
Matrices are (inputs, outputs). What a family has beside these is listed in its own file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

DENSE = ("query", "key", "value", "attention_output", "intermediate", "output")
NORMS = ("attention_norm", "output_norm")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What config.json says of an encoder: sizes are counts, `layer_norm_epsilon` has no unit.

    A family that has more settings adds them in a class of its own.
    """

    family: str
    vocabulary_size: int
    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    max_positions: int
    num_segments: int  # 0 where the family has none
    activation: str
    layer_norm_epsilon: float
    embedding_dim: int  # projected to hidden_dim where it differs, in ALBERT always
    num_blocks: int  # blocks with weights of their own: fewer than layers in ALBERT

    @property
    def head_dim(self) -> int:
        """The width of an attention head."""
        return self.hidden_dim // self.num_heads

    def block_of(self, layer: int) -> int:
        """The block whose weights a layer has."""
        return layer * self.num_blocks // self.num_layers


@dataclasses.dataclass(frozen=True)
class Weight:
    """A tensor of a checkpoint.

    Attributes:
        ours: our name of it; several where the checkpoint stacks the outputs of several dense layers in one tensor.
        theirs: its name there, without the family's prefix.
        shape: there; None for a size that is not checked. Dense kernels are (outputs, inputs) there.
        beside: the tensor without which this one is not there; "" where it has to be.
    """

    ours: tuple[str, ...]
    theirs: str
    shape: tuple[int | None, ...]
    beside: str = ""

    @property
    def is_kernel(self) -> bool:
        """Whether it is a dense layer's matrix, which we keep as (inputs, outputs)."""
        return self.ours[0].endswith(".kernel")


def norm_rows(values: np.ndarray, epsilon: float) -> np.ndarray:
    """Layer norm over the last axis, without gain and bias."""
    centred = values - values.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)


def list_table(ours: str, stem: str, rows: int | None, width: int) -> list[Weight]:
    """The weight of an embedding."""
    return [Weight((ours,), f"{stem}.weight", (rows, width))]


def list_dense(
    ours: str | Sequence[str], stem: str, inputs: int, outputs: int, *, bias: bool = True, beside: str = ""
) -> list[Weight]:
    """Kernel and bias of a dense layer, or of several in one.

    Args:
        ours: our name, or names, of the layers.
        stem: the checkpoint's name of it.
        inputs, outputs: of each of the layers.
        bias: whether it has one.
        beside: see `Weight`.
    """
    names = (ours,) if isinstance(ours, str) else tuple(ours)
    outputs *= len(names)
    kernel = Weight(tuple(f"{name}.kernel" for name in names), f"{stem}.weight", (outputs, inputs), beside)
    return [kernel, Weight(tuple(f"{name}.bias" for name in names), f"{stem}.bias", (outputs,), beside)][: 1 + bias]


def list_norm(ours: str, stem: str, width: int, *, bias: bool = True) -> list[Weight]:
    """Gain and bias of a layer norm."""
    gain = Weight((f"{ours}.gamma",), f"{stem}.weight", (width,))
    return [gain, Weight((f"{ours}.beta",), f"{stem}.bias", (width,))][: 1 + bias]
