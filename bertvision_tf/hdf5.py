"""HDF5 files from anywhere: what is read of them lies in the file itself, in one piece, and takes no more than it has.

HDF5 can link to other files, keep a dataset's bytes in them, or pack a terabyte of zeros into a kilobyte.
"""

from __future__ import annotations

import h5py
import numpy as np


def find_dataset(content: h5py.Group, name: str, size: int) -> h5py.Dataset:
    """A dataset whose bytes are all in the file.

    Args:
        content: that holds it.
        name: of one link, no path.
        size: bytes of the file.

    Raises:
        KeyError, ValueError: there is none; or its bytes, or some of them, are elsewhere, or are packed.
    """
    found = _follow(content, name)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{name} is no dataset")
    layout = found.id.get_create_plist().get_layout()
    if layout != h5py.h5d.CONTIGUOUS or found.external or found.dtype.hasobject or found.dtype.fields:
        raise ValueError(f"{name} is not stored as numbers in one piece")
    offset, length = found.id.get_offset(), int(np.prod(found.shape, dtype=object)) * found.dtype.itemsize
    if length and (offset is None or offset + length > size):
        raise ValueError(f"{name} has {length} bytes, which are not in the file")
    return found


def check_datasets(content: h5py.Group, size: int) -> None:
    """Raises ValueError where a dataset in a group, or below it, is none that `find_dataset` gives."""
    groups, seen = [content], set()
    while groups:
        group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:  # a group may hold itself
            continue
        seen.add(address)
        for name in group:
            if isinstance(found := _follow(group, name), h5py.Group):
                groups.append(found)
            else:
                find_dataset(group, name, size)


def _follow(content: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    link = content.get(name, getlink=True)
    if link is None:
        raise KeyError(f"it has no {name}")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name} is a link to another place")
    return content[name]
