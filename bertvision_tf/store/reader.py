"""Reads a store: rows are mapped into memory, so an epoch costs no copy that a batch does not need.

Over 300 lines, since all that is asked of a store is one class.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StoreError
from ..packed import ByteNames, list_short
from .blocks import Blocks
from .check import Remembered, ShardCheck, StoreCheck, read_check, verify_shard
from .cloud import Place
from .codecs import get_codec
from .schema import Manifest, ShardEntry
from .shard import MAPPED, read_shard

if TYPE_CHECKING:
    import tensorflow as tf

WHOLE = ""  # beside them: all bytes of the shard
OPEN_SHARDS = 256  # mapped at a time: a process may have 1024 open files, and a map keeps its file open


@dataclasses.dataclass(frozen=True)
class EncodedBatch:
    """Some examples as they are stored, padded on the right with zero bytes.

    Attributes:
        states: storage type, (batch, states, tokens, width).
        token_ids, segment_ids, padding_mask: int32, (batch, tokens).
    """

    states: np.ndarray
    token_ids: np.ndarray
    segment_ids: np.ndarray
    padding_mask: np.ndarray


class Store:
    """The hidden states of one split of a task. Indices are places in the task's order.

    With a manifest that is unfinished it has the examples of the shards that are there, in the task's order.

    It can be pickled, so that processes which are spawned can read it; the files must be there for them.

    Attributes:
        spec: what the states are of.
        labels: int32 or float32, (examples,), or (examples, classes); of windows int32, (windows, 2), the first and
            the last token of the answer, 0 twice where there is none.
        ids: one string for each example; of windows that of the question.
        lengths: int32, (examples,), stored rows of each.
        questions: int64, (windows,), the place of each window's question among the task's; None without windows.
    """

    kept = True  # its states are somewhere

    def __init__(self, path: Place, manifest: Manifest, check: str | None = None):
        self.path, self.manifest, self.spec = path, manifest, manifest.spec
        self._chosen: np.ndarray | None = None  # places of the stored states that this view has; all with None
        self.codec = get_codec(self.spec.codec)
        self._row_bytes = self.spec.row_bytes  # of a view too
        self._how = read_check(check)
        self._folder = self._find_folder()
        self._checks = self._begin_checks()
        shards = [self._read_shard(entry) for entry in manifest.shards]
        self._places = [{name: shard.pop(name) for name in MAPPED if name in shard} for shard in shards]
        self._map = self._remember_maps()
        index = _concatenate(shards, "example_index", np.int64)
        count = sum(entry.examples for entry in manifest.shards) if self.spec.windowed else self.spec.examples
        known = np.unique(index)  # of which no memory is taken that the files do not have
        if len(known) != len(index) or (manifest.complete and not (len(known) == count and _counts_up(known))):
            raise StoreError(f"the shards of {path} do not hold each of its {count} examples once.")
        place = np.argsort(index)
        self._index = None if manifest.complete else index[place]  # the task's rows, or windows, that are there
        self.questions: np.ndarray | None = None
        if self.spec.windowed:
            self.questions = _concatenate(shards, "questions", np.int64)[place]
            found = np.unique(self.questions)
            if manifest.complete and not (len(found) == self.spec.examples and _counts_up(found)):
                raise StoreError(f"the shards of {path} do not hold each of its {self.spec.examples} questions.")
        self.lengths = _concatenate(shards, "lengths", np.int32)[place]
        self.labels = _concatenate(shards, "labels", np.int32)[place]
        self.ids: Sequence[str] = list_short(ByteNames(_concatenate(shards, "ids", "S1")[place]))
        self._shard = np.repeat(np.arange(len(shards)), [len(shard["lengths"]) for shard in shards])[place]
        starts = [np.cumsum(shard["lengths"]) - shard["lengths"] for shard in shards]
        self._start = np.concatenate([np.zeros(0, np.int64), *starts])[place]

    def _find_folder(self) -> Path:
        """Where the files of shards lie."""
        assert isinstance(self.path, Path)
        return self.path.absolute()  # found from another working folder too

    def _build_check(self) -> StoreCheck:
        """How what is read of shards is compared with their checksums."""
        return StoreCheck(
            self._how, Remembered(self._folder, len(self.manifest.shards)) if self._how == "once" else None
        )

    def _begin_checks(self) -> list[ShardCheck]:
        """Compares what stands before the states of all shards."""
        check = self._build_check()

        def begin(entry: ShardEntry) -> ShardCheck:
            file, own = self.path / entry.name, self._folder / entry.name
            found = own.stat().st_size if own.is_file() else None
            if found != entry.bytes:
                state = "is missing" if found is None else f"has {found} bytes, the manifest says {entry.bytes}"
                raise StoreError(f"{file} {state}: `bertvision repair {self.path}` makes it again.")
            return check.begin(file, own, entry, Blocks.of(entry, self._row_bytes))

        with ThreadPoolExecutor() as pool:
            return list(pool.map(begin, self.manifest.shards))

    def _remember_maps(self) -> Callable[[int], dict[str, np.ndarray]]:
        return functools.lru_cache(OPEN_SHARDS)(self._map_shard)

    def __getstate__(self) -> dict[str, Any]:
        """All but the maps, and what is compared: another process makes its own, and compares anew."""
        return {name: value for name, value in vars(self).items() if name not in ("_map", "_checks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map = self._remember_maps()
        self._checks = self._begin_checks()

    def __copy__(self) -> Store:
        """The same maps and connections, for a view."""
        view = object.__new__(type(self))
        vars(view).update(vars(self))
        return view

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """hidden_states float32 (num_hidden_states, tokens, hidden_dim), token_ids, segment_ids, label, id; of a
        window also question and char_offsets, and the label is {"start", "end"}."""
        if isinstance(index, (bool, np.bool_)) or not hasattr(index, "__index__"):
            raise TypeError(f"a store is read example by example, by whole numbers; got {index!r}.")
        index = range(len(self))[index]  # IndexError past the end, negative from the end
        batch = self.gather([index])
        found = {
            "hidden_states": self.decode(batch.states)[0],
            "token_ids": batch.token_ids[0],
            "segment_ids": batch.segment_ids[0],
            "label": self.labels[index],
            "id": self.ids[index],
        }
        if self.questions is not None:
            start, end = self.labels[index].tolist()
            found |= {"label": {"start": start, "end": end}, "question": int(self.questions[index])}
            found["char_offsets"] = self.read_char_offsets([index])
        return found

    def find_images(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The places of a task's rows in the store: the rows themselves, or the windows of these questions.

        Raises:
            StoreError: the store is unfinished, and lacks some of the rows, or perhaps windows of the questions.
        """
        if self.questions is not None:
            if self._index is not None:
                raise StoreError(f"{self.path} is unfinished: its questions may lack windows.")
            return np.flatnonzero(np.isin(self.questions, rows))
        rows = np.asarray(rows)
        if self._index is None:
            return rows
        missing = ~np.isin(rows, self._index)
        if missing.any():
            raise StoreError(f"{self.path} is unfinished and lacks {missing.sum()} of {len(rows)} rows.")
        return np.searchsorted(self._index, rows)

    def read_char_offsets(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Of windows, back to back: int32, (rows, 2), the characters of the context where each token begins and ends;
        −1 twice for the question and special tokens."""
        if self.questions is None:
            raise StoreError(f"{self.path} holds no windows of contexts: its tokens have no characters.")
        parts = []
        for index in indices:
            rows = slice(self._start[index], self._start[index] + self.lengths[index])
            parts.append(self._map(int(self._shard[index]))["char_offsets"][rows])
        return np.concatenate([np.zeros((0, 2), np.int32), *parts])

    @property
    def bytes(self) -> int:
        """Of all shards."""
        return sum(entry.bytes for entry in self.manifest.shards)

    @property
    def rows(self) -> int:
        """Stored tokens."""
        return sum(entry.rows for entry in self.manifest.shards)

    @property
    def num_hidden_states(self) -> int:
        return self.spec.num_hidden_states

    def select(self, states: Sequence[int]) -> Store:
        """The same store with only some of its states, for whatever reads its images; nothing is copied.

        Args:
            states: places on the image's layer axis.
        """
        places = np.asarray(states)
        if self.spec.pooler:
            raise StoreError("a store with the pooler's output has states that are no layers: it cannot be cut.")
        layers = np.array(self.spec.layers)[places]
        view = copy.copy(self)
        view.spec = dataclasses.replace(self.spec, layers=tuple(layers.tolist()))
        view.manifest = dataclasses.replace(
            self.manifest, spec=view.spec, calibration=self.manifest.calibration.select(places)
        )
        view._chosen = places if self._chosen is None else self._chosen[places]
        return view

    def gather(self, indices: Sequence[int] | np.ndarray, states: Sequence[int] | None = None) -> EncodedBatch:
        """Copies examples out of the maps, as they are stored.

        Args:
            indices: places in the task's order.
            states: which of the stored states, by their place; all by default.
        """
        indices = np.asarray(indices)
        count = self.num_hidden_states if states is None else len(states)
        chosen = self._chosen
        if states is not None:
            chosen = np.asarray(states) if chosen is None else chosen[np.asarray(states)]
        lengths = self.lengths[indices]
        shape = (len(indices), int(lengths.max(initial=1)))
        width = self.codec.width(self.spec.hidden_dim)
        encoded = np.zeros((shape[0], count, shape[1], width), self.codec.storage)
        token_ids, segment_ids = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        everything = self._read_states(indices)
        for place, (index, length, stored) in enumerate(zip(indices, lengths, everything, strict=True)):
            maps = self._map(int(self._shard[index]))
            rows = slice(self._start[index], self._start[index] + length)
            if chosen is not None:
                stored = stored[:, chosen]
            encoded[place, :, :length] = stored.transpose(1, 0, 2)
            token_ids[place, :length] = maps["token_ids"][rows]
            segment_ids[place, :length] = maps["segment_ids"][rows]
        mask = (np.arange(shape[1]) < lengths[:, None]).astype(np.int32)
        return EncodedBatch(encoded, token_ids, segment_ids, mask)

    def _read_states(self, indices: np.ndarray) -> Iterable[np.ndarray]:
        """Of each example its rows as they are stored: (rows, states, width)."""
        for index in indices:
            number, first = int(self._shard[index]), int(self._start[index])
            rows, maps = slice(first, first + int(self.lengths[index])), self._map(number)
            check = self._checks[number]
            if not check.passed:
                start = check.blocks.start
                check.compare_states(maps[WHOLE], *(start + row * self._row_bytes for row in (rows.start, rows.stop)))
            yield maps["hidden_states"][rows]

    def decode(self, encoded: np.ndarray, states: Sequence[int] | None = None) -> np.ndarray:
        """(batch, states, tokens, width) as stored → float32 (batch, states, tokens, hidden_dim)."""
        calibration = self.manifest.calibration
        if states is not None:
            calibration = calibration.select(np.asarray(states))
        rows = self.codec.decode(np.moveaxis(encoded, 1, 2), calibration)  # (batch, tokens, states, hidden)
        return np.moveaxis(rows, 2, 1)

    def as_dataset(
        self, batch_size: int = 32, shuffle: bool = False, seed: int | None = None, **options
    ) -> tf.data.Dataset:
        """The store as a tf.data.Dataset of images; see `bertvision_tf.images.images_from_store`."""
        from ..images import images_from_store

        return images_from_store(self, batch_size=batch_size, shuffle=shuffle, seed=seed, **options)

    def verify(self) -> None:
        """Reads every byte and compares checksums.

        Raises:
            StoreError: naming the first shard that is damaged.
        """
        for entry in self.manifest.shards:
            verify_shard(self._find_source(entry), entry, Blocks.of(entry, self._row_bytes))

    def _read_shard(self, entry: ShardEntry) -> dict[str, Any]:
        """The small datasets as arrays; of the mapped ones their (offset, type, shape) in the file."""
        return read_shard(self.path / entry.name, self._folder / entry.name, entry, self.spec)

    def _map_shard(self, number: int) -> dict[str, np.ndarray]:
        return self._divide(number, np.memmap(self._folder / self.manifest.shards[number].name, np.uint8, "r"))

    def _divide(self, number: int, whole: np.ndarray) -> dict[str, np.ndarray]:
        """The mapped datasets of a shard, and under WHOLE all its bytes."""
        places = self._places[number]
        maps = {name: np.ndarray(shape, dtype, whole, start) for name, (start, dtype, shape) in places.items()}
        return maps | {WHOLE: whole}

    def _find_source(self, entry: ShardEntry) -> Place:
        """The shard itself."""
        return self._folder / entry.name


def _counts_up(found: np.ndarray) -> bool:
    """Whether sorted numbers are 0, 1, 2 and so on."""
    return np.array_equal(found, np.arange(len(found)))


def _concatenate(shards: list[dict[str, np.ndarray]], name: str, empty_type: Any) -> np.ndarray:
    parts = [shard[name] for shard in shards]
    if len({part.shape[1:] for part in parts}) > 1:
        raise StoreError(f"the shards of a store differ in the shape of their {name}: extract it again.")
    return np.concatenate(parts) if parts else np.zeros(0, empty_type)
