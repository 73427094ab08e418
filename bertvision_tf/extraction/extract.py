"""Runs an encoder once over a split and keeps every hidden state.

Over 300 lines, since a whole store and a part of one are one plan of batches and shards.
"""

import contextlib
import functools
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..encoders import OPENVINO, XLA, Encoder, Windows, choose_windows
from ..errors import StoreError
from ..images import tokenize_examples
from ..paths import read_path
from ..store import Store, StoreSpec, StoreWriter, get_codec, open_store
from ..store.codecs import Calibration
from ..store.parts import PartWriter
from ..store.plan import plan_batches, plan_shards
from ..store.schema import MANIFEST, read_manifest
from ..store.writer import ShardRows
from ..tasks import Examples
from .devices import BATCH_TOKENS, Copies, count_batch_tokens, count_workers, list_gpus, rounds_on_device

SHARD_BYTES = 128 * 2**20
SAMPLE_TOKENS = 4096  # of the calibration
VERSIONED = ("bertvision-tf", "tensorflow", "keras-hub", "transformers", "h5py", "numpy")

Progress = Callable[[int, int], None]  # tokens done, tokens in all
Item = TypeVar("Item")
Result = TypeVar("Result")


def plan_spec(
    encoder: Encoder,
    examples: Examples,
    *,
    max_length: int = 128,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | None = None,
    codec: str = "int8",
    batch_tokens: int | None = None,
    shard_rows: int | None = None,
    stride: int | None = None,
    question_length: int | None = None,
) -> StoreSpec:
    """What `extract` would make of these arguments, before anything is run."""
    states = range(encoder.num_hidden_states)
    try:
        chosen = tuple(states) if layers is None else tuple(sorted({states[layer] for layer in layers}))
    except IndexError:
        raise StoreError(
            f"`layers` needs indices below {len(states)}, the hidden states of {encoder.name}, got "
            f"{list(layers or ())}."
        ) from None
    if examples.answers is None:
        stride = question_length = 0  # no windows
    else:
        stride, question_length = choose_windows(max_length, stride, question_length)
    row_bytes = get_codec(codec).row_bytes(len(chosen) + pooler, encoder.hidden_dim)
    return StoreSpec(
        encoder=encoder.name,
        encoder_fingerprint=encoder.fingerprint,
        task=examples.task,
        split=examples.split,
        examples=len(examples),
        examples_fingerprint=examples.fingerprint,
        max_length=max_length,
        tokens=tokens,
        pooler=pooler,
        layers=chosen,
        hidden_dim=encoder.hidden_dim,
        codec=codec,
        batch_tokens=batch_tokens or count_batch_tokens(encoder),
        shard_rows=shard_rows or max(SHARD_BYTES // max(row_bytes, 1), 1),
        stride=stride,
        question_length=question_length,
    )


def extract(
    encoder: Encoder,
    examples: Examples,
    path: str | Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    **choices,
) -> Store:
    """Runs the encoder over the examples and writes their hidden states to a store.

    A store that is already there is opened; one that was left unfinished is gone on with, and ends byte for byte as
    if it had not been interrupted.

    Args:
        encoder: what is run.
        examples: the rows.
        path: the store's folder.
        workers: batches in work at a time; no choice of it changes a byte. Default: the processor's cores, at most 4;
            two a GPU.
        progress: called with the tokens done and the tokens in all.
        **choices: `plan_spec`'s: max_length (tokens), tokens ("all" or "cls"), pooler (its output first; "cls"
            only), layers (which hidden states; all), codec ("float32", "float16", "bfloat16", "int8", "int4",
            "int2"), batch_tokens (padded cells of a batch; more on a GPU by default), shard_rows; where the examples
            are questions with answers, stride (tokens that neighbouring windows of a context share) and
            question_length (tokens).

    Raises:
        StoreError: the folder holds something else, cannot be written, or the disk is full.

    Example:
        >>> task = get_task("starter")
        >>> store = extract(load_encoder("minilm"), task.load("dev"), "states/starter-dev", codec="int4")
    """
    path = read_path(path)
    spec, complete = _plan_store(path, plan_spec(encoder, examples, **choices))
    if complete:  # nothing is tokenized either
        return open_store(path, spec)
    return _Extraction(StoreWriter, encoder, examples, path, spec, workers, progress).run()


def extract_part(
    encoder: Encoder,
    examples: Examples,
    path: str | Path,
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
    path = read_path(path)
    spec, complete = _plan_store(path, plan_spec(encoder, examples, **choices))
    if complete:
        return 0
    make_writer = functools.partial(PartWriter, parts=parts)
    return _Extraction(make_writer, encoder, examples, path, spec, workers, progress).run_part(part, parts)


def _plan_store(path: Path, spec: StoreSpec) -> tuple[StoreSpec, bool]:
    """What a store is to hold, in the batches and shards that it was begun with; and whether it is finished."""
    if not (path / MANIFEST).is_file():
        return spec, False
    found = read_manifest(path)
    found.spec.check_same(spec, path)
    return found.spec, found.complete


class _Extraction:
    """One call of `extract`: the plan, and the batches on their way from the encoder to the shards."""

    def __init__(self, make_writer, encoder, examples, path: Path, spec: StoreSpec, workers: int | None, progress):
        tokens, self.labels = tokenize_examples(encoder, examples, spec.max_length, spec.stride, spec.question_length)
        self.encoder, self.examples, self.tokens = encoder, examples, tokens
        self.workers = workers or count_workers()
        self.copies = Copies(encoder, self.workers)
        self.windows = tokens if isinstance(tokens, Windows) else None
        self.progress = progress or (lambda done, total: None)
        self.spec = spec
        self.rows = tokens.lengths if spec.tokens == "all" else np.ones(len(tokens), np.int64)
        batches = plan_batches(tokens.lengths, spec.batch_tokens)
        self.shards = plan_shards(batches, self.rows, spec.shard_rows)
        self.sample = _choose_sample(batches, tokens.lengths)
        self.sampled: dict[int, np.ndarray] = {}  # states of sample batches, by first example: run once only
        self.writer = make_writer(
            path,
            spec,
            made_with=_describe_versions(encoder),
            truncated=tokens.truncated,
            num_shards=len(self.shards),
            total_rows=int(self.rows.sum()),
            calibrate=self._calibrate,
        )

    def run(self) -> Store:
        tokens = self._count_tokens()
        try:
            numbers = range(self.writer.next_shard, len(self.shards))
            there = self.writer.list_files()
            found = {number: self.writer.find(number, self._describe_shard(number)) for number in there}
            left = [number for number in numbers if found.get(number) is None]
            done = sum(tokens) - sum(tokens[number] for number in left)
            self.progress(done, sum(tokens))
            encoded = self._encode_shards(left, done, sum(tokens))
            with contextlib.closing(encoded):  # the workers are on the next shard while one is being written
                for number in numbers:
                    entry = found.get(number)
                    if entry is not None:
                        self.writer.enter(entry)
                    else:
                        batches = itertools.islice(encoded, len(self.shards[number]))
                        self.writer.write_shard(self._describe_shard(number), batches)
        finally:
            self.writer.close()
        return open_store(self.writer.path, self.spec)

    def run_part(self, part: int, parts: int) -> int:
        """Writes the shards of a part that are not there, and returns how many."""
        tokens, own = self._count_tokens(), range(part - 1, len(self.shards), parts)
        if self.writer.manifest.complete:  # another process has just finished it
            return 0
        left = [number for number in own if not self.writer.has(number)]
        total = sum(tokens[number] for number in own)
        done = total - sum(tokens[number] for number in left)
        self.progress(done, total)
        encoded = self._encode_shards(left, done, total)
        with contextlib.closing(encoded):
            return sum(
                self.writer.write(
                    number, self._describe_shard(number), itertools.islice(encoded, len(self.shards[number]))
                )
                for number in left
            )

    def _count_tokens(self) -> list[int]:
        """Of each shard."""
        return [int(self.tokens.lengths[np.concatenate(batches)].sum()) for batches in self.shards]

    def _run_encoder(self, batch: np.ndarray, grid: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
        spec = self.spec
        return self.copies.hidden_state_rows(
            self.tokens.pad(batch), mode=spec.tokens, pooler=spec.pooler, layers=spec.layers, grid=grid
        )

    def _calibrate(self) -> Calibration:
        if not self.sample:
            zeros = np.zeros((1, self.spec.num_hidden_states, self.spec.hidden_dim), np.float32)
            return Calibration.of(zeros)
        states = list(map_in_order(self._run_encoder, self.sample, self.workers))
        self.sampled = {int(batch[0]): state for batch, state in zip(self.sample, states, strict=True)}
        calibration = Calibration.of(np.concatenate(states))
        if not (np.isfinite(calibration.mean).all() and np.isfinite(calibration.deviation).all()):
            raise StoreError(
                f"hidden states of {self.encoder.name} are not finite: its weights, or its dtype, are wrong."
            )
        return calibration

    def _encode_shards(self, numbers: Iterable[int], done: int, total: int) -> Generator[np.ndarray]:
        """The batches of some shards, encoded, in order."""
        return self._encode(itertools.chain.from_iterable(self.shards[number] for number in numbers), done, total)

    def _encode(self, batches: Iterable[np.ndarray], done: int, total: int) -> Generator[np.ndarray]:
        codec, calibration = self.writer.codec, self.writer.calibration
        grid = codec.grid(calibration) if rounds_on_device() else None

        def encode(batch: np.ndarray) -> tuple[int, np.ndarray]:
            states = self.sampled.pop(int(batch[0]), None)
            if states is None and grid is not None:
                encoded = codec.pack(self._run_encoder(batch, grid))
            else:
                encoded = codec.encode(self._run_encoder(batch) if states is None else states, calibration)
            return int(self.tokens.lengths[batch].sum()), encoded

        for tokens, encoded in map_in_order(encode, batches, self.workers):
            done += tokens
            self.progress(done, total)
            yield encoded

    def _describe_shard(self, number: int) -> ShardRows:
        """A shard, all but its states."""
        indices = np.concatenate(self.shards[number])
        starts, rows = self.tokens.offsets[indices], self.rows[indices]
        places = np.repeat(starts - np.cumsum(rows) + rows, rows) + np.arange(rows.sum())
        windows = self.windows
        owners = indices if windows is None else windows.questions[indices]
        return ShardRows(
            token_ids=self.tokens.token_ids[places],
            segment_ids=self.tokens.segment_ids[places],
            lengths=rows.astype(np.int32),
            example_index=indices.astype(np.int64),
            labels=self.labels[indices],
            ids=np.array([self.examples.ids[i].encode("utf-8") for i in owners], "S"),
            questions=None if windows is None else owners,
            char_offsets=None if windows is None else windows.char_offsets[places],
        )


def _choose_sample(batches: list[np.ndarray], lengths: np.ndarray) -> list[np.ndarray]:
    """Batches spread evenly over all lengths, of about SAMPLE_TOKENS tokens together."""
    if not batches:
        return []
    per_batch = lengths.sum() / len(batches)
    least = 1 if per_batch <= BATCH_TOKENS else 4  # large ones too are to be of several lengths
    count = int(np.clip(round(SAMPLE_TOKENS / per_batch), min(least, len(batches)), len(batches)))
    middle = (np.arange(count) + 0.5) * len(batches) / count
    return [batches[int(place)] for place in middle]


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Like `map`, with `workers` calls at a time and at most twice as many results waiting."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _describe_versions(encoder: Encoder) -> dict[str, str]:
    device = "GPU" if list_gpus() else "CPU"
    packages = {OPENVINO: "openvino", XLA: "tensorflow"}  # which brings XLA
    engine = {name: version(package) for name, package in packages.items() if name == encoder.engine}
    return {name: version(name) for name in VERSIONED} | engine | {"device": device, "dtype": encoder.dtype}
