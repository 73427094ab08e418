import itertools

import numpy as np
import pytest

from bertvision_tf.store.plan import plan_batches, plan_shards

COUNTS, BUDGETS, SHARDS = (0, 1, 2, 7, 50), (1, 16, 64, 1000), (1, 30, 100, 10_000)


def plan_in_a_loop(lengths, batch_tokens, rows, shard_rows):
    """The same plan, in plain Python."""
    batches = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    shards = []
    for batch in batches:
        size = sum(rows[i] for i in batch)
        if shards and sum(rows[i] for other in shards[-1] for i in other) + size <= shard_rows:
            shards[-1].append(batch)
        else:
            shards.append([batch])
    return batches, shards


@pytest.mark.parametrize(("count", "batch_tokens", "shard_rows"), itertools.product(COUNTS, BUDGETS, SHARDS))
def test_equal_to_a_loop(count, batch_tokens, shard_rows):
    lengths = np.random.default_rng(count).integers(1, 20, count)
    for rows in (lengths, np.ones(count, np.int64)):
        batches = plan_batches(lengths, batch_tokens)
        shards = plan_shards(batches, rows, shard_rows)
        expected = plan_in_a_loop(lengths.tolist(), batch_tokens, rows.tolist(), shard_rows)
        assert [batch.tolist() for batch in batches] == expected[0]
        assert [[batch.tolist() for batch in shard] for shard in shards] == expected[1]


@pytest.mark.parametrize(("count", "batch_tokens", "shard_rows"), itertools.product(COUNTS, BUDGETS, SHARDS))
def test_what_a_plan_promises(count, batch_tokens, shard_rows):
    lengths = np.random.default_rng(count + 1).integers(1, 20, count)
    batches = plan_batches(lengths, batch_tokens)
    shards = plan_shards(batches, lengths, shard_rows)
    assert sorted(i for batch in batches for i in batch) == list(range(count))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= batch_tokens
    assert [id(batch) for shard in shards for batch in shard] == [id(batch) for batch in batches]
    for shard in shards:
        assert len(shard) == 1 or sum(lengths[batch].sum() for batch in shard) <= shard_rows


def test_equal_lengths_keep_the_order_of_the_task():
    batches = plan_batches(np.array([3, 5, 3, 5, 3]), 10)
    assert [batch.tolist() for batch in batches] == [[1, 3], [0, 2, 4]]


def test_texts_without_tokens():
    assert [batch.tolist() for batch in plan_batches(np.array([0, 2, 0]), 2)] == [[1], [0, 2]]
