"""Heads: a config, the presets by name, and the builder, which brings Keras only when it is asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from .config import HeadConfig
from .presets import PRESETS, get_preset, list_presets

if TYPE_CHECKING:
    from .adapt import adapt_head
    from .build import build_head
    from .split import split_head

__all__ = ["PRESETS", "HeadConfig", "adapt_head", "build_head", "get_preset", "list_presets", "split_head"]


def __getattr__(name: str) -> Any:
    if name in ("adapt_head", "build_head", "split_head"):
        return getattr(importlib.import_module(f".{name.removesuffix('_head')}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
