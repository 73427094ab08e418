"""Which examples are run together, and which go into one shard: pure functions of their lengths."""

import numpy as np


def plan_batches(lengths: np.ndarray, batch_tokens: int) -> list[np.ndarray]:
    """Sorts examples by length, longest first, and cuts them into batches of at most `batch_tokens` padded cells.

    Args:
        lengths: integer, (examples,), tokens of each.
        batch_tokens: examples · longest is at most this; an example longer than that is a batch of its own.

    Returns:
        example indices, one int64 array a batch.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        stop = min(start + max(batch_tokens // longest, 1), len(order))
        batches.append(order[start:stop])
        start = stop
    return batches


def plan_shards(batches: list[np.ndarray], rows: np.ndarray, shard_rows: int) -> list[list[np.ndarray]]:
    """Groups consecutive batches into shards of at most `shard_rows` rows; a batch never crosses a shard.

    Args:
        batches: what `plan_batches` gave.
        rows: integer, (examples,), rows that each example takes in the store.
        shard_rows: a batch of more rows is a shard of its own.
    """
    shards: list[list[np.ndarray]] = []
    filled = shard_rows
    for batch in batches:
        size = int(rows[batch].sum())
        if not shards or filled + size > shard_rows:
            shards.append([])
            filled = 0
        shards[-1].append(batch)
        filled += size
    return shards
