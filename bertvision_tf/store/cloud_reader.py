"""Reads a store that lies in object storage."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StoreError
from .blocks import Blocks, name_sums
from .check import StoreCheck
from .cloud import Changed, CloudPath, Place
from .reader import Store
from .schema import Manifest, ShardEntry
from .writer import disk_errors

REQUESTS = 32  # at a time
SOUGHT_AGAIN = 60.0  # seconds after which the cache may have room
NEAR = 2**20  # bytes between two ranges that come in one request


class CloudStore(Store):
    """A store in object storage. What is small of its shards, and their tokens, are copied once; the states of a batch
    are read when they are asked for, or whole shards through the cache, as many as it has room for."""

    path: CloudPath
    batches_ahead = 4  # a request takes long, and many may be under way

    def __init__(self, path: CloudPath, manifest: Manifest, check: str | None = None):
        self._versions: dict[str, str | None] = {}  # of the shards, as they were opened
        self._refused = 0.0  # when the cache had no room for a shard
        super().__init__(path, manifest, check)

    def __getstate__(self) -> dict[str, Any]:
        """All but the copies and the connections: another process makes its own."""
        own = ("_copies", "_folder", "_pool")
        return {name: value for name, value in super().__getstate__().items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._folder = self._find_folder()
        super().__setstate__({})

    def _find_folder(self) -> Path:
        """A folder of files as long as the shards, with what stands before the states; the rest takes no room."""
        self._copies = tempfile.TemporaryDirectory(prefix="bertvision-")
        self._pool = ThreadPoolExecutor(REQUESTS)
        self._run(self._copy_start, self.manifest.shards)
        return Path(self._copies.name)

    def _build_check(self) -> StoreCheck:
        """What comes over the network is compared each time; a shard without checksums of its blocks, where it is kept
        in the cache."""
        return StoreCheck(self._how, None, whole=False)

    def _copy_start(self, entry: ShardEntry) -> None:
        try:
            start, size, version = (self.path / entry.name).read_start(self._find_start(entry))
        except FileNotFoundError:
            raise StoreError(self._tell_missing(entry)) from None
        with disk_errors(Path(self._copies.name)), open(Path(self._copies.name) / entry.name, "wb") as file:
            file.write(start)
            file.truncate(size)
            name = name_sums(self.path / entry.name).name
            content = None if self._how == "never" else (self.path / name).read_if_there()
            if content is not None:  # a store of an earlier version has none
                (Path(self._copies.name) / name).write_bytes(content)
        if self._versions.setdefault(entry.name, version) != version:
            raise StoreError(f"{self.path / entry.name} has changed since it was opened: open the store again.")

    def _tell_missing(self, entry: ShardEntry) -> str:
        return f"{self.path / entry.name} is missing: `bertvision repair {self.path}` makes it again."

    def _find_start(self, entry: ShardEntry) -> int:
        """Bytes of a shard before its states."""
        return Blocks.of(entry, self._row_bytes).start

    def _find_source(self, entry: ShardEntry) -> Place:
        return self.path / entry.name

    def _map_shard(self, number: int) -> dict[str, np.ndarray]:
        """Of a shard that the cache has no room for, all but its states."""
        entry, cache = self.manifest.shards[number], self.path.cache
        whole = None if cache is None else cache.map(self.path / entry.name, entry.bytes, entry.sha256)
        if whole is not None:
            return self._divide(number, whole)
        maps, self._refused = super()._map_shard(number), time.monotonic()
        del maps["hidden_states"]  # of which the copy has none
        return maps

    def _read_states(self, indices: np.ndarray) -> Iterable[np.ndarray]:
        self.path.check_process()
        shards = self._shard[indices]
        numbers = np.unique(shards).tolist()
        if self.path.cache is not None and self._refused and time.monotonic() - self._refused > SOUGHT_AGAIN:
            self._refused = 0.0
            self._map.cache_clear()  # type: ignore[attr-defined]
        maps = dict(zip(numbers, self._run(self._map, numbers), strict=True))
        starts, found = self._start[indices], [np.zeros(0)] * len(indices)
        ends = starts + self.lengths[indices]
        requests = []  # (shard, places in the batch)
        for number, of_shard in maps.items():
            places = np.flatnonzero(shards == number)
            if "hidden_states" in of_shard:
                for place in places.tolist():
                    found[place] = of_shard["hidden_states"][starts[place] : ends[place]]
            else:
                requests += [(number, near) for near in self._join_near(places, starts, ends)]
        read = self._run(
            lambda one: self._read_rows(one[0], int(starts[one[1]].min()), int(ends[one[1]].max())), requests
        )
        for (_, places), rows in zip(requests, read, strict=True):
            first = starts[places].min()
            for place in places.tolist():
                found[place] = rows[starts[place] - first : ends[place] - first]
        return found

    def _run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """What a function gives for each item; all calls have ended when the first error is raised."""
        futures = [self._pool.submit(function, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]

    def _join_near(self, places: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
        """Places of a batch whose rows come in one request each; of no rows there is none."""
        order = places[np.argsort(starts[places], kind="stable")]
        gaps = starts[order][1:] - np.maximum.accumulate(ends[order])[:-1]
        return np.split(order, np.flatnonzero(gaps * self._row_bytes > NEAR) + 1)

    def _read_rows(self, number: int, start: int, end: int) -> np.ndarray:
        """Rows of a shard as they are stored: (rows, states, width)."""
        entry = self.manifest.shards[number]
        file, before, check = self.path / entry.name, self._find_start(entry), self._checks[number]
        _, dtype, shape = self._places[number]["hidden_states"]
        first, last = (before + row * self._row_bytes for row in (start, end))
        blocks = check.blocks.of_states(first, last)
        read, begin, stop = b"", first, last
        if not check.exempt and first < last:
            begin, stop = check.blocks.bounds(blocks[0])[0], check.blocks.bounds(blocks[-1])[1]
        if first < last:
            try:
                read = file.read_range(begin, stop, self._versions[entry.name])
            except FileNotFoundError:
                raise StoreError(self._tell_missing(entry)) from None
            except Changed:
                raise StoreError(f"{file} has changed since it was opened: open the store again.") from None
            if len(read) != stop - begin:
                raise StoreError(f"{file} is shorter than the manifest says: `bertvision repair {self.path}` mends it.")
            check.compare_anew(read, blocks)
        return np.frombuffer(memoryview(read)[first - begin :][: last - first], dtype).reshape(-1, *shape[1:])
