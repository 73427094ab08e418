"""The rows of one split of a task, in the order of their file."""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import TaskError
from ..packed import NumberedNames, Texts, pick
from .equal_rows import number_equal
from .files import HALF, is_whole


class Answer(NamedTuple):
    """An answer to a question.

    Attributes:
        text: as it stands in the context.
        start: the character of the context at which it begins; −1 if it is not known to stand there.
    """

    text: str
    start: int


@dataclasses.dataclass(frozen=True)
class Examples:
    """Texts with their labels.

    Attributes:
        task: the task's name.
        split: "train", "dev" or another name.
        ids: one string for each row, unique.
        texts: the first, or only, text of each row.
        text_pairs: the second text of each row, or None.
        labels: int32 class indices (−1 where there is none), float32 scores (nan), or int32 (rows, classes) of 0 and
            1 where several classes may hold.
        columns: further columns by name (where a sentence comes from, say), for reports.
        skipped: rows of the file that were left out, since a field was missing, or an answer not in its context.
        groups: integer, (rows,), equal for rows that must stay together when train is split; None if there are none.
        repeats: integer, (rows,), equal for rows whose texts are equal but for case and blanks, which no split of the
            library's parts; None where all texts differ, and for the official tasks, whose splits are what others
            report.
        answers: of each row, a question on a context, its answers; none where the context has none. None for rows
            that are no such questions.
    """

    task: str
    split: str
    ids: Sequence[str]
    texts: Sequence[str]
    text_pairs: Sequence[str] | None
    labels: np.ndarray
    columns: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    groups: np.ndarray | None = None
    skipped: int = 0
    answers: Sequence[Sequence[Answer]] | None = None
    repeats: np.ndarray | None = None

    def __post_init__(self):
        if not len(self.ids) == len(self.texts) == len(self.labels):
            raise TaskError(
                f"{len(self.ids)} ids, {len(self.texts)} texts and {len(self.labels)} labels: one of each a row."
            )
        if self.text_pairs is not None and len(self.text_pairs) != len(self.texts):
            raise TaskError(f"{len(self.texts)} texts and {len(self.text_pairs)} text pairs: one of each a row.")
        if self.answers is not None and (self.text_pairs is None or len(self.answers) != len(self.texts)):
            raise TaskError(f"{len(self.texts)} questions need a context and answers each.")
        columns = (self.ids, self.texts, self.text_pairs or (), *self.columns.values())
        texts = [column for column in columns if not isinstance(column, (Texts, NumberedNames))]  # which are whole
        for row, text in (*itertools.chain(*map(enumerate, texts)), *self._walk_answers()):
            if not is_whole(text):
                raise TaskError(f"{self.task} {self.split}, row {row}: {text[:40]!r} {HALF}.")
        if not self._has_unique_ids():
            raise TaskError(f"ids of {self.task} {self.split} are not unique.")

    def _has_unique_ids(self) -> bool:
        if isinstance(self.ids, NumberedNames):
            return self.ids.unique
        if isinstance(self.ids, Texts):
            return number_equal(self.ids, self.ids.__getitem__) is None
        return len(set(self.ids)) == len(self.ids)

    def _walk_answers(self) -> Iterator[tuple[int, str]]:
        for row, answers in enumerate(self.answers or ()):
            for answer in answers:
                yield row, answer.text

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over ids, texts, labels and answers."""
        packed = isinstance(self.texts, Texts) and isinstance(self.ids, (Texts, NumberedNames))
        digest = self._packed_digest.copy() if packed else self._digest_texts()  # a list may be changed
        digest.update(self.labels.tobytes())
        if self.answers is not None:
            digest.update(json.dumps([list(answers) for answers in self.answers]).encode())
        return digest.hexdigest()[:32]

    def _digest_texts(self) -> Any:
        digest = hashlib.sha256(f"{len(self)} {self.labels.dtype}".encode())
        for column in (self.ids, self.texts, self.text_pairs or ()):
            for text in column:
                data = text.encode()
                digest.update(len(data).to_bytes(8, "little") + data)
        return digest

    @functools.cached_property
    def _packed_digest(self) -> Any:
        return self._digest_texts()

    @property
    def fold_groups(self) -> np.ndarray | None:
        """Integer, (rows,), equal for rows that are in one fold: those kept together, or of equal texts."""
        return self.repeats if self.kept_together is None else self.kept_together

    @property
    def kept_together(self) -> np.ndarray | None:
        """Groups of rows that must not be parted; contexts of questions, where these are all of one article."""
        if self.groups is None or self.text_pairs is None or len(np.unique(self.groups)) > 1:
            return self.groups
        return np.unique(np.asarray(self.text_pairs, object), return_inverse=True)[1]

    def select(self, indices: Sequence[int] | np.ndarray) -> "Examples":
        """The rows at `indices`, in that order."""

        return dataclasses.replace(
            self,
            ids=pick(self.ids, indices),
            texts=pick(self.texts, indices),
            text_pairs=None if self.text_pairs is None else pick(self.text_pairs, indices),
            labels=self.labels[np.asarray(indices, np.int64)],
            columns={name: pick(column, indices) for name, column in self.columns.items()},
            groups=None if self.groups is None else self.groups[np.asarray(indices, np.int64)],
            repeats=None if self.repeats is None else self.repeats[np.asarray(indices, np.int64)],
            answers=None if self.answers is None else pick(self.answers, indices),
        )

    def take(self, count: int | None) -> "Examples":
        """The first `count` rows; all of them with None."""
        return self if count is None or count >= len(self) else self.select(range(count))
