"""What the fast tokenizer makes of every code point, asked of it once, as tables that a graph looks up."""

import dataclasses
import functools
import unicodedata

import numpy as np
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

CODE_POINTS = 0x110000
PAGE = 256  # code points
BLOCK = 4096

# A cell: a character in its low 21 bits, flags, and in the bits from ORDER_SHIFT on its place among combining marks.
CHARACTER = (1 << 21) - 1
BREAK_BEFORE, BREAK_AFTER, ABSENT = 1 << 21, 1 << 22, 1 << 23  # words end here; it is in none
ORDER_SHIFT = 24
REMOVED = 63  # of an order: gone before marks are sorted, so that the marks on its two sides are neighbours

_SEPARATOR = "\ua000"  # a letter that nothing changes and nothing becomes: it keeps characters apart
_HIGHEST = "\u0345"  # the mark of the highest combining class


@dataclasses.dataclass(frozen=True)
class Characters:
    """The cells that each code point becomes.

    With value = pages[page_numbers[c // 256], c % 256], a code point c becomes the one cell value ^ c where
    value ≥ 0, else the cells pool[pool_splits[-1 - value] : pool_splits[-value]].

    Attributes:
        page_numbers: int32, (4352,).
        pages: int32, (pages, 256).
        pool: int32, (cells,).
        pool_splits: int32, (sequences + 1,).
        sorts_marks: whether marks that stay in words may change places (canonical order).
    """

    page_numbers: np.ndarray
    pages: np.ndarray
    pool: np.ndarray
    pool_splits: np.ndarray
    sorts_marks: bool


@functools.cache
def read_characters(handle_chinese_chars: bool, strip_accents: bool, lowercase: bool) -> Characters:
    """Asks the fast tokenizer's own normalizer and splitter about every code point (some seconds).

    Args:
        handle_chinese_chars, strip_accents, lowercase: `BertNormalizer`'s; its `clean_text` is on.
    """
    cleaned = _ask(BertNormalizer(True, handle_chinese_chars, False, False))
    folded = _ask(BertNormalizer(False, False, strip_accents, lowercase))
    decomposed, orders = (_ask(NFD()), _find_orders()) if strip_accents else ({}, {})
    breaks = _find_breaks()

    def describe(point: str) -> list[int]:
        clean = cleaned.get(point, point)
        if not clean:
            return [ABSENT | REMOVED << ORDER_SHIFT | ord(point)]
        base = clean.strip(" ") or " "
        cells: list[int] = []
        for part in decomposed.get(base, base):
            order, ends = orders.get(part, 0) << ORDER_SHIFT, folded.get(part, part)
            cells.extend(breaks.get(end, 0) | order | ord(end) for end in ends)
            if not ends:
                cells.append(ABSENT | order | ord(part))
        if len(clean) == 3:  # a character of Chinese, between two spaces
            cells[0] |= BREAK_BEFORE
            cells[-1] |= BREAK_AFTER
        return cells

    values = np.zeros(CODE_POINTS, np.int32)  # a character of a word, itself
    sequences: dict[tuple[int, ...], int] = {}
    for point in sorted({*cleaned, *folded, *breaks, *orders}):
        cells = describe(point)
        if len(cells) == 1:
            values[ord(point)] = cells[0] ^ ord(point)
        else:
            values[ord(point)] = -1 - sequences.setdefault(tuple(cells), len(sequences))
    pages, page_numbers = np.unique(values.reshape(-1, PAGE), axis=0, return_inverse=True)
    return Characters(
        page_numbers=page_numbers.reshape(-1).astype(np.int32),
        pages=pages,
        pool=np.array([cell for cells in sequences for cell in cells] or [0], np.int32),
        pool_splits=np.cumsum([0, *map(len, sequences)], dtype=np.int32),
        sorts_marks=bool(orders),
    )


@functools.cache
def _list_blocks() -> list[str]:
    """All characters, in blocks: short texts are asked about faster than one long."""
    kept = [chr(point) for point in range(CODE_POINTS) if not 0xD800 <= point < 0xE000 and chr(point) != _SEPARATOR]
    return ["".join(kept[start : start + BLOCK]) for start in range(0, len(kept), BLOCK)]


def _ask(normalizer) -> dict[str, str]:
    """Each character that a normalizer changes, and what it makes of it."""
    changes = {}
    for block in _list_blocks():
        asked = _SEPARATOR.join(block)
        answer = normalizer.normalize_str(asked)
        if answer != asked:
            answers = zip(block, answer.split(_SEPARATOR), strict=True)
            changes.update({point: made for point, made in answers if point != made})
    return changes


@functools.cache
def _find_breaks() -> dict[str, int]:
    """The flags of the characters at which words are split: white space goes, punctuation stands alone."""
    splitter, breaks = BertPreTokenizer(), {}
    for block in _list_blocks():
        text = _SEPARATOR + _SEPARATOR.join(block) + _SEPARATOR
        covered = np.zeros(len(text), bool)
        for _, (begin, end) in splitter.pre_tokenize_str(text):
            covered[begin:end] = True
            if end - begin == 1 and begin % 2:
                breaks[text[begin]] = BREAK_BEFORE | BREAK_AFTER
        breaks |= {text[place]: BREAK_BEFORE | ABSENT for place in np.flatnonzero(~covered)}
    return breaks


def _find_orders() -> dict[str, int]:
    """The marks that canonical order moves, and the rank of their combining class, from 1.

    The fast tokenizer's tables are of an older Unicode than Python's, so it is asked whether it moves a mark; its class
    is Python's, since a class once given stays.
    """
    marks = [point for block in _list_blocks() for point in block if unicodedata.combining(point)]
    moved = [mark for mark in marks if NFD().normalize_str(_HIGHEST + mark)[0] != _HIGHEST] + [_HIGHEST]
    classes = sorted({unicodedata.combining(mark) for mark in moved})
    return {mark: 1 + classes.index(unicodedata.combining(mark)) for mark in moved}
