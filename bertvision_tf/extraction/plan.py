"""What an extraction runs, in which batches and shards: a pure function of rows, encoder and choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..encoders import Encoder, Tokens, Windows, choose_windows
from ..errors import StoreError
from ..images import tokenize_examples
from ..store import StoreSpec, get_codec
from ..store.plan import plan_batches, plan_shards
from ..store.writer import ShardRows
from ..tasks import Examples
from .devices import count_batch_tokens

SHARD_BYTES = 128 * 2**20


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
    gpu: bool | None = None,
) -> StoreSpec:
    """What `extract` would make of these arguments, before anything is run; `gpu` says whether on a GPU, and with None
    it is on what this process has."""
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
        batch_tokens=batch_tokens or count_batch_tokens(encoder, gpu),
        shard_rows=shard_rows or max(SHARD_BYTES // max(row_bytes, 1), 1),
        stride=stride,
        question_length=question_length,
    )


@dataclasses.dataclass(frozen=True)
class ShardWork:
    """All that a process needs to make a shard.

    Attributes:
        number: which.
        rows: all of it but its states.
        tokens: of its texts.
        batches: places among these texts, an array a batch.
    """

    number: int
    rows: ShardRows
    tokens: Tokens
    batches: list[np.ndarray]


class ShardPlan:
    """The tokens of all rows, and their batches and shards.

    Args:
        encoder: whose tokenizer.
        examples: the rows.
        spec: what is kept of them.

    Attributes:
        tokens: of all texts.
        batches: places of texts.
        shards: of each its batches.
        total_rows: of the whole store.
    """

    def __init__(self, encoder: Encoder, examples: Examples, spec: StoreSpec):
        tokens, self._labels = tokenize_examples(encoder, examples, spec.max_length, spec.stride, spec.question_length)
        self.tokens, self._ids = tokens, examples.ids
        self._windows = tokens if isinstance(tokens, Windows) else None
        self._rows = tokens.lengths if spec.tokens == "all" else np.ones(len(tokens), np.int64)
        self.batches = plan_batches(tokens.lengths, spec.batch_tokens)
        self.shards = plan_shards(self.batches, self._rows, spec.shard_rows)
        self.total_rows = int(self._rows.sum())

    def __len__(self) -> int:
        return len(self.shards)

    def count_tokens(self) -> list[int]:
        """Of each shard."""
        return [int(self.tokens.lengths[np.concatenate(batches)].sum()) for batches in self.shards]

    def cut(self, number: int) -> ShardWork:
        """A shard by itself."""
        batches = self.shards[number]
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        own = self.tokens.select(np.concatenate(batches))
        return ShardWork(number, self.describe(number), own, np.split(np.arange(len(own)), ends))

    def describe(self, number: int) -> ShardRows:
        """A shard, all but its states."""
        return self.describe_rows(np.concatenate(self.shards[number]))

    def describe_rows(self, indices: np.ndarray) -> ShardRows:
        """All of some texts but their states."""
        starts, rows = self.tokens.offsets[indices], self._rows[indices]
        places = np.repeat(starts - np.cumsum(rows) + rows, rows) + np.arange(rows.sum())
        windows = self._windows
        owners = indices if windows is None else windows.questions[indices]
        return ShardRows(
            token_ids=self.tokens.token_ids[places],
            segment_ids=self.tokens.segment_ids[places],
            lengths=rows.astype(np.int32),
            example_index=indices.astype(np.int64),
            labels=self._labels[indices],
            ids=np.array([self._ids[i].encode("utf-8") for i in owners], "S"),
            questions=None if windows is None else owners,
            char_offsets=None if windows is None else windows.char_offsets[places],
        )
