"""Encoder → store: every hidden state of a split, once; and what that costs."""

from .estimate import Estimate, estimate
from .extract import extract, extract_part
from .find import extract_once, find_store_path
from .live import LiveStore
from .plan import plan_spec
from .repair import repair_store
from .scaling import Rates, Scale, scale

__all__ = [
    "Estimate",
    "LiveStore",
    "Rates",
    "Scale",
    "estimate",
    "extract",
    "extract_once",
    "extract_part",
    "find_store_path",
    "plan_spec",
    "repair_store",
    "scale",
]
