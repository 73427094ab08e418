"""What results.json says of the heads of a run."""

from __future__ import annotations

import dataclasses
import itertools
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..heads.describe import count_trainable
from ..metrics.glue import compute_metric
from ..tasks import Examples
from ..training import FitResult, Snapshot, combine_predictions, read_predictions
from ..training.baselines import Rows, fit_baselines
from ..training.layer_use import REPORT_ROWS, LayerChoice, measure_layer_losses, read_layer_weights
from ..training.trial import Trial

if TYPE_CHECKING:
    from ..encoders import Encoder

VERSIONED = ("bertvision-tf", "tensorflow", "keras", "keras-hub", "transformers", "numpy", "h5py", "scikit-learn")


def describe_scores(
    trials: Sequence[Trial],
    encoder: Encoder,
    head: str,
    seeds: Sequence[int],
    fitted: Sequence[FitResult],
    logits: Sequence[Sequence[np.ndarray]],
) -> dict[str, Any]:
    """All that the fits, and their logits of each dev split, say.

    Args:
        trials: what was fitted, one a seed; seeds that share an encoder share one.
        encoder: whose states the stores have.
        head: its name.
        seeds, fitted: one head a seed.
        logits: of each dev split one array a seed.
    """
    trial, stores = trials[0], trials[0].stores
    task, every = trial.task, [store for one in dict.fromkeys(trials) for store in one.stores]
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
            "bytes": sum(store.bytes for store in every),
            "examples": sum(len(store) for store in every),
            "tokens": sum(store.rows for store in every),
            "codec": stores[0].spec.codec,
            "paths": [str(store.path.resolve()) for store in every],
        },
        "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONED},
    }


def describe_fine_tuning(
    trials: Sequence[Trial],
    snapshots: Sequence[Snapshot],
    splits: Sequence[Examples],
    fitted: Sequence[FitResult],
    logits: Sequence[np.ndarray],
) -> dict[str, Any]:
    """What the encoders' own heads say, alone and together with the heads on their states.

    Args:
        trials, fitted: one a seed.
        snapshots: the fine-tuned encoders, which the seeds took in turn.
        splits: train and dev.
        logits: of dev, one array a seed.
    """
    trial, length = trials[0], trials[0].stores[0].spec.max_length
    chosen = [one.predict(result.head, 0, trial.selection) for one, result in zip(trials, fitted, strict=True)]
    found: dict[str, Any] = {}
    for prefix, rows, heads in (
        ("selection_", splits[0].select(trial.selection), chosen),
        ("", splits[1], logits),
    ):
        own = [snapshot.predict(rows, length) for snapshot in snapshots]
        found[f"{prefix}scores"] = [trial.score(rows.labels, part) for part in own]
        both = (combine_predictions(trial.task.kind, pair) for pair in zip(itertools.cycle(own), heads, strict=False))
        found[f"{prefix}ensemble_scores"] = [trial.score_predictions(rows.labels, part) for part in both]
    facts = [snapshot.facts for snapshot in snapshots]
    return {
        "epochs": facts[0]["epochs"],
        "steps": facts[0]["steps"],
        "seeds": [fact["seed"] for fact in facts],
        "trainable_parameters": facts[0]["trainable_parameters"],
        "seconds": [fact["seconds"] for fact in facts],
        **found,
        **summarize(found["scores"]),
        "ensemble": summarize(found["ensemble_scores"]),
    }


def describe_baselines(trial: Trial, encoder: Encoder, splits: Sequence[Examples], seed: int) -> dict[str, Any]:
    """Simple rivals by name, on the rows of one seed; all deterministic, so of one score each."""
    rows = Rows(trial.task.kind, trial.stores[0].labels, trial.rows(seed), trial.selection, trial.score_predictions)
    whole = trial.stores[0].spec.layers == tuple(range(encoder.num_hidden_states))
    names = ("last layer mean", "all layers mean") if whole else ("last kept layer mean", "kept layers mean")
    table: dict[str, Any] = {}
    trial.progress("baselines", 0, 4)
    for baseline in fit_baselines(rows, splits, trial.stores, names):
        scores = [trial.score_predictions(trial.stores[1].labels, baseline.predictions[0])]
        table[baseline.name] = {
            "scores": scores,
            **summarize(scores),
            "selection_score": baseline.selection_score,
            "trainable_parameters": baseline.trainable_parameters,
            "seconds": baseline.seconds,
        }
        trial.progress("baselines", len(table), 4)
    trial.progress("baselines", 4, 4)
    return table


def describe_layers(trials: Sequence[Trial], fitted: Sequence[FitResult], choice: LayerChoice | None) -> dict[str, Any]:
    """What each layer is to the head that the selection rows chose, and how layers were chosen."""
    best = int(np.argmax([result.selection_score for result in fitted]))
    trial, store = trials[best], trials[best].stores[0]
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
