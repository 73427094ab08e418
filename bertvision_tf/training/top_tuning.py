"""Fine-tunes the last blocks of an encoder under a trained head that reads all its layers.

Head and blocks are trained together, from the head's weights on. The states below the blocks do not change, so they
come from a store, and the lower blocks are never run. The selection rows choose the epoch; 0 is the head as it was.

    S/<task>/encoders/<recipe>/epochs-3/    a checkpoint's folder
    S/<task>/encoders/<recipe>/head.keras   the head, as it was trained with it

A head that is trained first keeps a fine-tuning from spoiling what the encoder knew: Kumar et al., 2022, arXiv
2202.10054.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..checksums import write_checksums
from ..encoders import Encoder, save_encoder
from ..encoders.trainable import UpperBlocks
from ..errors import RunError
from ..heads.copy import copy_head
from ..heads.describe import count_trainable
from ..heads.model import Head
from ..heads.scale import unscale_head
from ..keras_settings import name_policy
from ..random_states import keeps_random_states
from ..settings import FineTuneConfig, FitConfig
from ..settings.fine_tune import check_parts
from ..store import Store
from ..tasks import Examples, TaskSpec
from ..tasks.selection import fingerprint_rows
from .cost import Cost
from .fine_tuning import make_snapshot
from .fit import Candidate, FitResult, fit_heads, raise_first
from .gold import build_gold
from .measured import read_in_order
from .optimizer import build_tuning_optimizer
from .passes import TrainingSet
from .snapshot import FACTS, HEAD_FILE, Snapshot
from .strategy import choose_strategy, get_strategy

UPPER, HEAD = "upper_blocks", "head"  # the layers of a tuned model


@dataclasses.dataclass(frozen=True, eq=False)
class TopTuning:
    """What the last blocks of an encoder are fine-tuned on, and how.

    Attributes:
        encoder: where every seed begins.
        task: what the labels are.
        examples: train.
        store: the encoder's states of it: of all layers and all tokens.
        selection: indices of the selection rows.
        root: of all stores.
        epochs: passes over the rows of a seed, at most.
        config: how; its parts are top_K.
        strategy: a name of STRATEGIES.
    """

    encoder: Encoder
    task: TaskSpec
    examples: Examples
    store: Store
    selection: np.ndarray
    root: str | Path
    epochs: int
    config: FineTuneConfig
    strategy: str = "one_device"

    @property
    def blocks(self) -> int:
        """How many are trained."""
        return count_top(self.encoder, self.config.parts)

    @keeps_random_states
    def run(
        self,
        head: keras.Model,
        rows: np.ndarray,
        seed: int,
        *,
        class_weights: Mapping[int, float] | None = None,
        logs: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Snapshot:
        """Fine-tunes the blocks under a head, or finds the snapshot that is there.

        Args:
            head: a trained one of the task, on the states of the store; it stays as it is.
            rows: indices of the rows that are trained on.
            seed: of their order and of dropout.
            class_weights: what a row of each class counts; 1 with None.
            logs: the folder that gets TensorBoard's logs; none with None.
            progress: called with the epochs done and the epochs in all.

        Raises:
            RunError: the loss is no number, or the folder cannot be written.
        """
        states = self.store.spec.to_dict()
        del states["encoder"]  # a name only shown; its fingerprint counts
        facts: dict[str, Any] = {
            "base": self.encoder.fingerprint,
            "task": self.task.name,
            "examples": self.examples.fingerprint,
            "selection": fingerprint_rows(self.selection),
            "metric": self.task.main_metric,
            "rows": hashlib.sha256(np.asarray(rows, np.int64).tobytes()).hexdigest()[:32],
            "states": states,
            "head": _fingerprint(head),
            "epochs": self.epochs,
            "seed": seed,
            "class_weights": sorted(class_weights.items()) if class_weights else None,
            "config": dataclasses.asdict(self.config),
            "strategy": choose_strategy(self.strategy),
        }

        def make(snapshot: Path) -> None:
            with Cost() as cost:
                found = self._fit(head, rows, seed, class_weights, logs, progress)
            batches = -(-len(self.store.find_images(rows)) // self.config.batch_size)
            self._save(found, snapshot, facts | {"steps": batches * self.epochs}, cost)

        return make_snapshot(self.root, facts, self.epochs, self.encoder, make)

    def _fit(
        self,
        head: keras.Model,
        rows: np.ndarray,
        seed: int,
        class_weights: Mapping[int, float] | None,
        logs: Path | None,
        progress: Callable[[int, int], None] | None,
    ) -> FitResult:
        config, kind = self.config, self.task.kind
        lower = self.store.select(range(self.encoder.num_hidden_states - self.blocks))
        images = self.store.find_images(rows)
        batches = lower.as_dataset(config.batch_size, shuffle=True, seed=seed, rows=images, epochs=self.epochs)
        scale = kind.choose_scale(self.examples.labels[rows])
        mean, deviation = scale or (0.0, 1.0)
        if scale:
            batches = batches.map(lambda inputs, labels: (inputs, (labels - mean) / deviation))
        gold = build_gold(self.task, self.examples, self.store, self.selection)

        def build() -> keras.Model:
            return build_tuned(self.encoder, head, self.blocks, config.dtype, scale)

        def build_optimizer(steps: int) -> keras.optimizers.Optimizer:
            each = config.schedule == "each"
            end = steps * self.epochs if each else None
            return build_tuning_optimizer(config, round(config.warmup * (end or steps)), end)

        candidate = Candidate(
            build,
            TrainingSet(batches, class_weights=class_weights),
            FitConfig(epochs=self.epochs, batch_size=config.batch_size, patience=self.epochs),
            seed,
            logs,
            build_optimizer,
            trained=True,
        )
        (found,) = raise_first(
            fit_heads(
                [candidate],
                read_in_order(lower, self.selection),
                lambda logits: gold.score(gold.read(logits * deviation + mean)),
                kind=kind,
                strategy=get_strategy(self.strategy),
                progress=progress,
            )
        )
        return found

    def _save(self, found: FitResult, snapshot: Path, facts: Mapping[str, Any], cost: Cost) -> None:
        """Keeps the head and then the encoder, which says that both are there."""
        upper, head = (found.head.get_layer(name) for name in (UPPER, HEAD))
        weights = dict(self.encoder.weights) | upper.read_weights()
        base = self.encoder
        encoder = Encoder(str(snapshot), base.architecture, base.tokenizer, weights, base.dtype, base.engine)
        whole = dict(facts) | {
            "seconds": cost.seconds,
            "memory_bytes": cost.memory_bytes,
            "trainable_parameters": count_trainable(upper),
            "best_epoch": found.best_epoch,
            "selection_score": found.selection_score,
            "history": found.history,
        }
        file, staging = snapshot.parent / HEAD_FILE, snapshot.parent / f".partial-{HEAD_FILE}"
        try:
            head.save(staging)
            os.replace(staging, file)
            write_checksums(file.parent, HEAD_FILE)
        except OSError as error:
            raise RunError(f"{file} cannot be written: {error.strerror or error}.") from None
        save_encoder(encoder, snapshot, settings={FACTS: whole})


def count_top(encoder: Encoder, parts: str) -> int:
    """How many of the last blocks are fine-tuned.

    Args:
        encoder: whose.
        parts: as `FineTuneConfig`'s.

    Raises:
        RunError: the parts are others, the encoder has fewer blocks, or its layers share them.
    """
    count, layers = int(check_parts(parts)["top"] or 0), encoder.architecture.num_layers
    if not count:
        raise RunError(f"under a run's head only the last blocks are fine-tuned: parts need to be top_K, got {parts}.")
    if encoder.architecture.num_blocks < layers:
        raise RunError(
            f"{encoder.name} has {layers} layers that share {encoder.architecture.num_blocks} blocks: the last cannot "
            "be fine-tuned alone."
        )
    if count > layers:
        raise RunError(f"{parts} is more than the {layers} blocks of {encoder.name}.")
    return count


def build_tuned(
    encoder: Encoder,
    head: keras.Model,
    blocks: int,
    dtype: str = "float32",
    scale: tuple[float, float] | None = None,
) -> keras.Model:
    """The last blocks of an encoder with a copy of a head on top.

    Args:
        encoder: whose.
        head: on images of all layers.
        blocks: how many.
        dtype: of the blocks' products.
        scale: mean and deviation of labels that the model is to give as 0 and 1.

    Returns:
        a model of the head's inputs, with the hidden_states below the blocks alone.
    """
    upper = UpperBlocks(encoder.architecture, encoder.weights, blocks, name_policy(dtype), name=UPPER)
    inputs = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in head.input.items()
        if name != "hidden_states"
    }
    if "padding_mask" not in inputs:
        inputs["padding_mask"] = keras.Input((None,), dtype="int32", name="padding_mask")
    shape = (encoder.num_hidden_states - blocks, None, encoder.hidden_dim)
    inputs["hidden_states"] = keras.Input(shape, name="hidden_states")
    whole = upper(inputs["hidden_states"], inputs["padding_mask"])
    own = copy_head(unscale_head(head), HEAD)
    outputs = own({name: whole if name == "hidden_states" else inputs[name] for name in own.input})
    if scale is not None:
        mean, deviation = scale
        outputs = keras.layers.Rescaling(1 / deviation, -mean / deviation, name="scale")(outputs)
    return Head(inputs, outputs, name="tuned")


def _fingerprint(head: keras.Model) -> str:
    """32 hexadecimal digits over a head's layers and weights."""
    digest = hashlib.sha256(unscale_head(head).to_json().encode())
    for weight in head.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    return digest.hexdigest()[:32]
