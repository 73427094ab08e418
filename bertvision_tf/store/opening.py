"""Opens a store, wherever it lies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..errors import StoreError
from .cache import CACHE_BYTES, ShardCache
from .check import read_check
from .cloud import Place, read_place
from .cloud_reader import CloudStore
from .reader import Store
from .schema import Manifest, StoreSpec, read_manifest
from .writer import find_size, read_entry


def open_store(
    path: str | Place,
    wanted: StoreSpec | None = None,
    *,
    cache: str | Path | None = None,
    cache_bytes: int = CACHE_BYTES,
    check: str | None = None,
    unfinished: bool = False,
) -> Store:
    """Opens a store.

    Args:
        path: its folder, or its URL in object storage: s3://, gs:// or az://.
        wanted: what it has to be; anything where None.
        cache: folder of this machine for shards of object storage, which are then read whole and once. Without one a
            batch reads its rows alone, each time.
        cache_bytes: that the cache has at most.
        check: when bytes are compared with their checksums, before they are first used: "always", in each process;
            "once", unless a process of this user has and the file has not changed since; or "never". Default: as the
            run says that opens it, else once.
        unfinished: whether one that is being written is opened too, with the examples of the shards that are there so
            far, in the task's order: `store.ids` says which.

    Raises:
        StoreError: it is missing, unfinished, damaged, of another format version, or not what is wanted.

    Example:
        >>> store = open_store("states/cola")
        >>> store[7]["hidden_states"].shape      # (num_hidden_states, tokens, hidden_dim)
        (7, 11, 384)
    """
    path, check = find_place(path, cache, cache_bytes), read_check(check)
    manifest = read_manifest(path)
    if wanted is not None:
        manifest.spec.check_same(wanted, path)
    if not manifest.complete and not unfinished:
        remedy = "run the same extraction again, it goes on from there"
        if next(path.glob("shard-*.json"), None) is not None:  # the entry of a shard that a part of it wrote
            remedy = f"`bertvision merge {path}` says which parts are missing, and merges them"
        raise StoreError(f"{path} is unfinished ({len(manifest.shards)} of {manifest.num_shards} shards): {remedy}.")
    return load_store(path, manifest if manifest.complete else _add_parts(path, manifest), check)


def find_place(path: str | Place, cache: str | Path | None, cache_bytes: int = CACHE_BYTES) -> Place:
    """Where a store lies, and which cache its shards are read through, as `open_store` is told."""
    return read_place(path, None if cache is None else ShardCache(cache, cache_bytes))


def _add_parts(path: Place, manifest: Manifest) -> Manifest:
    """The manifest with the shards that several processes have written and that are not entered yet."""
    entries = list(manifest.shards)
    for name in sorted(file.stem for file in path.glob("shard-*.json")):
        shard = path / f"{name}.h5"
        try:
            entry, size = read_entry(shard, manifest.calibration), find_size(shard)
        except (FileNotFoundError, StoreError) as error:
            if not (path / f"{name}.json").is_file():  # it has just been entered
                continue
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{shard} is missing: delete {name}.json, and run their part again.") from None
        if (entry.name, entry.bytes) != (shard.name, size):
            raise StoreError(
                f"{shard} is not what its entry says: delete it and {name}.json, and run their part again."
            )
        if entry.name not in {one.name for one in entries}:
            entries.append(entry)
    return dataclasses.replace(manifest, shards=tuple(entries))


def load_store(path: Place, manifest: Manifest, check: str | None = None) -> Store:
    """The store of a manifest; `check` as `open_store` takes it."""
    return Store(path, manifest, check) if isinstance(path, Path) else CloudStore(path, manifest, check)
