"""What an extraction costs, before anything is spent."""

import dataclasses
import itertools
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..encoders import XLA, Encoder, Tokens
from ..images import tokenize_examples
from ..paths import read_path
from ..store import CODECS, get_codec
from ..store.plan import plan_batches
from ..tasks import Examples
from .devices import Copies, count_batch_tokens, count_workers, rounds_on_device
from .encode import map_in_order
from .plan import plan_spec
from .scaling import TRIED_BYTES, measure_disk

TRIAL_SECONDS = 10.0
XLA_BATCHES = 8  # of a trial
TOKEN_BYTES = 5  # token id and segment id of a token
WINDOW_BYTES = 8  # the characters of a token of a window; as many for the question of a window
EXAMPLE_BYTES = 16 + 12  # length, place and label of an example, and its id


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What `estimate` found.

    Attributes:
        examples, tokens, truncated: counts, by the encoder's own tokenizer.
        longest: tokens of the longest text, cut ones at `max_length`.
        states: hidden states of a token that would be kept.
        tokens_per_second: of the trial on this machine.
        bytes: of the stores together, by codec and token mode: "all", and but for windows "cls".
        free_bytes: on the disk where they would go.
        disk: bytes a second that this disk writes, and that it reads; None where nothing can be written there.
    """

    examples: int
    tokens: int
    truncated: int
    longest: int
    states: int
    tokens_per_second: float
    bytes: dict[str, dict[str, int]]
    free_bytes: int
    disk: tuple[float, float] | None = None

    @property
    def hours(self) -> float:
        """Of extraction at the trial's rate."""
        return self.tokens / self.tokens_per_second / 3600

    def fits(self, codec: str, mode: str) -> bool:
        """Whether the disk has room for it."""
        return self.bytes[codec][mode] < self.free_bytes


def estimate(
    encoder: Encoder,
    splits: Sequence[Examples],
    path: str | Path,
    *,
    max_length: int = 128,
    layers: Sequence[int] | None = None,
    seconds: float = TRIAL_SECONDS,
    try_disk: bool = True,
) -> Estimate:
    """Counts tokens, tries the encoder on a sample for some seconds and the disk with a file, and works out the sizes.

    Args:
        encoder, splits: what would be run over what.
        path: where the stores would go; only its disk is tried.
        max_length: tokens a text.
        layers: hidden states that would be kept; all with None.
        seconds: of the trial.
        try_disk: whether a file is written, read and removed.
    """
    tokens = [tokenize_examples(encoder, rows, max_length)[0] for rows in splits]
    lengths = np.concatenate([part.lengths for part in tokens])
    spec = plan_spec(encoder, splits[0], max_length=max_length, layers=layers)
    states = spec.num_hidden_states
    count, more = {"all": int(lengths.sum()), "cls": len(lengths)}, 0
    if spec.windowed:  # of which the first token alone tells no answer
        del count["cls"]
        more = WINDOW_BYTES
    sizes = {
        codec: {
            mode: rows * (get_codec(codec).row_bytes(states, encoder.hidden_dim) + TOKEN_BYTES + more)
            + len(lengths) * (EXAMPLE_BYTES + more)
            for mode, rows in count.items()
        }
        for codec in CODECS
    }
    folder = read_path(path).absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    return Estimate(
        examples=sum(len(rows) for rows in splits),
        tokens=int(lengths.sum()),
        truncated=sum(part.truncated for part in tokens),
        longest=int(lengths.max(initial=0)),
        states=states,
        tokens_per_second=_try(encoder, tokens[0], spec.layers, seconds),
        bytes=sizes,
        free_bytes=free,
        disk=measure_disk(existing) if try_disk and free > 4 * TRIED_BYTES else None,
    )


def _try(encoder: Encoder, tokens: Tokens, layers: Sequence[int], seconds: float) -> float:
    """Tokens a second over batches spread over all lengths, after one that is not counted; by XLA over a few, after all
    of them."""
    batches = plan_batches(tokens.lengths, count_batch_tokens(encoder))
    if not batches:
        return float("inf")
    chosen = [batches[place] for place in np.random.default_rng(0).permutation(len(batches))]

    sizes = (len(layers), encoder.hidden_dim)
    grid = (np.ones(sizes, np.float32), np.zeros(sizes, np.float32)) if rounds_on_device() else None  # int8, as usual

    copies = Copies(encoder, count_workers())

    def run(batch: np.ndarray) -> int:
        return len(copies.hidden_state_rows(tokens.pad(batch), layers=layers, grid=grid))

    first = chosen[:1]
    if encoder.engine == XLA:  # which compiles each shape
        first = chosen = chosen[:XLA_BATCHES]
    for batch in first:
        for _ in range(copies.count):  # which take batches in turn
            run(batch)
    start, done = time.perf_counter(), 0
    for count in map_in_order(run, itertools.cycle(chosen), count_workers()):
        done += count
        if time.perf_counter() - start > seconds:
            break
    return done / (time.perf_counter() - start)
