"""The command `bertvision VERB`: the only place that prints. A file holds a verb or a close family of verbs."""

from .main import main, run

__all__ = ["main", "run"]
