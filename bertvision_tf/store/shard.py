"""Reads what a shard's HDF5 file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from ..errors import StoreError, find_reason
from ..hdf5 import find_dataset
from .blocks import Blocks
from .cloud import Place
from .codecs import get_codec
from .schema import ShardEntry, StoreSpec

MAPPED = ("hidden_states", "token_ids", "segment_ids", "char_offsets")
# What numbers each dataset holds, as NumPy names their kinds.
KINDS = dict.fromkeys(("token_ids", "segment_ids", "char_offsets", "lengths", "example_index", "questions"), "iu")
KINDS |= {"labels": "iuf", "ids": "S"}


def read_shard(shard: Place, file: Path, entry: ShardEntry, spec: StoreSpec) -> dict[str, Any]:
    """The small datasets of a shard as arrays; of those of MAPPED, (offset, type, shape) in the file.

    A dataset has to be in the file itself, in one piece and as it is, so that no other file is read, and no more memory
    is taken than the file has bytes.

    Args:
        shard: as errors name it.
        file: with the bytes that stand before its states.
        entry, spec: what it has to be.

    Raises:
        StoreError: it is not.
    """
    width, storage = get_codec(spec.codec).width(spec.hidden_dim), get_codec(spec.codec).storage
    shapes: dict[str, tuple[int, ...]] = {
        "hidden_states": (entry.rows, spec.num_hidden_states, width),
        "token_ids": (entry.rows,),
        "segment_ids": (entry.rows,),
    }
    small = ["lengths", "example_index", "labels", "ids"]
    if spec.windowed:
        shapes["char_offsets"] = (entry.rows, 2)
        small.append("questions")
    try:
        with h5py.File(file, "r") as content:
            found: dict[str, Any] = {}
            for name in (*shapes, *small):
                dataset, shape = find_dataset(content, name, entry.bytes), shapes.get(name, (entry.examples,))
                own = dataset.shape[:1] if name == "labels" and dataset.ndim == 2 else dataset.shape
                if own != shape:
                    raise ValueError(f"{name} has shape {dataset.shape}, expected {shape}")
                found[name] = (dataset.id.get_offset(), dataset.dtype, shape) if name in shapes else dataset[()]
        for name, kinds in KINDS.items():
            kind = (found[name][1] if name in shapes else found[name].dtype).kind if name in found else kinds
            if kind not in kinds:
                raise ValueError(f"{name} has type {kind}")
        if found["hidden_states"][1] != storage:
            raise ValueError(f"hidden_states has type {found['hidden_states'][1]}")
        if found["hidden_states"][0] != Blocks.of(entry, spec.row_bytes).start:
            raise ValueError("its states are not its end")
        if found["lengths"].sum() != entry.rows or found["lengths"].min() < 0:
            raise ValueError(f"lengths do not make {entry.rows} rows")
        for name in found["ids"]:
            name.decode("utf-8")
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = find_reason(error)
        raise StoreError(f"{shard} is damaged ({reason}): `bertvision repair {shard.parent}` makes it again.") from None
    return found
