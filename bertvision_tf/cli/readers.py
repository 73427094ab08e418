"""How a word of the command line is read where cyclopts alone would not know."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import Parameter


class List:
    """The type of an option that is read here, as cyclopts takes it. No value is of it: where pydantic is loaded too,
    cyclopts would refuse a value of another type than an option's, and does not know this one."""


def read_numbers(text: str, kind: Callable[[str], Any], least: float) -> list[Any]:
    """Numbers with commas between, in rising order.

    Raises:
        ValueError: they are none, less than `least`, or one stands there twice.
    """
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not min(numbers) >= least or len(set(numbers)) != len(numbers):
        raise ValueError(f"it needs numbers from {least} on with commas between, each once; got {text!r}")
    return sorted(numbers)


def read_layers(text: str) -> list[int] | str | None:
    """Indices with commas between; None for all."""
    if text in ("all", "auto"):
        return text if text == "auto" else None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"it needs numbers with commas between, all or auto; got {text!r}") from None


def read_seeds(text: str) -> int | list[int]:
    """How many, or the seeds themselves with commas between."""
    numbers = read_numbers(text, int, 0)
    if numbers == [0] and "," not in text:
        raise ValueError("it needs 1 or more")
    return numbers if "," in text else numbers[0]


def read_names(text: str) -> list[str]:
    """Names with commas between."""
    return text.split(",") if text else []


READERS: dict[str, Callable[[str], Any]] = {
    "layers": read_layers,
    "seeds": read_seeds,
    "baseline_parts": read_names,
    "baseline_epochs": functools.partial(read_numbers, kind=float, least=0),
    "baseline_rates": functools.partial(read_numbers, kind=float, least=0),
}
SEVERAL: dict[str, Callable[[str], Any]] = {  # of options that a grid takes several values of
    "fine_tune_epochs": functools.partial(read_numbers, kind=float, least=0),
    "train_share": functools.partial(read_numbers, kind=float, least=0),
    "shots": functools.partial(read_numbers, kind=int, least=1),
}


def reading(read: Callable[[str], Any], **more: Any) -> Parameter:
    """An option whose one word is read by a function."""
    more = {"show_default": _show} | more
    return Parameter(converter=lambda _, tokens: read(tokens[0].value), n_tokens=1, **more)


def _show(value: Any) -> str:
    """A default as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
