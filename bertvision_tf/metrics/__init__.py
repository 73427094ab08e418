"""Scores: pure functions on arrays."""

from .glue import glue_metrics
from .squad import squad_metrics

__all__ = ["glue_metrics", "squad_metrics"]
