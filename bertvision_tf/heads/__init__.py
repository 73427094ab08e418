"""Heads: a config, the presets by name, and the builder, which brings Keras only when it is asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from .config import HeadConfig
from .presets import PRESETS, get_preset, list_presets, read_head

if TYPE_CHECKING:
    from .adapt import adapt_head
    from .build import build_head
    from .describe import HeadSize, describe_head, measure_head
    from .mean import MeanOfLogits, average_heads
    from .split import split_head

__all__ = [
    "PRESETS",
    "HeadConfig",
    "HeadSize",
    "MeanOfLogits",
    "adapt_head",
    "average_heads",
    "build_head",
    "describe_head",
    "get_preset",
    "list_presets",
    "measure_head",
    "read_head",
    "split_head",
]
_MODULES = {
    "HeadSize": "describe",
    "MeanOfLogits": "mean",
    "adapt_head": "adapt",
    "average_heads": "mean",
    "build_head": "build",
    "describe_head": "describe",
    "measure_head": "describe",
    "split_head": "split",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
