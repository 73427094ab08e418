"""How an encoder is fine-tuned."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from .checks import build, check_count, check_range
from .fit import PRECISIONS

if TYPE_CHECKING:
    from ..tasks import TaskSpec

DTYPES = ("float32", "bfloat16")
SCHEDULES = ("constant", "each")
LORA_RATE = 10  # times the rate of weights
PARTS = re.compile(r"(?P<all>all)|(?P<no_embeddings>no_embeddings)|top_(?P<top>[1-9]\d*)|lora_(?P<lora>[1-9]\d*)")


@dataclasses.dataclass(frozen=True)
class FineTuneConfig:
    """How an encoder is fine-tuned.

    Attributes:
        parts: which weights are trained, besides the encoder's own head: all, no_embeddings, top_K (the last K blocks)
            or lora_R (LoRA of rank R).
        schedule: learning rate after the warm-up. constant: it stays, and fractions of an epoch are snapshots of one
            training. each: every fraction is a training of its own whose rate falls to 0, as in the paper.
        learning_rate: the highest learning rate. Default: the paper's for the task.
        batch_size: examples in a step, over all replicas. Default: the paper's for the task.
        warmup: share of the steps in which the learning rate rises from 0; of the steps of the first epoch, or with
            schedule each of all steps.
        weight_decay: weight decay of kernels; embeddings, biases and norms have none.
        clip_norm: gradients of a larger norm are scaled down to this norm.
        dtype: type of the encoder's matrix products, float32, bfloat16 or float16, which scales the loss.
    """

    parts: str = "all"
    schedule: str = "constant"
    learning_rate: float = 2e-5
    batch_size: int = 32
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dtype: str = "float32"

    def __post_init__(self):
        check_parts(self.parts)
        if self.schedule not in SCHEDULES:
            raise RunError(f"schedule {self.schedule!r} is not known; known: {', '.join(SCHEDULES)}.")
        if self.dtype not in PRECISIONS:
            raise RunError(f"fine-tuning dtype {self.dtype!r} is not known; known: {', '.join(PRECISIONS)}.")
        check_count("batch_size", self.batch_size, required=True)
        check_range("learning_rate", self.learning_rate, above=0)
        check_range("clip_norm", self.clip_norm, above=0)
        check_range("weight_decay", self.weight_decay)
        check_range("warmup", self.warmup, below=1)

    @classmethod
    def for_task(cls, task: TaskSpec, **changes: Any) -> FineTuneConfig:
        """The paper's rate and batch for a task; low-rank changes have ten times the rate. `changes` override.

        Raises:
            RunError: a change names nothing, or has no value that fits.
        """
        usual = cls(learning_rate=task.fine_tuning.learning_rate, batch_size=task.fine_tuning.batch_size)
        return build(cls, dataclasses.asdict(usual.for_parts(changes.get("parts", usual.parts))) | changes)

    def for_parts(self, parts: str, rate: float | None = None) -> FineTuneConfig:
        """The same for other parts; low-rank changes have ten times the rate of weights.

        Args:
            parts: which.
            rate: of weights; that of this config with None.
        """
        check_parts(parts)
        own = rate is None and self.parts.startswith("lora")
        factor = LORA_RATE ** (parts.startswith("lora") - own)
        rate = self.learning_rate if rate is None else rate
        return dataclasses.replace(self, parts=parts, learning_rate=rate * factor)


def check_parts(parts: str) -> re.Match[str]:
    """What a name of parts says.

    Raises:
        RunError: it is not known.
    """
    found = PARTS.fullmatch(parts) if isinstance(parts, str) else None
    if found is None:
        raise RunError(f"fine-tuned parts {parts!r} are not known; known: all, no_embeddings, top_K, lora_R.")
    return found
