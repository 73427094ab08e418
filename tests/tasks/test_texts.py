"""Texts as users bring them to `predict` and `tokenize`."""

import math

import numpy as np
import pytest

from bertvision_tf.errors import EncoderError, TaskError
from bertvision_tf.tasks.files import list_texts

TEXTS = ["the cat", "a dog eats", "who ?"]


def make_columns():
    pandas, polars, pyarrow, datasets = map(pytest.importorskip, ("pandas", "polars", "pyarrow", "datasets"))
    table = {"text": TEXTS}
    return [
        (text for text in TEXTS), tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), pandas.Series(TEXTS),
        polars.Series(TEXTS), pyarrow.array(TEXTS), pyarrow.table(table)["text"],
        datasets.Dataset.from_dict(table)["text"],
    ]  # fmt: skip


def test_every_column_of_texts_is_a_list():
    for column in make_columns():
        assert list_texts(column, "texts") == TEXTS


def test_tokens_of_a_generator(tiny_encoder):
    found = tiny_encoder.tokenize(text for text in TEXTS)
    np.testing.assert_array_equal(found["token_ids"], tiny_encoder.tokenize(TEXTS)["token_ids"])


@pytest.mark.parametrize(
    ("wrong", "shown"), [(None, "None"), (math.nan, "nan"), (b"bytes", "b'bytes'"), (3, "3"), (["a"], r"\['a'\]")]
)
def test_what_is_no_text_is_named_with_its_row(tiny_encoder, wrong, shown):
    with pytest.raises(EncoderError, match=rf"^`texts` needs strings, each one; row 2 is {shown} \("):
        tiny_encoder.tokenize(["the cat", "a dog", wrong])
    with pytest.raises(EncoderError, match=rf"^`text_pairs` needs strings, each one; row 0 is {shown} \("):
        tiny_encoder.tokenize(["the cat"], [wrong])


def test_half_a_character_is_named_with_its_row(tiny_encoder):
    with pytest.raises(EncoderError, match=r"`texts`, row 1: .* has half a character"):
        tiny_encoder.tokenize(["the cat", "the \ud83d"])


def test_a_table_is_no_list_of_texts():
    pandas, polars = map(pytest.importorskip, ("pandas", "polars"))
    for table in ({"text": TEXTS}, pandas.DataFrame({"text": TEXTS}), polars.DataFrame({"text": TEXTS})):
        with pytest.raises(TaskError, match="name one of its columns"):
            list_texts(table, "texts")
    for wrong in ("one", b"one"):
        with pytest.raises(TaskError, match="put it in a list"):
            list_texts(wrong, "texts")
    for wrong in ({"one"}, frozenset(["one"])):
        with pytest.raises(TaskError, match=r"in an order, got a (frozen)?set"):
            list_texts(wrong, "texts")
    assert list_texts(dict.fromkeys(TEXTS).keys(), "texts") == TEXTS
    with pytest.raises(TaskError, match="got int"):
        list_texts(3, "texts")
