"""Where a fine-tuning stands, in a file that a later one goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import RunError


def write_state(file: Path, values: Sequence[np.ndarray], step: int, seconds: float) -> None:
    """Writes a state, whole or not at all.

    Args:
        file: where.
        values: of the variables of model and optimizer.
        step, seconds: so far.

    Raises:
        RunError: it cannot be written.
    """
    tensors = {f"{place:05}": value for place, value in enumerate(values)}
    told, staging = {"step": str(step), "seconds": repr(seconds)}, file.with_name(f".{file.name}.partial")
    try:
        save_file(tensors, staging, metadata=told | {"sum": _sum(tensors, told)})
        os.replace(staging, file)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{file} cannot be written: {error}.") from None


def read_state(file: Path) -> tuple[list[np.ndarray], int, float] | None:
    """The values of the variables, the step and the seconds of a state; None where there is none.

    Raises:
        RunError: it is damaged.
    """
    try:
        with safe_open(file, framework="numpy") as state:
            told = dict(state.metadata())
            tensors = {name: state.get_tensor(name) for name in state.keys()}  # noqa: SIM118 (it is no mapping)
        known = told.pop("sum", None)  # an earlier version has written none
        if set(told) != {"step", "seconds"} or (known is not None and _sum(tensors, told) != known):
            raise ValueError("it is not what was written")
        return [tensors[name] for name in sorted(tensors)], int(told["step"]), float(told["seconds"])
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{file} cannot be read ({error}): delete it to begin anew.") from None


def _sum(tensors: Mapping[str, np.ndarray], told: Mapping[str, str]) -> str:
    """A checksum of the tensors, and of what is said of them."""
    digest = xxhash.xxh3_128(json.dumps([sorted(tensors), sorted(told.items())]).encode())
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return digest.hexdigest()
