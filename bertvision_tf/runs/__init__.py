"""Finished runs, and how their folders are written."""

from .folder import CONFIG, RESULTS, write_run, writing_to
from .run import FoundAnswer, Predictions, Run, find_other_setting, load_run

__all__ = [
    "CONFIG",
    "RESULTS",
    "FoundAnswer",
    "Predictions",
    "Run",
    "find_other_setting",
    "load_run",
    "write_run",
    "writing_to",
]
