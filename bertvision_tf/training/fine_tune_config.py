"""How an encoder is fine-tuned."""

from __future__ import annotations

import dataclasses

from ..encoders.encoder import DTYPES
from ..errors import RunError
from ..tasks import TaskSpec
from .encoder_model import check_parts
from .optimizer import RowAdamW, WarmUp

SCHEDULES = ("constant", "each")
LORA_RATE = 10  # times the rate of weights


@dataclasses.dataclass(frozen=True)
class FineTuneConfig:
    """How an encoder is fine-tuned.

    Attributes:
        parts: which weights are trained beside its own head: see `EncoderModel`.
        schedule: "constant": the rate stays after its warm-up, and fractions are snapshots of one training; "each":
            it falls to 0 at the end of the fraction, the paper's way.
        learning_rate: the highest.
        batch_size: examples a step, over all replicas.
        warmup: share in which the rate rises from 0: of the first epoch, or with "each" of all steps.
        weight_decay: of kernels; embeddings, biases and norms have none.
        clip_norm: gradients of a larger norm are scaled down to it.
        dtype: "float32", or "bfloat16" for products of bfloat16.
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
        if self.dtype not in DTYPES:
            raise RunError(f"fine-tuning dtype {self.dtype!r} is not known; known: {', '.join(DTYPES)}.")
        if self.clip_norm <= 0:
            raise RunError(f"fine-tuning needs a `clip_norm` above 0, got {self.clip_norm}.")
        if self.batch_size < 1 or self.learning_rate <= 0 or not 0 <= self.warmup < 1:
            raise RunError("fine-tuning needs a batch of 1 or more, a rate above 0, and a warm-up from 0 to below 1.")

    @classmethod
    def for_task(cls, task: TaskSpec, **changes) -> FineTuneConfig:
        """The paper's rate and batch for a task; low-rank changes have ten times the rate. `changes` override."""
        usual = cls(learning_rate=task.fine_tuning.learning_rate, batch_size=task.fine_tuning.batch_size)
        return dataclasses.replace(usual.for_parts(changes.get("parts", usual.parts)), **changes)

    def for_parts(self, parts: str) -> FineTuneConfig:
        """The same for other parts; low-rank changes have ten times the rate of weights."""
        factor = LORA_RATE ** (parts.startswith("lora") - self.parts.startswith("lora"))
        return dataclasses.replace(self, parts=parts, learning_rate=self.learning_rate * factor)

    def build_optimizer(self, rising: int, end: int | None = None, kind: type[RowAdamW] = RowAdamW) -> RowAdamW:
        """The optimizer of these settings.

        Args:
            rising: steps in which the rate rises from 0.
            end: the step at which it has fallen to 0; it stays with None.
            kind: the optimizer's class.
        """
        rate = WarmUp(self.learning_rate, rising, end)
        optimizer = kind(rate, weight_decay=self.weight_decay, global_clipnorm=self.clip_norm)
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "embedding"])
        return optimizer
