"""Fits a head on images, choosing the epoch on the selection rows, and fine-tunes an encoder by fractions of an epoch:
Keras `fit`, on one device or on all."""

from ..settings import FineTuneConfig, FitConfig
from .fine_tuning import fine_tune
from .fit import FitResult, fit_head, predict_logits
from .snapshot import Snapshot
from .strategy import STRATEGIES, get_strategy

__all__ = [
    "STRATEGIES",
    "FineTuneConfig",
    "FitConfig",
    "FitResult",
    "Snapshot",
    "fine_tune",
    "fit_head",
    "get_strategy",
    "predict_logits",
]
