"""Runs an encoder once over a split and keeps every hidden state."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np

from ..encoders import Encoder
from ..errors import StoreError
from ..settings import ClusterSettings
from ..store import Place, Store, StoreSpec, StoreWriter, open_store, read_place
from ..store.codecs import Calibration
from ..store.mending import StoreMender
from ..store.parts import PartWriter
from ..store.schema import MANIFEST, read_manifest
from ..store.writer import check_free
from ..tasks import Examples
from .cluster import TellWorker, Workers, connect, write_on_cluster
from .devices import BATCH_TOKENS
from .encode import BatchEncoder
from .encode import describe_versions as _describe_versions
from .plan import ShardPlan, plan_spec

SAMPLE_TOKENS = 4096  # of the calibration

Progress = Callable[[int, int], None]  # tokens done, tokens in all


def _ignore(*_: Any) -> None:
    """For whoever does not want to know how far it is."""


def extract(
    encoder: Encoder,
    examples: Examples,
    path: str | Place,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    ray: str | None = None,
    gpus_per_worker: float = 0.0,
    cpus_per_worker: float = 1.0,
    worker_progress: TellWorker | None = None,
    **choices,
) -> Store:
    """Runs the encoder over the examples and writes their hidden states to a store.

    A store that is already there is opened; one that was left unfinished is gone on with, and ends byte for byte as
    if it had not been interrupted.

    Args:
        encoder: what is run.
        examples: the rows.
        path: the store's folder, or its URL in object storage.
        workers: batches in work at a time; no choice of it changes a byte. Default: the processor's cores, at most 4;
            two a GPU. With `ray` the number of the cluster's workers; default: as many as it has room for.
        progress: called with the tokens done and the tokens in all.
        ray: address of a Ray cluster whose workers write the shards, to a folder that all its machines share:
            HOST:PORT, "auto" for the one that this machine belongs to, or "local" to start one here. A worker that is
            lost loses nothing: others make its shards.
        gpus_per_worker, cpus_per_worker: of the cluster; without a GPU workers run on processors.
        worker_progress: called with a worker of the cluster, the tokens that it has done, and the tokens of its share.
        **choices: `plan_spec`'s: max_length (tokens), tokens ("all" or "cls"), pooler (its output first; "cls"
            only), layers (which hidden states; all), codec ("float32", "float16", "bfloat16", "int8", "int4",
            "int2"), batch_tokens (padded cells of a batch; more on a GPU by default), shard_rows; where the examples
            are questions with answers, stride (tokens that neighbouring windows of a context share) and
            question_length (tokens).

    Raises:
        StoreError: the folder holds something else, cannot be written, or the disk is full; or there is no such
            cluster, or it cannot go on.
        RunError: what is asked of the cluster does not go together.

    Example:
        >>> task = get_task("starter")
        >>> store = extract(load_encoder("minilm"), task.load("dev"), "states/starter-dev", codec="int4")
    """
    cluster = ClusterSettings(ray, None if ray is None else workers, gpus_per_worker, cpus_per_worker)
    place = read_place(path)
    spec, complete = _plan_store(place, plan_spec(encoder, examples, gpu=cluster.on_gpu, **choices))
    if complete:  # nothing is tokenized either
        return open_store(place, spec)
    if ray is None:
        Extraction(encoder, examples, spec, workers, progress).write(place)
    else:
        check_free(place)  # before workers are started
        with connect(cluster) as connected, contextlib.closing(Workers(connected, encoder, spec, cluster)) as crew:
            plan = ShardPlan(encoder, examples, spec)  # while they start
            sample = _choose_sample(plan.batches, plan.tokens.lengths)
            write_on_cluster(crew, plan, sample, place, spec, progress or _ignore, worker_progress or _ignore)
    return open_store(place, spec)


def extract_part(
    encoder: Encoder,
    examples: Examples,
    path: str | Place,
    part: int,
    parts: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    **choices,
) -> int:
    """Writes every `parts`-th shard of a store, while other processes write the others; `merge_store` makes them one.

    Each part may run on another machine that sees the folder. Versions, kind of device and dtype need to be the same.
    Shards that are there already are left alone.

    Args:
        encoder, examples, path, workers, progress, **choices: as `extract`'s.
        part: which, counted from 1.
        parts: how many there are.

    Returns:
        how many shards were written.

    Raises:
        StoreError: as `extract`, or there is no such part.
    """
    if not 1 <= part <= parts:
        raise StoreError(f"parts are counted from 1, as 1/8 to 8/8; got {part}/{parts}.")
    place = read_place(path)
    spec, complete = _plan_store(place, plan_spec(encoder, examples, **choices))
    return 0 if complete else Extraction(encoder, examples, spec, workers, progress).write_part(place, part, parts)


def _plan_store(path: Place, spec: StoreSpec) -> tuple[StoreSpec, bool]:
    """What a store is to hold, in the batches and shards that it was begun with; and whether it is finished."""
    if not (path / MANIFEST).is_file():
        return spec, False
    found = read_manifest(path)
    found.spec.check_same(spec, path)
    return found.spec, found.complete


class Extraction:
    """The batches on their way from the encoder to the shards, on this machine."""

    def __init__(
        self, encoder: Encoder, examples: Examples, spec: StoreSpec, workers: int | None, progress: Progress | None
    ):
        self.plan = ShardPlan(encoder, examples, spec)
        self.batches = BatchEncoder(encoder, spec, workers)
        self.progress = progress or _ignore
        self.facts = {
            "made_with": _describe_versions(encoder),
            "truncated": self.plan.tokens.truncated,
            "num_shards": len(self.plan),
            "total_rows": self.plan.total_rows,
            "calibrate": self._calibrate,
        }

    def write(self, path: Place) -> None:
        """Writes the shards that are not there."""
        writer = StoreWriter(path, self.batches.spec, **self.facts)
        try:
            self._write_left(writer)
            while not writer.manifest.complete:  # another process was faster with a shard
                self._write_left(writer)
        finally:
            writer.close()

    def _write_left(self, writer: StoreWriter) -> None:
        """Writes the shards that are not there, to the end or to one that another process was faster with."""
        plan, tokens = self.plan, self.plan.count_tokens()
        numbers = range(writer.next_shard, len(plan))
        found = {number: writer.find(number, plan.describe(number)) for number in writer.list_files()}
        left = [number for number in numbers if found.get(number) is None]
        done = sum(tokens) - sum(tokens[number] for number in left)
        encoded = self._encode_shards(writer, left, done, sum(tokens))
        with contextlib.closing(encoded):  # the workers are on the next shard while one is being written
            for number in numbers:
                if number != writer.next_shard:
                    return
                entry = found.get(number)
                if entry is not None:
                    writer.enter(entry)
                else:
                    batches = itertools.islice(encoded, len(plan.shards[number]))
                    writer.write_shard(plan.describe(number), batches)

    def write_part(self, path: Place, part: int, parts: int) -> int:
        """Writes the shards of a part that are not there, and returns how many."""
        plan, tokens, own = self.plan, self.plan.count_tokens(), range(part - 1, len(self.plan), parts)
        writer = PartWriter.begin(path, self.batches.spec, parts=parts, **self.facts)
        if writer.manifest.complete:  # another process has just finished it
            return 0
        left = [number for number in own if not writer.has(number)]
        total = sum(tokens[number] for number in own)
        encoded = self._encode_shards(writer, left, total - sum(tokens[number] for number in left), total)
        with contextlib.closing(encoded):
            for number in left:
                writer.write(number, plan.describe(number), itertools.islice(encoded, len(plan.shards[number])))
        return writer.written

    def write_again(self, mender: StoreMender) -> None:
        """Makes the damaged shards of a store again."""
        plan, tokens, numbers = self.plan, self.plan.count_tokens(), mender.damaged
        encoded = self._encode_shards(mender, numbers, 0, sum(tokens[number] for number in numbers))
        with contextlib.closing(encoded):
            for number in numbers:
                mender.write_again(number, plan.describe(number), itertools.islice(encoded, len(plan.shards[number])))

    def _calibrate(self) -> Calibration:
        tokens = self.plan.tokens
        return self.batches.calibrate(tokens, _choose_sample(self.plan.batches, tokens.lengths))

    def _encode_shards(
        self, writer: StoreWriter | PartWriter | StoreMender, numbers: Sequence[int], done: int, total: int
    ) -> Generator[np.ndarray]:
        """The batches of some shards, encoded, in order."""
        self.progress(done, total)
        batches = itertools.chain.from_iterable(self.plan.shards[number] for number in numbers)
        return self._tell(self.batches.encode(self.plan.tokens, batches, writer.calibration), done, total)

    def _tell(self, encoded: Iterator[tuple[int, np.ndarray]], done: int, total: int) -> Generator[np.ndarray]:
        for tokens, states in encoded:
            done += tokens
            self.progress(done, total)
            yield states


def _choose_sample(batches: list[np.ndarray], lengths: np.ndarray) -> list[np.ndarray]:
    """Batches spread evenly over all lengths, of about SAMPLE_TOKENS tokens together."""
    if not batches:
        return []
    per_batch = lengths.sum() / len(batches)
    least = 1 if per_batch <= BATCH_TOKENS else 4  # large ones too are to be of several lengths
    count = int(np.clip(round(SAMPLE_TOKENS / per_batch), min(least, len(batches)), len(batches)))
    middle = (np.arange(count) + 0.5) * len(batches) / count
    return [batches[int(place)] for place in middle]
