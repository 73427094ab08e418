"""Texts → token ids, through the checkpoint's own fast tokenizer.

Over 300 lines, since texts, pairs and windows share their checks, their parts and their segments.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import EncoderError, find_reason
from ..packed import ArrayWriter
from ..tasks.files import list_texts

if TYPE_CHECKING:
    from transformers import TokenizersBackend

FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.spm")  # any of which holds a vocabulary
LEAST_SHARE = 0.9  # of an embedding's rows that have a token: checkpoints round their number up
MOST_GROWTH = 1000  # letters that the normalizer may make of one
TEXTS_AT_ONCE = 2048  # tokenized: their encodings take a hundred times the memory of their tokens
QUESTIONS_AT_ONCE = 256  # fewer, since each has many windows
CHARACTERS_AT_ONCE = 2**19  # of texts with their pairs; a longer text goes alone

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # transformers would say that PyTorch is missing


@dataclasses.dataclass(frozen=True)
class Tokens:
    """The tokens of many texts, back to back without padding; text i has rows offsets[i] to offsets[i + 1].

    Attributes:
        token_ids: int32, (rows,).
        segment_ids: uint8, (rows,); 1 in the second text of a pair.
        offsets: int64, (texts + 1,).
        truncated: how many texts were longer than `max_length`.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    offsets: np.ndarray
    truncated: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """int64, (texts,): tokens of each text."""
        return np.diff(self.offsets)

    def select(self, indices: Sequence[int] | np.ndarray) -> "Tokens":
        """Of some texts, in this order."""
        indices = np.asarray(indices)
        starts, lengths = self.offsets[indices], self.lengths[indices]
        offsets = np.cumsum([0, *lengths])
        rows = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Tokens(self.token_ids[rows], self.segment_ids[rows], offsets)

    def pad(self, indices: Sequence[int] | np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Returns token_ids, segment_ids, padding_mask, each int32 (batch, tokens), zeros on the right."""
        indices = np.arange(len(self)) if indices is None else np.asarray(indices)
        starts, lengths = self.offsets[indices], self.lengths[indices]
        columns = np.arange(lengths.max(initial=1))
        mask = columns < lengths[:, None]  # (batch, tokens)
        rows = np.where(mask, starts[:, None] + columns, 0)
        return {
            "token_ids": np.where(mask, self.token_ids[rows], 0).astype(np.int32),
            "segment_ids": np.where(mask, self.segment_ids[rows], 0).astype(np.int32),
            "padding_mask": mask.astype(np.int32),
        }

    def batches(self, size: int = 64) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """All texts, those of like length together: the indices of a batch, and what `pad` gives of them."""
        order = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield rows, self.pad(rows)


@dataclasses.dataclass(frozen=True)
class Windows(Tokens):
    """The tokens of questions, each with a window of its context; a long context has several, which overlap.

    `truncated` counts the questions that were cut.

    Attributes:
        questions: int64, (windows,), whose each is, in rising order.
        char_offsets: int32, (rows, 2): where in the context a token begins and ends, in characters; −1 twice for
            what is no part of it: the question and special tokens.
    """

    questions: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    char_offsets: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.int32))


class Tokenizer:
    """A fast tokenizer of transformers, on the terms of this library."""

    def __init__(self, fast: "TokenizersBackend"):
        self._fast = fast

    @classmethod
    def read(cls, folder: Path, rows: int = 0) -> "Tokenizer":
        """The tokenizer of a checkpoint folder.

        Args:
            folder: the checkpoint's.
            rows: of its token embedding, of which nearly all need a token.

        Raises:
            EncoderError: there is none, or no fast one, or its vocabulary is cut.
        """
        from transformers import AutoTokenizer

        if not any(file for name in FILES for file in folder.glob(name)):  # transformers would make an empty one
            raise EncoderError(f"{folder} has no tokenizer: expected {', '.join(FILES[:-1])} or {FILES[-1]}.")
        try:
            fast: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # transformers and tokenizers raise whatever their JSON leads them to
            reason = find_reason(error)
            raise EncoderError(f"{folder} has no tokenizer that can be read: {reason}") from None
        if not fast.is_fast:
            raise EncoderError(f"{folder} has no fast tokenizer (tokenizer.json or vocab.txt).")
        _check_special_tokens(folder, fast)
        _check_growth(folder, fast)
        if len(fast) < LEAST_SHARE * rows:
            raise EncoderError(
                f"the tokenizer of {folder} has only {len(fast)} tokens for an embedding of {rows} rows: its "
                "vocabulary is cut, or not of this checkpoint."
            )
        return cls(fast)

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest number of a token, or the number of tokens, if that is more."""
        numbers = self._fast.get_vocab().values()
        return max(len(numbers), max(numbers, default=-1) + 1)

    @property
    def padding_id(self) -> int:
        """The number of the padding's token; 0 where there is none."""
        return self._fast.pad_token_id or 0

    def save(self, folder: Path) -> None:
        """Writes the files that `read` reads."""
        self._fast.save_pretrained(str(folder))

    def to_json(self) -> str:
        """All that decides its output, as text: equal for equal tokenizers."""
        self._fast.backend_tokenizer.no_truncation()
        self._fast.backend_tokenizer.no_padding()
        return self._fast.backend_tokenizer.to_str()

    def to_words(self, token_ids: Sequence[int]) -> list[str]:
        """The pieces that ids stand for, as the vocabulary spells them."""
        return list(self._fast.convert_ids_to_tokens([int(i) for i in token_ids]))

    def tokenize(self, texts: Sequence[str], text_pairs: Sequence[str] | None, max_length: int) -> Tokens:
        """Tokenizes texts, or pairs of texts, with the special tokens; the longer text of a pair is cut first."""
        texts, pairs = _check_texts(texts, text_pairs)
        if not texts:
            return Tokens(np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(1, np.int64))
        backend = self._fast.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()  # which keeps, of a pair, each part of one text with each of the other
        special = backend.num_special_tokens_to_add(pairs is not None)
        if max_length < special:
            raise EncoderError(f"`max_length` {max_length} is too short: the special tokens alone are {special}.")
        writers, cut = [ArrayWriter(np.int32), ArrayWriter(np.uint8), ArrayWriter(np.int64)], 0
        for rows in _split_rows(texts, pairs, TEXTS_AT_ONCE):
            read = list(texts[rows]) if pairs is None else list(zip(texts[rows], pairs[rows], strict=True))
            encodings = self._encode(read)
            cut += sum(len(e) > max_length for e in encodings)
            found = [_cut_longest(e, max_length, pairs is not None) for e in encodings]
            lengths = np.fromiter((len(token_ids) for token_ids, _ in found), np.int64, len(found))
            parts = (*(np.concatenate(part) for part in zip(*found, strict=True)), lengths)
            for writer, part in zip(writers, parts, strict=True):
                writer.append(part)
        token_ids, segment_ids, lengths = (writer.finish() for writer in writers)
        return Tokens(token_ids, segment_ids, np.concatenate([[0], np.cumsum(lengths)]), cut)

    def tokenize_windows(
        self, questions: Sequence[str], contexts: Sequence[str], max_length: int, stride: int, question_length: int
    ) -> Windows:
        """Tokenizes questions with their contexts, a long context in windows that overlap.

        Args:
            questions, contexts: one of each a row.
            max_length: tokens of a window: special ones, question and context.
            stride: tokens of the context that neighbouring windows share.
            question_length: a longer question is cut after so many tokens.

        Raises:
            EncoderError: so little room is left to the context that windows cannot move on.
        """
        backend = self._fast.backend_tokenizer
        backend.no_padding()
        backend.no_truncation()
        room = max_length - question_length - backend.num_special_tokens_to_add(True)
        if not 0 <= stride < room or question_length < 1:
            raise EncoderError(
                f"`max_length` {max_length} leaves {room} tokens to a context beside {question_length} of the "
                f"question: the `stride` needs fewer than these, and at least 0, got {stride}."
            )
        checked, pairs = _check_texts(questions, contexts)
        parts: list[tuple[np.ndarray, ...]] = []
        cut = 0
        for rows in _split_rows(checked, pairs, QUESTIONS_AT_ONCE):
            asked, shortened = self._shorten(checked[rows], question_length)
            read = (pairs or [])[rows]
            cut += shortened
            backend.enable_truncation(max_length, stride=stride, strategy="only_second")
            windows = [
                (question, window)
                for question, first in enumerate(self._encode(list(zip(asked, read, strict=True))), rows.start)
                for window in (first, *first.overflowing)
            ]
            parts.append(
                (
                    np.concatenate([np.array(window.ids, np.int32) for _, window in windows]),
                    np.concatenate([_find_segments(window.type_ids, window.sequence_ids) for _, window in windows]),
                    np.concatenate([_find_characters(window) for _, window in windows]),
                    np.array([question for question, _ in windows], np.int64),
                    np.array([len(window.ids) for _, window in windows]),
                )
            )
        if not parts:
            return Windows(np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(1, np.int64))
        token_ids, segment_ids, char_offsets, whose, lengths = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        return Windows(token_ids, segment_ids, np.cumsum([0, *lengths]), cut, whose, char_offsets)

    def _encode(self, texts: Sequence[str] | Sequence[tuple[str, str]], **options: Any) -> list[Any]:
        """The encodings of texts, or of pairs.

        Raises:
            EncoderError: the tokenizer fails, as where a regular expression of its file takes too long for a text.
        """
        try:
            return self._fast.backend_tokenizer.encode_batch(texts, **options)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic of Rust is none of Exception
            raise EncoderError(f"the tokenizer of {self._fast.name_or_path} cannot read these texts: {error}") from None

    def _shorten(self, texts: Sequence[str], length: int) -> tuple[list[str], int]:
        """Texts of at most so many tokens, and how many of them were cut. A part of a text may have more tokens than it
        had in the whole, so that one is cut until it fits."""
        self._fast.backend_tokenizer.no_truncation()
        shortened, longer, cut, attempt = list(texts), list(range(len(texts))), 0, 0
        while longer:
            parts = [shortened[place] for place in longer]
            encodings = self._encode(parts, add_special_tokens=False)
            found = [(place, one) for place, one in zip(longer, encodings, strict=True) if len(one.ids) > length]
            for place, one in found:
                end = one.offsets[length - 1][1]
                shortened[place] = shortened[place][: min(end, len(shortened[place]) - attempt)]
            longer, cut, attempt = [place for place, _ in found], cut or len(found), attempt + 1
        return shortened, cut


def choose_windows(max_length: int, stride: int | None = None, question_length: int | None = None) -> tuple[int, int]:
    """Stride and question's tokens as given, or the usual 128 and 64, less where windows are short.

    Source: Devlin et al., 2018, arXiv 1810.04805, for windows of 384 tokens.
    """
    question_length = min(64, max_length // 4) if question_length is None else question_length
    return min(128, (max_length - question_length) * 2 // 5) if stride is None else stride, question_length


def _check_special_tokens(folder: Path, fast: Any) -> None:
    """Raises EncoderError where vocab.txt lacks a special token: transformers would give it a row of no token."""
    if (folder / "tokenizer.json").is_file() or not (folder / "vocab.txt").is_file():
        return
    known = set((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    missing = [
        token for token in (fast.pad_token, fast.unk_token, fast.cls_token, fast.sep_token) if token not in known
    ]
    if missing:
        raise EncoderError(f"{folder / 'vocab.txt'} lacks the special token {missing[0]!r}; copy the whole file.")


def _check_growth(folder: Path, fast: Any) -> None:
    """Raises EncoderError where the normalizer makes a long text of each letter, and so fills the memory."""
    growth, parts = 1, [_read_normalizer(fast)]
    while parts:
        part = parts.pop() or {}
        parts += part.get("normalizers", [])
        pattern = part.get("pattern") or {}
        anywhere = "Regex" in pattern or pattern.get("String") == ""  # which may stand between any two letters
        growth *= max(len(part.get("content") or part.get("prepend") or "") + anywhere, 1)
    if growth > MOST_GROWTH:
        raise EncoderError(f"the tokenizer of {folder} makes {growth} letters of one, {MOST_GROWTH} at most are read.")


def _read_normalizer(fast: Any) -> dict[str, Any] | None:
    normalizer = fast.backend_tokenizer.normalizer
    return None if normalizer is None else json.loads(normalizer.__getstate__())


def _check_texts(texts: Sequence[str], text_pairs: Sequence[str] | None) -> tuple[Sequence[str], Sequence[str] | None]:
    texts = list_texts(texts, "texts", EncoderError)
    pairs = None if text_pairs is None else list_texts(text_pairs, "text_pairs", EncoderError)
    if pairs is not None and len(pairs) != len(texts):
        raise EncoderError(f"`text_pairs` has {len(pairs)} texts, `texts` {len(texts)}: they go together.")
    return texts, pairs


def _split_rows(texts: Sequence[str], pairs: Sequence[str] | None, number: int) -> Iterator[slice]:
    """Neighbouring rows to tokenize at once: at most `number`, of at most CHARACTERS_AT_ONCE unless it is one row."""
    start, characters = 0, 0
    for row, sides in enumerate(zip(texts) if pairs is None else zip(texts, pairs, strict=True)):
        size = sum(map(len, sides))
        if row > start and (row - start == number or characters + size > CHARACTERS_AT_ONCE):
            yield slice(start, row)
            start, characters = row, 0
        characters += size
    if start < len(texts):
        yield slice(start, len(texts))


def _cut_longest(encoding: Any, max_length: int, pair: bool) -> tuple[np.ndarray, np.ndarray]:
    """Token and segment ids of a text or a pair. What is longer than `max_length` loses tokens at the end, of a pair
    the longer text first, as by "longest_first" of the tokenizers package."""
    token_ids = np.asarray(encoding.ids, np.int32)
    if len(token_ids) <= max_length:
        return token_ids, _find_segments(encoding.type_ids, encoding.sequence_ids if pair else ())
    sides = np.array([2 if side is None else side for side in encoding.sequence_ids])  # 2: of a special token
    first, second, special = np.bincount(sides, minlength=3)
    room = max_length - special
    shorter = min(first, second, room // 2)
    kept = (room - shorter, shorter) if first > second else (shorter, room - shorter)
    chosen = np.concatenate([np.flatnonzero(sides == 2), *(np.flatnonzero(sides == i)[: kept[i]] for i in (0, 1))])
    chosen.sort()
    segment_ids = _find_segments(np.array(encoding.type_ids)[chosen], sides[chosen].tolist() if pair else ())
    return token_ids[chosen], segment_ids


def _find_characters(encoding) -> np.ndarray:
    """int32, (tokens, 2): where in the second text each token begins and ends; −1 twice outside it."""
    inside = np.array([side == 1 for side in encoding.sequence_ids])
    return np.where(inside[:, None], np.array(encoding.offsets, np.int32), np.int32(-1))


def _find_segments(type_ids: Sequence[int] | np.ndarray, sides: Sequence[int | None]) -> np.ndarray:
    """uint8, (tokens,): 1 from the second text of a pair on; some tokenizers give 0 for all."""
    segments = np.asarray(type_ids, np.uint8)
    if 1 in sides and not segments.any():
        segments[sides.index(1) :] = 1
    return segments
