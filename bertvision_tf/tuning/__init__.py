"""Search for heads with Keras Tuner, over states that are there."""

from .head_search import Search, search
from .hypermodel import OBJECTIVE, HeadHyperModel
from .space import HeadSpace, read_only
from .trials import TrialScore
from .tuner import TUNERS, HeadTuner

__all__ = [
    "OBJECTIVE",
    "TUNERS",
    "HeadHyperModel",
    "HeadSpace",
    "HeadTuner",
    "Search",
    "TrialScore",
    "read_only",
    "search",
]
