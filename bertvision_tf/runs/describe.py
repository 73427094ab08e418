"""What results.json says of the heads of a run."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..heads.describe import count_trainable
from ..metrics.glue import compute_metric
from ..training import FitResult, read_predictions
from ..training.layer_use import REPORT_ROWS, LayerChoice, measure_layer_losses, read_layer_weights
from ..training.trial import Trial

if TYPE_CHECKING:
    from ..encoders import Encoder

VERSIONED = ("bertvision-tf", "tensorflow", "keras", "keras-hub", "transformers", "numpy", "h5py", "scikit-learn")


def describe_scores(
    trial: Trial,
    encoder: Encoder,
    head: str,
    seeds: Sequence[int],
    fitted: Sequence[FitResult],
    logits: Sequence[Sequence[np.ndarray]],
) -> dict[str, Any]:
    """All that the fits, and their logits of each dev split, say.

    Args:
        trial: what was fitted.
        encoder: whose states the stores have.
        head: its name.
        seeds, fitted: one head a seed.
        logits: of each dev split one array a seed.
    """
    task, stores = trial.task, trial.stores
    metrics = {}
    for suffix, store, parts in zip(("", *task.extra_dev), stores[1:], logits, strict=True):
        predictions = [read_predictions(task.kind, part) for part in parts]
        for name in dict.fromkeys((*task.metrics, task.main_metric)):
            key = f"{name}_{suffix}" if suffix else name
            metrics[key] = [compute_metric(name, store.labels, found) for found in predictions]
    scores = metrics[task.main_metric]
    return {
        "task": task.name,
        "split": "dev",
        "metric": task.main_metric,
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
        "encoder_parameters": encoder.num_parameters,
        "dtype": encoder.dtype,
        "head": head,
        "head_config": trial.head.to_dict(),
        "trainable_parameters": count_trainable(fitted[0].head),
        "seeds": seeds,
        "scores": scores,
        **summarize(scores),
        "metrics": metrics,
        "encoder_scores": [],
        "selection_scores": [result.selection_score for result in fitted],
        "best_epochs": [result.best_epoch for result in fitted],
        "rows": {
            "training": len(trial.rows(seeds[0])),
            "selection": len(trial.selection),
            "dev": sum(len(store) for store in stores[1:]),
            "truncated": sum(store.manifest.truncated for store in stores),
        },
        "store": {
            "bytes": sum(store.bytes for store in stores),
            "examples": sum(len(store) for store in stores),
            "tokens": sum(store.rows for store in stores),
            "codec": stores[0].spec.codec,
            "paths": [str(store.path.resolve()) for store in stores],
        },
        "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONED},
    }


def describe_layers(trial: Trial, fitted: Sequence[FitResult], choice: LayerChoice | None) -> dict[str, Any]:
    """What each layer is to the head that the selection rows chose, and how layers were chosen."""
    store, best = trial.stores[0], int(np.argmax([result.selection_score for result in fitted]))
    rows = trial.selection[:REPORT_ROWS]
    names: list[Any] = ["pooler"] * store.spec.pooler + list(store.spec.layers)
    weights = [read_layer_weights(result.head) for result in fitted]
    return {
        "names": names,
        "weights": [shares.tolist() for shares in weights if shares is not None],
        "losses": measure_layer_losses(fitted[best].head, trial, rows),
        "chosen": dataclasses.asdict(choice) if choice else None,
    }


def summarize(scores: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation over seeds; no deviation of a single score."""
    return {"mean": float(np.mean(scores)), "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None}
