"""The options of a run, each once: its type, its default, its unit, a line of help and its check.

From them come the keyword arguments of `train`, the options of the command, config.json, the comparison that finds a
finished run again, and files of settings.
"""

from .fine_tune import DTYPES, FineTuneConfig
from .fit import FitConfig
from .groups import (
    ClusterSettings,
    HeadSettings,
    PlaceSettings,
    RivalSettings,
    RowSettings,
    StateSettings,
    TableSettings,
    TuningSettings,
)
from .run import GROUP_OF, GROUPS, RunSettings
from .signature import takes_options

__all__ = [
    "DTYPES",
    "GROUPS",
    "GROUP_OF",
    "ClusterSettings",
    "FineTuneConfig",
    "FitConfig",
    "HeadSettings",
    "PlaceSettings",
    "RivalSettings",
    "RowSettings",
    "RunSettings",
    "StateSettings",
    "TableSettings",
    "TuningSettings",
    "takes_options",
]
