"""Small Keras heads on every hidden state of a BERT.

    encoder = load_encoder("minilm")
    store = extract(encoder, get_task("starter").load("train"), "states/starter-train")
    run = train("starter", encoder, head="learned_pooling")

A name is imported when it is first used, so that `import bertvision_tf` brings in no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import keras_settings

__version__ = "0.2.0"

_HOMES = {
    "BertvisionError": "errors",
    "Encoder": "encoders",
    "Examples": "tasks",
    "FineTuneConfig": "training",
    "FitConfig": "training",
    "HeadConfig": "heads",
    "Run": "runs",
    "Store": "store",
    "TASKS": "tasks",
    "TaskSpec": "tasks",
    "build_head": "heads",
    "ensemble_runs": "experiments.ensemble",
    "extract": "extraction",
    "get_preset": "heads",
    "get_task": "tasks",
    "images_from_encoder": "images",
    "images_from_store": "images",
    "list_presets": "heads",
    "load_encoder": "encoders",
    "load_run": "runs",
    "open_store": "store",
    "rank_encoders": "experiments.rank",
    "task_from_table": "tasks",
    "search": "tuning",
    "train": "experiments.experiment",
    "write_report": "reports.report",
}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:
    from .encoders import Encoder, load_encoder
    from .errors import BertvisionError
    from .experiments.ensemble import ensemble_runs
    from .experiments.experiment import train
    from .experiments.rank import rank_encoders
    from .extraction import extract
    from .heads import HeadConfig, build_head, get_preset, list_presets
    from .images import images_from_encoder, images_from_store
    from .reports.report import write_report
    from .runs import Run, load_run
    from .store import Store, open_store
    from .tasks import TASKS, Examples, TaskSpec, get_task, task_from_table
    from .training import FineTuneConfig, FitConfig
    from .tuning import search


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] not in ("errors", "store", "tasks"):  # which know no Keras
        keras_settings.prepare_import()
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
