"""Fits a head on images: Keras `fit`, on one device or on all, choosing the epoch on the selection rows."""

from .fit import FitConfig, FitResult, fit_head, predict_logits
from .outputs import compute_probabilities, describe_predictions, read_predictions
from .strategy import STRATEGIES, get_strategy

__all__ = [
    "STRATEGIES",
    "FitConfig",
    "FitResult",
    "compute_probabilities",
    "describe_predictions",
    "fit_head",
    "get_strategy",
    "predict_logits",
    "read_predictions",
]
