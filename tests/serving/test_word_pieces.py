"""The splitting of texts in the graph against the fast tokenizer's: equal in every token and character offset."""

import functools
import itertools
import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers

from tests.serving.twins import (
    ODD,
    ROBERTA_FRAME,
    SIZES,
    SPECIAL,
    Twins,
    build_mpnet_tokenizer,
    build_tokenizer,
    compare_windows,
)

MARKS = "\u0301\u0316\u302e\U0001d165\ua9c0"  # the last three stay in words where accents go
SETTINGS = {
    "uncased": (True, True, None, True),
    "cased": (True, True, None, False),
    "lower-cased with accents": (True, True, False, True),
    "cased without accents": (True, True, True, False),
    "words of Chinese": (True, False, None, True),
    "as it is": (True, False, False, False),
}


@pytest.fixture(scope="module")
def twins(minilm):
    return Twins(minilm.tokenizer)


@functools.cache
def list_points():
    """Marks, spaces, controls, punctuation, whatever has cases or parts, and some of all the rest."""
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]

    def is_odd(point):
        kind = unicodedata.category(point)
        return kind[0] in "MZP" or kind in ("Cc", "Cf") or point.lower() != point or unicodedata.decomposition(point)

    return [point for place, point in enumerate(points) if place % 499 == 0 or is_odd(point)]


@functools.cache
def get_twins(name):
    """With a vocabulary that tells all characters of `list_points` apart."""
    normalizer = normalizers.BertNormalizer(*SETTINGS[name])
    made = sorted(
        {*list_points(), *MARKS, *"ab", *itertools.chain(*map(normalizer.normalize_str, list_points()))} - {" "}
    )
    parts = ["the", "cat", "a\u302e", "\ua9c0\u302e", "##\ua9c0\u302e"]
    return Twins(build_tokenizer([*made, *("##" + word for word in made), *parts], *SETTINGS[name]))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_kind_of_character_alone_between_letters_doubled_and_among_marks(name):
    points = list_points()[:: 1 if name in ("uncased", "cased") else 8]
    form = "{0} a{0}b {0}{0} \u302e\ua9c0{0}\U0001d165\u302e{0}\u0301\ua9c0"
    get_twins(name).check_windows([""] * len(points), [form.format(point) for point in points])


@pytest.mark.parametrize("name", ODD)
def test_odd_texts(twins, name):
    text = ODD[name]
    twins.check([text, "She sleeps.", text * 9])
    twins.check([text, "She sleeps.", text * 9, text], ["She sleeps.", text, text, text])
    twins.check_windows([text, "Who sleeps?", text * 9], ["She sleeps.", text * 9, text * 9])


characters = st.one_of(
    st.characters(codec="utf-8"),
    st.characters(categories=["M", "Cc", "Cf", "Cn", "Co", "Z", "P"]),
    st.sampled_from(" abé中한Σİ[]\0\ufffd" + MARKS),
)
texts = st.lists(
    st.one_of(st.text(characters, max_size=12), st.sampled_from([*SPECIAL, "[SEP", "The cat", "unaffable", "x" * 101])),
    max_size=8,
).map("".join)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.tuples(texts, texts), max_size=6))
def test_any_texts(twins, rows):
    first, second = [one for one, _ in rows], [other for _, other in rows]
    twins.check(first)
    twins.check(first, second)
    twins.check_windows(first, second)


@pytest.mark.parametrize("name", SETTINGS)
@settings(max_examples=25, deadline=None, database=None)
@given(rows=st.lists(texts, min_size=1, max_size=6))
def test_any_texts_in_other_settings(name, rows):
    get_twins(name).check_windows(rows, rows)


@functools.cache
def get_mpnet_twins(lower):
    letters = "unkmaskcté<>/[]"
    words = ["the", "cat", *letters, *("##" + letter for letter in letters)]
    return Twins(build_mpnet_tokenizer(words, lower, trims=lower))


FLAGGED = [
    "<unk> a<unk>b <UNK> <Unk> <\u00fank> <u\u0301nk> <u\0n\u200bk> <un\u212a> <unk>\u0301 \u0301<unk>",
    "< unk> <unk > <un\nk> <u nk> <un[UNK]k> <un<unk>k> <<unk>> <unk><unk> <中unk> <unk",
    "cat <mask> cat \t\x85\u2003<mask><mask> \x1c<mask> \0 <mask>\n<mask>",
    " <mask>",
    "<mask> <MASK> <m\0ask> < mask> </s> <mask>",
    "<s><pad></s> <unk> <mask>[UNK] <S>",
]
flagged = st.lists(
    st.sampled_from(
        [*ROBERTA_FRAME, *"<unk>mas中", "<UNK>", "<un\0k>", " ", "\t", "\x85", "\x1c", "\0", "\u0301", "cat"]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("text", FLAGGED)
def test_special_tokens_with_flags(lower, text):
    twins = get_mpnet_twins(lower)
    twins.check([text, "The cat", ""], ["", text, ""])
    twins.check_windows([text, "The cat", ""], ["", text * 5, text])


@pytest.mark.parametrize("lower", [True, False])
@settings(max_examples=200, deadline=None, database=None)
@given(rows=st.lists(st.tuples(flagged, flagged), min_size=1, max_size=6))
def test_any_special_tokens_with_flags(lower, rows):
    first, second = [one for one, _ in rows], [other for _, other in rows]
    get_mpnet_twins(lower).check(first, second)
    get_mpnet_twins(lower).check_windows(first, second)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.binary(max_size=20) | texts.map(str.encode), min_size=1, max_size=6))
def test_bytes_that_are_no_text_are_what_python_replaces_them_with(twins, rows):
    decoded = [row.decode(errors="replace") for row in rows]
    questions = [""] * len(rows)
    found = twins.windows(tf.constant(questions), tf.constant(rows))
    compare_windows(found, twins.fast.tokenize_windows(questions, decoded, **SIZES))


def test_tokens_that_no_word_can_be():
    """Beside them, tensorflow_text would fail, or end the process."""
    twins = Twins(
        build_tokenizer(["", "\0", "##\0", "\x11", "##\x11", "a b", "a\x11", "a", "##b", "#", "##", "##\u0301"])
    )
    for text in ("a\x11b \x11 ## a## #b", "a\0b", "a b ab #"):
        twins.check_windows([text], [text])
