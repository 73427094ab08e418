"""Texts → token ids inside a TensorFlow graph, equal to the fast tokenizer's on every text.

Characters go through tables that are asked of the fast tokenizer itself (`characters`), and only words that are split
off go to tensorflow_text. Its own `BertTokenizer` and `FastBertTokenizer` differ from the fast tokenizer in:

- special tokens written in a text ("[SEP]"), which they split at the brackets;
- control and format characters (a zero byte, U+0085, U+0600), which split a word there, and are removed here;
- U+FFFD and private use, which stay there, and are removed here; U+1680, U+2028, U+2029, no white space there;
- compatibility forms (ﬁ, ß, ², Ⅳ, ℃, ｆ, 𝐀), which folding case there takes apart, and which stay here;
- marks, punctuation and letters newer than Unicode 9: there marks go, punctuation splits, case folds; here nothing;
- Chinese of U+2B820 to U+2B91F, which stands alone there only; the longest word, 100 bytes there, 100 characters here.

Bytes that are not UTF-8 have no twin: each is taken as `bytes.decode(errors="replace")` takes it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ..encoders import choose_windows
from ..encoders.tokenizer import Tokenizer
from ..errors import EncoderError
from .word_pieces import Letters, Pieces, WordPieces


class _Part(NamedTuple):
    """The tokens that rows show: of `token_ids`, (tokens,), from `begins` on as many as `counts`, both (rows,)."""

    token_ids: tf.Tensor
    begins: tf.Tensor
    counts: tf.Tensor


class _Frame(NamedTuple):
    """The special tokens around texts.

    Attributes:
        before: the first text.
        between: the texts of a pair.
        after: the last text.
        marks_empty: whether what follows an empty second text is of segment 1.
    """

    before: int
    between: tuple[int, ...]
    after: int
    marks_empty: bool

    @property
    def size(self) -> int:
        """Special tokens of a pair."""
        return 2 + len(self.between)


class GraphTokenizer(tf.Module):
    """A tokenizer's twin for graphs; a SavedModel of it loads with tensorflow and tensorflow_text alone.

    Args:
        tokenizer: a WordPiece tokenizer: of BERT, DistilBERT, ELECTRA, MiniLM or MPNet, lower-cased or cased.

    Raises:
        EncoderError: the tokenizer is of another kind, and has no twin.

    Example:
        >>> graph = GraphTokenizer(load_encoder("minilm").tokenizer)
        >>> tokenize = tf.function(graph.tokenize, input_signature=[tf.TensorSpec([None], tf.string)])
        >>> tokenize(tf.constant(["She sleeps."]))["token_ids"].numpy().tolist()
        [[101, 2016, 25126, 1012, 102]]
    """

    def __init__(self, tokenizer: Tokenizer):
        super().__init__(name="graph_tokenizer")
        self._pieces = WordPieces(tokenizer)
        self._tokenizer = tokenizer
        self._frame = _read_frame(tokenizer)

    @tf.autograph.experimental.do_not_convert
    def tokenize(
        self,
        texts: tf.Tensor,
        text_pairs: tf.Tensor | None = None,
        max_length: int = 128,
        buckets: Sequence[int] = (),
    ) -> dict[str, tf.Tensor]:
        """As `Encoder.tokenize`.

        Args:
            texts, text_pairs: string, (batch,), UTF-8.
            max_length: tokens, special ones included; at least as many as the special tokens.
            buckets: a batch is padded to the least of these lengths that holds all its texts, where none does to
                max_length; without buckets to its longest text.

        Returns:
            token_ids, segment_ids and padding_mask, each int32, (batch, tokens), zeros on the right.

        Raises:
            EncoderError: `max_length` is too short for the special tokens.
        """
        self._tokenizer.tokenize([""], None if text_pairs is None else [""], max_length)  # raises it
        with tf.device("/CPU:0"):
            first = self._pieces.split(self._pieces.decode(texts))
            counts = _count(first.splits)
            if text_pairs is None:
                part = _Part(first.token_ids, first.splits[:-1], tf.minimum(counts, max_length - 2))
                return self._lay_out(part, None, max_length, buckets)
            second = self._pieces.split(self._pieces.decode(text_pairs))
            counts, others = _cut_longest(counts, _count(second.splits), max_length - self._frame.size)
            part = _Part(first.token_ids, first.splits[:-1], counts)
            return self._lay_out(part, _Part(second.token_ids, second.splits[:-1], others), max_length, buckets)

    @tf.autograph.experimental.do_not_convert
    def tokenize_windows(
        self,
        questions: tf.Tensor,
        contexts: tf.Tensor,
        max_length: int = 384,
        stride: int | None = None,
        question_length: int | None = None,
        buckets: Sequence[int] = (),
    ) -> dict[str, tf.Tensor]:
        """As `Encoder.tokenize_windows`, padded.

        Args:
            questions, contexts: string, (batch,), UTF-8.
            max_length: tokens of a window, special ones included.
            stride, question_length: tokens; `choose_windows`'s with None.
            buckets: as in `tokenize`.

        Returns:
            token_ids, segment_ids and padding_mask, each int32, (windows, tokens), zeros on the right.
            char_offsets: int32, (windows, tokens, 2): where in its context a token begins and ends, in characters; −1
                twice outside it. `tf.strings.substr(context, begin, end - begin, unit="UTF8_CHAR")` cuts it out.
            questions: int32, (windows,), whose each is, in rising order.

        Raises:
            EncoderError: so little room is left to the context that windows cannot move on.
        """
        stride, question_length = choose_windows(max_length, stride, question_length)
        self._tokenizer.tokenize_windows([], [], max_length, stride, question_length)  # raises it
        with tf.device("/CPU:0"):
            first = self._shorten(self._pieces.decode(questions), question_length)
            letters = self._pieces.decode(contexts)
            second = self._pieces.split(letters)
            asked, counts = _count(first.splits), _count(second.splits)  # (batch,)
            room = max_length - self._frame.size - asked
            step = room - stride
            numbers = tf.ragged.range(1 + (tf.maximum(counts - room, 0) + step - 1) // step, row_splits_dtype=tf.int32)
            owners = numbers.value_rowids()  # (windows,)
            skipped = numbers.flat_values * tf.gather(step, owners)
            shown = tf.minimum(tf.gather(room, owners), tf.gather(counts, owners) - skipped)
            asked, begins = tf.gather(asked, owners), tf.gather(second.splits, owners) + skipped
            part = _Part(first.token_ids, tf.gather(first.splits, owners), asked)
            windows = self._lay_out(part, _Part(second.token_ids, begins, shown), max_length, buckets)
            columns = tf.range(tf.shape(windows["token_ids"])[1]) - (self._frame.size - 1) - asked[:, None]
            starts = tf.repeat(letters.splits[:-1], counts)  # (tokens,), of their texts
            edges = [
                _place(_Part(edge - starts, begins, shown), columns, rest=-1) for edge in (second.begins, second.ends)
            ]
            return windows | {"char_offsets": tf.stack(edges, axis=-1), "questions": owners}

    def _shorten(self, letters: Letters, length: int) -> Pieces:
        """As `Tokenizer` shortens texts: those of more tokens are cut in characters until they have no more."""

        def cut(sizes: tf.Tensor) -> Pieces:
            places = tf.ragged.range(letters.splits[:-1], letters.splits[:-1] + sizes, row_splits_dtype=tf.int32)
            return self._pieces.split(Letters(tf.gather(letters.points, places.flat_values), places.row_splits))

        def is_longer(attempt: tf.Tensor, sizes: tf.Tensor, ends: tf.Tensor, *pieces: tf.Tensor) -> tf.Tensor:
            return tf.reduce_any(_count(Pieces(*pieces).splits) > length)

        def shorten(attempt: tf.Tensor, sizes: tf.Tensor, starts: tf.Tensor, *pieces: tf.Tensor):
            found = Pieces(*pieces)
            longer = _count(found.splits) > length
            last = tf.where(longer, found.splits[:-1] + length - 1, 0)
            ends = tf.gather(found.ends, last) - starts
            sizes = tf.where(longer, tf.minimum(ends, sizes - attempt), sizes)
            return [attempt + 1, sizes, tf.cumsum(sizes, exclusive=True), *cut(sizes)]

        first = [tf.constant(0), _count(letters.splits), letters.splits[:-1], *self._pieces.split(letters)]
        any_size = [tf.TensorShape([None])] * 6
        return Pieces(*tf.while_loop(is_longer, shorten, first, [tf.TensorShape([]), *any_size])[3:])

    def _lay_out(
        self, first: _Part, second: _Part | None, max_length: int, buckets: Sequence[int]
    ) -> dict[str, tf.Tensor]:
        """The parts in their frame."""
        frame = self._frame
        lengths = first.counts + 2 if second is None else first.counts + second.counts + frame.size
        width = _choose_width(lengths, max_length, buckets)
        columns = tf.range(width)[None, :]
        after = 1 + first.counts[:, None]  # (rows, 1)
        mask = columns < lengths[:, None]
        segments = tf.zeros_like(mask)
        token_ids = _place(first, columns - 1, rest=0) + tf.where(columns == 0, frame.before, 0)
        token_ids += tf.where(columns == lengths[:, None] - 1, frame.after, 0)
        if second is not None:
            for place, token in enumerate(frame.between):
                token_ids += tf.where(columns == after + place, token, 0)
            start = after + len(frame.between)
            segments = mask & (columns >= start)
            if not frame.marks_empty:
                segments &= second.counts[:, None] > 0
            token_ids += _place(second, columns - start, rest=0)
        return {
            "token_ids": token_ids,
            "segment_ids": tf.cast(segments, tf.int32),
            "padding_mask": tf.cast(mask, tf.int32),
        }


def _read_frame(tokenizer: Tokenizer) -> _Frame:
    """Asked of the tokenizer itself."""
    one, pair = tokenizer.tokenize(["."], None, 8), tokenizer.tokenize(["."], ["."], 8)
    ids, between = one.token_ids.tolist(), tuple(pair.token_ids.tolist()[2:-2])
    framed = len(ids) == 3 and pair.token_ids.tolist() == [*ids[:2], *between, *ids[1:]]
    if not framed or pair.segment_ids.tolist() != [0, 0, *(0 for _ in between), 1, 1]:
        raise EncoderError(
            "a graph sets one token before the first text and one after the last: this tokenizer exports "
            "serve_tokens only."
        )
    marks_empty = bool(tokenizer.tokenize(["."], [""], 8).segment_ids[-1])
    return _Frame(ids[0], between, ids[2], marks_empty)


def _count(splits: tf.Tensor) -> tf.Tensor:
    return splits[1:] - splits[:-1]


def _place(part: _Part, columns: tf.Tensor, rest: int) -> tf.Tensor:
    """(rows, tokens): a row's values where its `columns`, (rows, tokens), count them from 0; elsewhere `rest`."""
    inside = (columns >= 0) & (columns < part.counts[:, None])
    places = tf.where(inside, part.begins[:, None] + columns, tf.size(part.token_ids))
    return tf.gather(tf.concat([part.token_ids, [rest]], 0), places)


def _choose_width(lengths: tf.Tensor, max_length: int, buckets: Sequence[int]) -> tf.Tensor:
    longest = tf.reduce_max(tf.concat([lengths, [1]], 0))
    if not buckets:
        return longest
    widths = tf.constant(sorted({*(bucket for bucket in buckets if bucket < max_length), max_length}), tf.int32)
    return tf.gather(widths, tf.searchsorted(widths, longest[None])[0])


def _cut_longest(first: tf.Tensor, second: tf.Tensor, room: int) -> tuple[tf.Tensor, tf.Tensor]:
    """How many tokens of each text fit a room for both: the longer is cut to the shorter, then both to a half."""
    shorter = tf.minimum(first, second)
    longer = tf.minimum(tf.maximum(first, second), tf.maximum(shorter, room - shorter))
    both = shorter + longer > room
    shorter, longer = tf.where(both, room // 2, shorter), tf.where(both, room - room // 2, longer)
    swapped = first > second
    return tf.where(swapped, longer, shorter), tf.where(swapped, shorter, longer)
