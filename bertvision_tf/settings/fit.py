"""How a head is trained."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from .checks import build, check_count, check_range

if TYPE_CHECKING:
    from ..heads import HeadConfig

PRECISIONS = ("float32", "bfloat16", "float16")  # of what is trained


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How a head is trained.

    Attributes:
        epochs: maximum number of passes over the training rows.
        batch_size: examples in a step, over all replicas.
        learning_rate: the highest learning rate, reached after the warm-up; it then falls to 0 along a cosine. Default:
            chosen by the head.
        warmup: share of all steps, 0 to 1, in which the learning rate rises from 0.
        weight_decay: weight decay of AdamW.
        clip_norm: gradients of a larger norm are scaled down to this norm.
        mixup: alpha of the Beta distribution from which mixup draws its shares, 0.2 to 1; 0 for no mixup.
        patience: training stops after this many epochs without a better selection score.
        precision: type in which heads compute, float32, bfloat16 or float16; weights and logits are float32, and
            float16 scales the loss. Default: Keras's policy, which is float32 where nothing has set another.
    """

    epochs: int = 12
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    mixup: float = 0.0
    patience: int = 4
    precision: str | None = None

    def __post_init__(self):
        for name in ("epochs", "batch_size", "patience"):
            check_count(name, getattr(self, name), required=True)
        if self.precision not in (None, *PRECISIONS):
            raise RunError(f"precision {self.precision!r} is not known; known: {', '.join(PRECISIONS)}.")
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("clip_norm", self.clip_norm, above=0)
        check_range("weight_decay", self.weight_decay)
        check_range("mixup", self.mixup)
        check_range("warmup", self.warmup, below=1)

    @classmethod
    def for_head(cls, head: HeadConfig, **changes: Any) -> FitConfig:
        """The defaults for a head: a learning rate of 1e-2 where it only pools and reads out, which is a linear
        model, 3e-3 where it compares a pair, else 1e-3. `changes` override.

        Raises:
            RunError: a change names nothing, or has no value that fits.
        """
        dense = head.adapter_dim is None and head.parts_dim is None
        linear = dense and head.convolution == head.body == "none" and head.token_pooling != "attention"
        rate = 3e-3 if head.comparison else 1e-2 if linear else 1e-3
        return build(cls, {"learning_rate": rate} | changes)

    def for_another(self, own: HeadConfig, other: HeadConfig) -> FitConfig:
        """The same for another head: its own defaults where these are those of the first, else what differs."""
        usual, given = dataclasses.asdict(self.for_head(own)), dataclasses.asdict(self)
        return self.for_head(other, **{name: value for name, value in given.items() if value != usual[name]})
