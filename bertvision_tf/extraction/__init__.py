"""Encoder and examples → a store."""

from .extract import extract, plan_spec

__all__ = ["extract", "plan_spec"]
