"""Checks that settings share."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import RunError

Settings = TypeVar("Settings")


def is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def are_indices(values: Any) -> bool:
    return not isinstance(values, (str, Mapping)) and hasattr(values, "__iter__") and all(map(is_count, values))


def check_count(name: str, value: Any, least: int = 1, required: bool = False) -> None:
    """Raises RunError where a value is no whole number from `least` on, nor None where it may be."""
    if (value is not None or required) and (not is_count(value) or value < least):
        raise RunError(f"`{name}` needs {least} or more, got {value!r}.")


def check_range(name: str, value: Any, above: float | None = None, below: float = math.inf) -> None:
    """Raises RunError where a value is no number from 0 on, or above `above`, and less than `below`."""
    if not is_number(value) or not (value >= 0 if above is None else value > above) or not value < below:
        least = "at least 0" if above is None else f"more than {above:g}"
        most = "" if below == math.inf else f" and less than {below:g}"
        raise RunError(f"`{name}` needs {least}{most}, got {value!r}.")


def build(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings of values by their names.

    Raises:
        RunError: there is no setting of a name.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise RunError(f"{kind.__name__} has no {unknown[0]!r}; known: {', '.join(known)}.")
    return kind(**values)
