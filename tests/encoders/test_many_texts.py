"""Tokens of many texts, made in parts."""

import resource

import numpy as np
import pytest

from bertvision_tf.encoders import tokenizer


@pytest.mark.parametrize("paired", [False, True])
def test_parts_do_not_show(tiny_encoder, monkeypatch, paired):
    texts = [f"the cat {'eats ' * (row % 9)}." for row in range(50)]
    pairs = [f"a dog {'runs ' * (row % 7)}" for row in range(50)] if paired else None
    whole = tiny_encoder.tokenize_rows(texts, pairs, max_length=9)
    monkeypatch.setattr(tokenizer, "TEXTS_AT_ONCE", 7)
    parts = tiny_encoder.tokenize_rows(texts, pairs, max_length=9)
    for name in ("token_ids", "segment_ids", "offsets"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
        assert getattr(parts, name).dtype == getattr(whole, name).dtype
    assert parts.truncated == whole.truncated > 0


def test_memory_grows_by_the_tokens_alone(tiny_encoder):
    texts = [f"the cat {row} " + "eats " * (row % 8 + 1) for row in range(300_000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokens = tiny_encoder.tokenize_rows(texts)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert len(tokens) == 300_000
    assert grown < 150  # MiB
