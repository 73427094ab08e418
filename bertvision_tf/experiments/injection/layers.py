"""Layer injection: what a frozen encoder's earlier layers say is fed into one of its later blocks.

Before block i the outputs of the last k blocks are contracted with a learned weight for each (layer, token) into one
vector an example; a bias is added, it passes a bottleneck, and is added to every token of the block's input. Only the
contraction, the bottleneck and the last dense layer are trained. All that lies below block i comes from a store.

Source: BERTVision, 2022, arXiv 2202.12210.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras

from ...encoders import Encoder
from ...encoders.backbone import build_backbone, get_blocks
from ...errors import RunError
from ...extraction import extract_once
from ...heads import HeadConfig
from ...heads.describe import count_trainable
from ...heads.model import Head
from ...keras_settings import name_policy
from ...layers.layer_injection import LayerInjection
from ...progress import Progress, ignore, prefix
from ...random_states import keeps_random_states
from ...store import Store, read_folder
from ...tasks import TaskSpec, get_task
from ...tasks.doubts import load_rows
from ...training import FitConfig
from ...training.cost import Cost
from ...training.draw import Draw, split_task
from ...training.measured import MeasuredStore
from ...training.trial import Trial
from ..cells import append_cell, check_table, read_cells


@dataclasses.dataclass(frozen=True)
class InjectionPlace:
    """One place of injection.

    Attributes:
        block: before which it is, from 0.
        layers: how many of the outputs below it are read, its own input the last of them; None for all.
        bottleneck: its width.
    """

    block: int
    layers: int | None = None
    bottleneck: int = 16

    @property
    def states(self) -> list[int]:
        """The hidden states that are read, the block's input the last of them."""
        return list(range(0 if self.layers is None else max(self.block + 1 - self.layers, 0), self.block + 1))


@dataclasses.dataclass(frozen=True)
class LayerCell:
    """One score.

    Attributes:
        task, setting, metric: what was scored on what.
        block, layers, bottleneck: the injection; no layers for all.
        seed: of its first weights and of the order of rows.
        score: on dev.
        selection: on the selection rows, which chose the epoch.
        weights: trained ones.
        seconds: of training.
    """

    task: str
    setting: str
    metric: str
    block: int
    layers: int | None
    bottleneck: int
    seed: int
    score: float
    selection: float
    weights: int
    seconds: float


def check_place(encoder: Encoder, place: InjectionPlace) -> None:
    """Raises RunError where there is no such block, or the encoder's blocks need more than states and mask."""
    if not encoder.family.alone:
        family = encoder.architecture.family
        raise RunError(f"layers are not injected into {encoder.name}: a {family} has no blocks that stand alone.")
    if not 0 <= place.block < encoder.architecture.num_layers or place.bottleneck < 1:
        raise RunError(
            f"layer injection needs a block from 0 to {encoder.architecture.num_layers - 1} and a bottleneck of 1 or "
            f"more, got {place.block} and {place.bottleneck}."
        )
    if place.layers is not None and place.layers < 1:
        raise RunError(f"layer injection needs 1 layer or more, got {place.layers}.")


def build_injected(
    encoder: Encoder, place: InjectionPlace, num_outputs: int, max_length: int, dtype: str = "float32"
) -> keras.Model:
    """The upper blocks of an encoder with an injection before the lowest of them.

    Args:
        encoder: whose blocks stay frozen.
        place: where, and of what.
        num_outputs: of the last dense layer, which reads the first token's last state.
        max_length: tokens a text has at most.
        dtype: of the frozen products.

    Returns:
        a model of the injection's hidden_states (batch, states, tokens, hidden_dim) and padding_mask (batch, tokens).

    Raises:
        RunError: there is no such block, or the encoder's blocks need more than states and mask.
    """
    check_place(encoder, place)
    policy = name_policy(dtype)
    blocks = get_blocks(build_backbone(encoder.architecture, encoder.weights, policy))[place.block :]
    shape = (len(place.states), None, encoder.hidden_dim)
    images = keras.Input(shape, name="hidden_states")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = LayerInjection(place.bottleneck, max_length, name="injection")(images, mask)  # (batch, tokens, hidden)
    for block in blocks:
        block.trainable = False
        x = block(x, padding_mask=mask, training=False)
    logits = keras.layers.Dense(num_outputs, dtype="float32", name="logits")(x[:, 0])
    return Head({"hidden_states": images, "padding_mask": mask}, logits, name="injected")


@keeps_random_states
def inject_layers(
    output: str | Path,
    encoder: Encoder,
    task: str | TaskSpec,
    places: Sequence[InjectionPlace],
    seeds: Sequence[int],
    *,
    store: str | Path = "states",
    codec: str = "int8",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    max_length: int | None = None,
    fit: FitConfig | None = None,
    progress: Progress = ignore,
) -> Iterator[LayerCell]:
    """Trains and scores injections, cell by cell: what the file has is not run again.

    Args:
        output: a CSV file, a line a cell, of one task.
        encoder: a frozen one.
        task: what is trained on.
        places: where, and of what.
        seeds: each injection is trained with each.
        fit: how.
        store, codec, data_dir, limit, max_length, progress: as `train`'s.

    Yields:
        each new cell.
    """
    output, fit, task = check_table(output), fit or FitConfig(epochs=3), get_task(task)
    length = encoder.choose_length(max_length, task.max_length)
    for place in places:  # all can be, before one is
        check_place(encoder, place)
    task.require_labels("layer injection")
    splits = [load_rows(task, split, data_dir, limit) for split in ("train", "dev")]
    options = f"{fit.epochs} epochs at {fit.learning_rate:g}, batches of {fit.batch_size}"
    rows = "".join(f" {part.fingerprint[:8]}" for part in splits)
    setting = f"{task.name}{rows}, {encoder.name} {encoder.fingerprint[:8]} {encoder.dtype} {codec}, {options}"
    there = read_cells(output, LayerCell, setting)
    done = {(cell.block, cell.layers, cell.bottleneck, cell.seed) for cell in there}
    missing = [
        (place, seed)
        for place in places
        for seed in seeds
        if (place.block, place.layers, place.bottleneck, seed) not in done
    ]
    stores = [
        extract_once(encoder, part, read_folder(store), progress, max_length=length, codec=codec)
        for part in splits
        if missing
    ]
    training, selection = split_task(task, splits[0])
    draw = Draw(splits[0].labels, training)
    for count, (place, seed) in enumerate(missing):
        progress("injections", count, len(missing))
        told = prefix(progress, f"before block {place.block}")
        own = [part.select(place.states) for part in stores]
        trial = _InjectionTrial(
            task, HeadConfig(), own, splits, draw, selection, fit, progress=told, encoder=encoder, place=place
        )
        with Cost() as cost:
            outcome = trial.run(seed)
        cell = LayerCell(
            task=task.name,
            setting=setting,
            metric=task.main_metric,
            block=place.block,
            layers=place.layers,
            bottleneck=place.bottleneck,
            seed=seed,
            score=trial.dev_golds[0].score(outcome.predictions[0]),
            selection=outcome.fit.selection_score,
            weights=count_trainable(outcome.fit.head),
            seconds=cost.seconds,
        )
        append_cell(output, cell)
        yield cell
    progress("injections", len(missing), len(missing))


@dataclasses.dataclass(frozen=True, eq=False)
class _InjectionTrial(Trial):
    """A trial whose head is the upper part of an encoder with an injection."""

    encoder: Encoder = dataclasses.field(kw_only=True)
    place: InjectionPlace = dataclasses.field(kw_only=True)

    @functools.cached_property
    def inputs(self) -> list[Store | MeasuredStore]:
        return list(self.stores)

    def build(self, seed: int) -> keras.Model:
        length = self.stores[0].spec.max_length
        return build_injected(self.encoder, self.place, self.task.num_outputs, length, self.encoder.dtype)
