"""Which encoder, and which of its layers, suit a task: measured on a store, without training a head.

Source: TransformerRanker, 2024, arXiv 2409.05997.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..encoders import Encoder, load_encoder
from ..encoders.load import check_encoder
from ..errors import RunError
from ..extraction import extract_once
from ..metrics.transfer import h_score, log_me
from ..progress import Progress, ignore, prefix
from ..runs.folder import write_csv
from ..settings import StateSettings
from ..store import CACHE_BYTES, checking, find_place
from ..tasks import TaskSpec, get_task
from ..tasks.doubts import load_rows
from ..training.baselines import compute_token_means

MEAN = "mean"  # of all layers


@dataclasses.dataclass(frozen=True)
class Rank:
    """What one layer of one encoder is worth to a task.

    Attributes:
        encoder: as it was named.
        layer: the index of the hidden state, or "mean" for the mean over all of them.
        log_me: see `metrics.transfer.log_me`; in nats.
        h_score: see `metrics.transfer.h_score`; None where the task has no classes.
        extraction_seconds: of the states, which all layers share; near 0 where the store was there.
        seconds: of this layer's two measures.
    """

    encoder: str
    layer: int | str
    log_me: float
    h_score: float | None
    extraction_seconds: float
    seconds: float


def rank_encoders(
    encoders: Sequence[str | Encoder],
    task: str | TaskSpec,
    *,
    store: str | Path = "states",
    cache: str | Path | None = None,
    cache_bytes: int = CACHE_BYTES,
    check: str = "once",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    states: StateSettings | None = None,
    progress: Progress = ignore,
) -> Iterator[Rank]:
    """Measures every layer of encoders, and their mean, on the rows of train; dev is not read.

    A text is the mean of its tokens' states. The stores are those of `train`, which finds them again.

    Args:
        encoders: names as `load_encoder` reads them, or encoders.
        task: a task's name or spec; of labels, not of answers.
        store, cache, cache_bytes, check, data_dir, limit, progress: as `train`'s.
        states: how states are extracted: its dtype, max_length and codec; always all layers of all tokens.

    Yields:
        a `Rank` of each layer, from the embeddings on, and one of their mean, encoder by encoder.

    Raises:
        RunError: the task has answers and no labels, or its training rows have one label only.

    Example:
        >>> ranks = list(rank_encoders(["minilm"], "starter"))
        >>> max(ranks, key=lambda rank: rank.log_me).layer
        4
    """
    task, states = get_task(task), states or StateSettings()
    task.require_labels("`rank`")
    rows = load_rows(task, "train", data_dir, limit)
    targets, classes = _make_targets(task, rows.labels)
    for given in encoders:  # all are there, before one is run
        if not isinstance(given, Encoder):
            check_encoder(given)
    place = find_place(store, cache, cache_bytes)
    for given in encoders:
        encoder = given if isinstance(given, Encoder) else load_encoder(given, states.dtype, states.engine)
        start = time.perf_counter()
        choices = states.choose(encoder, task.max_length) | {"layers": None, "tokens": "all", "pooler": False}
        with checking(check):
            found = extract_once(encoder, rows, place, prefix(progress, encoder.name), **choices)
        means = compute_token_means(found)  # (examples, states, hidden_dim)
        extraction = time.perf_counter() - start
        layers: list[int | str] = [*range(means.shape[1]), MEAN]
        for done, layer in enumerate(layers):
            progress(f"rank {encoder.name}", done, len(layers))
            start = time.perf_counter()
            features = means.mean(axis=1) if layer == MEAN else means[:, done]
            measured = log_me(features, targets), h_score(features, targets) if classes else None
            yield Rank(encoder.name, layer, *measured, extraction, time.perf_counter() - start)
        progress(f"rank {encoder.name}", len(layers), len(layers))


def write_ranks(ranks: Sequence[Rank], file: Path) -> None:
    """Writes a CSV file, a line a layer; with no ranks, its header alone.

    Raises:
        RunError: it cannot be written.
    """
    names = [field.name for field in dataclasses.fields(Rank)]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_csv(file, names, (dataclasses.astuple(rank) for rank in ranks))
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror or error}.") from None


def _make_targets(task: TaskSpec, labels: np.ndarray) -> tuple[np.ndarray, bool]:
    """(examples, outputs): a column a class, the labels' own columns, or scores; and whether they are of classes."""
    if task.kind.single:
        targets, classes = np.eye(task.num_outputs)[labels], True
    else:
        targets, classes = labels.reshape(len(labels), -1).astype(np.float64), False
    if (targets == targets[:1]).all():
        raise RunError(f"`rank` needs training rows of {task.name} that differ in their label; all are the same.")
    return targets, classes
