"""Encoder → store: every hidden state of a split, once; and what that would cost."""

from .estimate import Estimate, estimate
from .extract import extract, plan_spec

__all__ = ["Estimate", "estimate", "extract", "plan_spec"]
