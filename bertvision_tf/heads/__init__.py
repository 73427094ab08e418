"""Heads: a config, the presets by name, and the builder, which brings Keras only when it is asked for."""

from typing import TYPE_CHECKING, Any

from .config import HeadConfig
from .presets import PRESETS, get_preset, list_presets

if TYPE_CHECKING:
    from .build import build_head

__all__ = ["PRESETS", "HeadConfig", "build_head", "get_preset", "list_presets"]


def __getattr__(name: str) -> Any:
    if name == "build_head":
        from .build import build_head

        return build_head
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
