"""Finished runs, and how their folders are written."""

from .explain import Explanation
from .folder import CONFIG, RESULTS, write_folder, write_run, writing_to
from .open import (
    describe_versions,
    find_other_setting,
    group_by_rows,
    load_run,
    name_runs,
    open_runs,
    share_encoders,
)
from .predictions import FoundAnswer, Predictions
from .run import Run

__all__ = [
    "CONFIG",
    "RESULTS",
    "Explanation",
    "FoundAnswer",
    "Predictions",
    "Run",
    "describe_versions",
    "find_other_setting",
    "group_by_rows",
    "load_run",
    "name_runs",
    "open_runs",
    "share_encoders",
    "write_folder",
    "write_run",
    "writing_to",
]
