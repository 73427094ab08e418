"""Scores: pure functions on arrays."""

from .glue import glue_metrics

__all__ = ["glue_metrics"]
