"""Texts → WordPiece tokens inside a TensorFlow graph, with the characters that each stands for."""

import functools
import json
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ..encoders.tokenizer import Tokenizer
from .characters import ABSENT, BREAK_AFTER, BREAK_BEFORE, CHARACTER, ORDER_SHIFT, PAGE, REMOVED, read_characters
from .description import read_description, refuse

# What tokens take that "strip" the white space on their left: Unicode's White_Space, control characters among it.
WHITE_SPACE = np.array(
    [*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000],
    np.int32,
)


class Letters(NamedTuple):
    """The code points of texts, back to back: int32, (characters,) and (texts + 1,)."""

    points: tf.Tensor
    splits: tf.Tensor


class Pieces(NamedTuple):
    """The tokens of texts, back to back.

    Attributes:
        token_ids: int32, (tokens,).
        splits: int32, (texts + 1,).
        begins, ends: int32, (tokens,), where each begins and ends among the characters of all texts.
    """

    token_ids: tf.Tensor
    splits: tf.Tensor
    begins: tf.Tensor
    ends: tf.Tensor


class _Cells(NamedTuple):
    """What characters became: int32, (cells,), (cells,) (each one's character) and (texts + 1,)."""

    cells: tf.Tensor
    sources: tf.Tensor
    splits: tf.Tensor


class WordPieces(tf.Module):
    """Splits texts into the tokens that a fast tokenizer splits them into.

    Args:
        tokenizer: of a BERT, DistilBERT, ELECTRA or another checkpoint with their WordPiece.

    Raises:
        EncoderError: its tokens are made in another way.
    """

    def __init__(self, tokenizer: Tokenizer):
        super().__init__(name="word_pieces")
        model, settings, added, trims = read_description(json.loads(tokenizer.to_json()))
        self._longest = model["max_input_chars_per_word"]
        self._unknown = model["vocab"][model["unk_token"]]
        self._special, self._special_forms = (
            [np.array([*map(ord, token["content"])], np.int32) for token in added if token["normalized"] == late]
            for late in (False, True)
        )
        self._greedy = [] if trims else [token["id"] for token in added if token["lstrip"]]
        strips = settings["lowercase"] if settings["strip_accents"] is None else settings["strip_accents"]
        table = read_characters(settings["handle_chinese_chars"], strips, settings["lowercase"])
        self._sorts_marks = table.sorts_marks
        vocabulary = sorted(model["vocab"], key=model["vocab"].get)
        with tf.init_scope(), tf.device("/CPU:0"):
            self._lengths = tf.constant([len(word.removeprefix("##")) for word in vocabulary], tf.int32)
            self._page_numbers = tf.constant(table.page_numbers)
            self._pages = tf.constant(table.pages.reshape(-1))
            self._pool = tf.constant(table.pool)
            self._pool_splits = tf.constant(table.pool_splits)
            self._model = _build_model(vocabulary, model["unk_token"], self._longest)
        row = tf.TensorSpec([None], tf.int32)
        self._split = tf.function(self._split_letters, input_signature=[row, row], autograph=False)  # traced once

    def decode(self, texts: tf.Tensor) -> Letters:
        """The code points of texts: string, (texts,), UTF-8; ill-formed bytes become U+FFFD, as Python has it."""
        points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        return Letters(points.flat_values, tf.cast(points.row_splits, tf.int32))

    def split(self, letters: Letters) -> Pieces:
        """The tokens of texts, without [CLS] and [SEP] around them."""
        return Pieces(*self._split(*letters))

    def _split_letters(self, points: tf.Tensor, splits: tf.Tensor) -> Pieces:
        with tf.device("/CPU:0"):
            found = self._look_up(Letters(points, splits))
            if self._sorts_marks:
                marks = (found.cells >= 1 << ORDER_SHIFT) & _lack(found.cells, ABSENT)
                found = tf.cond(tf.reduce_any(marks), lambda: _sort_marks(found), lambda: found)
            if self._special_forms:
                found = found._replace(cells=_keep_forms(found, self._special_forms))
            pieces = self._split_words(found)
            return _take_white_space(Letters(points, splits), pieces, self._greedy) if self._greedy else pieces

    def _look_up(self, letters: Letters) -> _Cells:
        points, splits = letters
        pages = tf.gather(self._page_numbers, points // PAGE)
        values = tf.gather(self._pages, pages * PAGE + points % PAGE)
        cells = tf.where(values < 0, values, tf.bitwise.bitwise_xor(values, points))
        cells = _keep_special(letters, cells, self._special)

        def expand() -> _Cells:
            single, sequences = cells >= 0, tf.maximum(-1 - cells, 0)
            begins = tf.where(
                single, tf.range(tf.size(cells)) + tf.size(self._pool), tf.gather(self._pool_splits, sequences)
            )
            ends = tf.where(single, begins + 1, tf.gather(self._pool_splits, sequences + 1))
            places = tf.ragged.range(begins, ends, row_splits_dtype=tf.int32)
            return _Cells(
                tf.gather(tf.concat([self._pool, cells], 0), places.flat_values),
                places.value_rowids(),
                tf.gather(places.row_splits, splits),
            )

        same = _Cells(cells, tf.range(tf.size(cells)), splits)
        return tf.cond(tf.reduce_any(cells < 0), expand, lambda: same)

    def _split_words(self, found: _Cells) -> Pieces:
        cells, sources, splits = found
        ends_before = tf.concat([[False], ~_lack(cells, BREAK_AFTER)], 0)[:-1]
        breaks = tf.cast(~_lack(cells, BREAK_BEFORE), tf.int32) + tf.cast(ends_before, tf.int32)
        words = tf.cumsum(breaks + _count_starts(splits, tf.size(cells)))  # (cells,)
        stays = _lack(cells, ABSENT)
        kept = tf.where(stays)[:, 0]
        words, sources = tf.gather(words, kept), tf.gather(sources, kept)  # (kept,)
        characters = tf.bitwise.bitwise_and(tf.gather(cells, kept), CHARACTER)
        first = tf.concat([tf.ones_like(words[:1], tf.bool), words[1:] != words[:-1]], 0)
        starts = tf.concat([tf.cast(tf.where(first)[:, 0], tf.int32), [tf.size(words)]], 0)  # (words + 1,)
        text_words = tf.gather(_accumulate(first), tf.gather(_accumulate(stays), splits))  # (texts + 1,)

        lengths = starts[1:] - starts[:-1]
        ragged = tf.RaggedTensor.from_row_splits(characters, starts, validate=False)
        too_long = "x" * (4 * self._longest + 1)
        spelled = tf.where(lengths > self._longest, too_long, tf.strings.unicode_encode(ragged, "UTF-8"))
        pieces = self._model.tokenize(spelled)
        token_ids, piece_splits = pieces.flat_values, tf.cast(pieces.row_splits, tf.int32)
        # Pieces are as long as they are spelled, but [UNK] as its word.
        unknown = tf.where(tf.gather(token_ids, piece_splits[:-1]) == self._unknown)[:, 0]
        piece_lengths = tf.tensor_scatter_nd_update(
            tf.gather(self._lengths, token_ids),
            tf.gather(piece_splits, unknown)[:, None],
            tf.gather(lengths, unknown),
        )
        piece_ends = tf.cumsum(piece_lengths)
        return Pieces(
            token_ids,
            tf.gather(piece_splits, text_words),
            tf.gather(sources, piece_ends - piece_lengths),
            tf.gather(sources, piece_ends - 1) + 1,
        )


def _build_model(vocabulary: list[str], unknown: str, longest: int) -> Any:
    """tensorflow_text's splitter of words. No word holds control characters or white space: tokens of the vocabulary
    that do are not found in any text, and those that the splitter fails on are given names that are not either."""
    from tensorflow_text import FastWordpieceTokenizer

    bad = {"\0", "\x11"}  # the end of a string, and the splitter's own mark
    try:
        return FastWordpieceTokenizer(
            [f" {place}" if not word or bad & set(word) else word for place, word in enumerate(vocabulary)],
            max_bytes_per_word=4 * longest,  # a character has at most 4, and characters are counted here
            unknown_token=unknown,
            token_out_type=tf.int32,
            no_pretokenization=True,
        )
    except RuntimeError as error:
        raise refuse(f"tensorflow_text cannot hold this vocabulary ({str(error).strip().splitlines()[-1]})") from None


def _keep_special(letters: Letters, cells: tf.Tensor, tokens: list[np.ndarray]) -> tf.Tensor:
    """Cells in which each special token that is written in a text is one word, as it stands."""
    for start in sorted({token[0] for token in tokens}):
        keep = functools.partial(_keep, letters, cells, [token for token in tokens if token[0] == start])
        cells = tf.cond(tf.reduce_any(letters.points == start), keep, functools.partial(tf.identity, cells))
    return cells


def _keep(letters: Letters, cells: tf.Tensor, tokens: list[np.ndarray]) -> tf.Tensor:
    for token in tokens:
        places = tf.cast(tf.where(letters.points == token[0])[:, 0], tf.int32)
        ends = tf.gather(letters.splits, tf.searchsorted(letters.splits, places, side="right"))
        places = tf.boolean_mask(places, places + len(token) <= ends)  # within their text
        around = places[:, None] + np.arange(len(token), dtype=np.int32)
        around = tf.boolean_mask(around, tf.reduce_all(tf.gather(letters.points, around) == token, axis=1))
        word = token.copy()
        word[0] |= BREAK_BEFORE
        word[-1] |= BREAK_AFTER
        cells = tf.tensor_scatter_nd_update(cells, around[..., None], tf.broadcast_to(word, tf.shape(around)))
    return cells


def _keep_forms(found: _Cells, tokens: list[np.ndarray]) -> tf.Tensor:
    """As `_keep_special`, of tokens that are looked for in what characters became: without what was removed."""
    stays = _lack(found.cells, ABSENT) | ~_lack(found.cells, BREAK_BEFORE)  # white space keeps characters apart
    kept = tf.where(stays)[:, 0]
    cells = tf.gather(found.cells, kept)
    splits = tf.gather(_accumulate(stays), found.splits)
    cells = _keep_special(Letters(tf.bitwise.bitwise_and(cells, CHARACTER), splits), cells, tokens)
    return tf.tensor_scatter_nd_update(found.cells, kept[:, None], cells)


def _take_white_space(letters: Letters, pieces: Pieces, greedy: list[int]) -> Pieces:
    """Pieces of which those of some tokens begin at the white space on their left."""
    solid = tf.reduce_all(letters.points[:, None] != WHITE_SPACE, axis=1)
    ends = tf.concat([[0], tf.cast(tf.where(solid)[:, 0], tf.int32) + 1], 0)  # of what is no white space
    starts = tf.repeat(letters.splits[:-1], pieces.splits[1:] - pieces.splits[:-1])  # (tokens,), of their texts
    begins = tf.maximum(tf.gather(ends, tf.gather(_accumulate(solid), pieces.begins)), starts)
    takes = tf.reduce_any(pieces.token_ids[:, None] == greedy, axis=1)
    return pieces._replace(begins=tf.where(takes, begins, pieces.begins))


def _sort_marks(found: _Cells) -> _Cells:
    """Unicode's canonical order: between two that are none, combining marks by their class.

    A mark's source is that of its new place, as the fast tokenizer has it.
    """
    stays = tf.bitwise.right_shift(found.cells, ORDER_SHIFT) != REMOVED
    kept = tf.where(stays)[:, 0]
    cells, sources = tf.gather(found.cells, kept), tf.gather(found.sources, kept)
    splits = tf.gather(_accumulate(stays), found.splits)
    orders = tf.bitwise.right_shift(cells, ORDER_SHIFT)
    runs = tf.cumsum(tf.cast((orders == 0) | (_count_starts(splits, tf.size(cells)) > 0), tf.int64))
    places = tf.argsort(runs * (REMOVED + 1) + tf.cast(orders, tf.int64), stable=True)
    first = tf.concat([tf.ones_like(sources[:1], tf.bool), sources[1:] != sources[:-1]], 0)
    owners = tf.boolean_mask(sources, first)
    sources = tf.gather(owners, _accumulate(tf.gather(first, places))[1:] - 1)
    return _Cells(tf.gather(cells, places), sources, splits)


def _lack(cells: tf.Tensor, flag: int) -> tf.Tensor:
    return tf.bitwise.bitwise_and(cells, flag) == 0


def _accumulate(flags: tf.Tensor) -> tf.Tensor:
    """int32, (n + 1,): how many of n flags are set before each place."""
    return tf.concat([[0], tf.cumsum(tf.cast(flags, tf.int32))], 0)


def _count_starts(splits: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """int32, (size,): how many texts begin at each place."""
    return tf.scatter_nd(splits[:-1, None], tf.ones_like(splits[:-1]), [size + 1])[:-1]
