"""Tokens of many texts, and of long ones, made in parts."""

import resource
from pathlib import Path

import numpy as np
import pytest

from bertvision_tf.encoders import load_encoder, tokenizer
from bertvision_tf.errors import EncoderError

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


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


def test_parts_hold_so_many_characters(tiny_encoder, monkeypatch):
    monkeypatch.setattr(tokenizer, "CHARACTERS_AT_ONCE", 10)
    texts, pairs = ["abcd", "ab", "abcdef", "a" * 30, "", "a"], ["abc", "", "abcd", "", "", "b"]
    for given, number in ((pairs, 2), (None, 9)):
        parts = [(rows.start, rows.stop) for rows in tokenizer._split_rows(texts, given, number)]
        assert parts == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert not list(tokenizer._split_rows([], None, 2))


@pytest.mark.parametrize("name", ["bert-gelu-eps1e-12-segments2", "roberta", "albert", "xlm-roberta"])
@pytest.mark.parametrize("paired", [False, True])
def test_cuts_as_longest_first_of_the_package(name, paired):
    encoder = load_encoder(CHECKPOINTS / name)
    random, words = np.random.default_rng(0), "the a cat dogs bird has eat eats is not run she .".split()
    texts, others = ([" ".join(random.choice(words, random.integers(0, 20))) for _ in range(150)] for _ in range(2))
    backend = encoder.tokenizer._fast.backend_tokenizer
    least = backend.num_special_tokens_to_add(paired)
    for max_length in range(least, 30):
        tokens = encoder.tokenizer.tokenize(texts, others if paired else None, max_length)
        backend.enable_truncation(max_length, strategy="longest_first")
        expected = backend.encode_batch(list(zip(texts, others, strict=True)) if paired else texts)
        assert tokens.token_ids.tolist() == [token for one in expected for token in one.ids]
        assert tokens.lengths.tolist() == [len(one) for one in expected]
        assert tokens.truncated == sum(bool(one.overflowing) for one in expected)
    with pytest.raises(EncoderError, match=f"too short: the special tokens alone are {least}"):
        encoder.tokenizer.tokenize(texts, others if paired else None, least - 1)


@pytest.mark.parametrize("paired", [False, True])
def test_memory_of_long_texts(tiny_encoder, paired):
    texts = ["the cat eats . " * 300] * 60
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokens = tiny_encoder.tokenize_rows(texts, texts if paired else None, max_length=64)
    assert (len(tokens), tokens.truncated) == (60, 60)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 60  # MiB


def test_memory_grows_by_the_tokens_alone(tiny_encoder):
    texts = [f"the cat {row} " + "eats " * (row % 8 + 1) for row in range(300_000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokens = tiny_encoder.tokenize_rows(texts)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert len(tokens) == 300_000
    assert grown < 150  # MiB
