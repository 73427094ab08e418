"""What results.json says of the heads of a run."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..heads.describe import count_trainable
from ..metrics.glue import compute_metric
from ..metrics.significance import compare_classes, compare_scores
from ..reports.table import name_head
from ..tasks import Examples, TaskKind
from ..training import FitResult, Snapshot, combine_predictions, read_predictions
from ..training.baselines import Baseline, Rows, fit_baselines
from ..training.layer_use import REPORT_ROWS, LayerChoice, measure_layer_losses, read_layer_weights
from ..training.trial import Trial
from .run import describe_versions

if TYPE_CHECKING:
    from ..encoders import Encoder


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
        "draw": {"share": trial.draw.share, "shots": trial.draw.shots},
        "rows": {
            "training": len(trial.draw.rows(seeds[0])),
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
        "versions": describe_versions(),
    }


def predict_fine_tuned(
    trials: Sequence[Trial],
    snapshots: Sequence[Snapshot],
    splits: Sequence[Examples],
    fitted: Sequence[FitResult],
    logits: Sequence[np.ndarray],
) -> tuple[list[Baseline], list[Baseline]]:
    """What the encoders' own heads say of dev, and what each says together with the head on its states.

    Args:
        trials, fitted: one a seed.
        snapshots: the fine-tuned encoders, which the seeds took in turn.
        splits: train and dev.
        logits: of dev, one array a seed.

    Returns:
        one rival a snapshot, and one ensemble a seed.
    """
    trial, length = trials[0], trials[0].stores[0].spec.max_length
    kind, selected = trial.task.kind, splits[0].select(trial.selection)
    own = [(snapshot.predict(selected, length), snapshot.predict(splits[1], length)) for snapshot in snapshots]
    heads = [
        (one.predict(result.head, 0, trial.selection), part)
        for one, result, part in zip(trials, fitted, logits, strict=True)
    ]
    epochs, weights = (snapshots[0].facts[fact] for fact in ("epochs", "trainable_parameters"))

    def describe(name: str, parameters: int, seconds: float, *models: tuple[np.ndarray, np.ndarray]) -> Baseline:
        chosen, dev = (
            combine_predictions(kind, parts) if len(parts) > 1 else read_predictions(kind, parts[0])
            for parts in zip(*models, strict=True)
        )
        score = trial.score_predictions(selected.labels, chosen)
        return Baseline(name_head(name, epochs), [dev], score, parameters, seconds)

    seconds = [snapshot.facts["seconds"] for snapshot in snapshots]
    both = weights + count_trainable(fitted[0].head)
    return (
        [describe("encoder", weights, *pair) for pair in zip(seconds, own, strict=True)],
        [describe("ensemble", both, *each) for each in zip(itertools.cycle(seconds), itertools.cycle(own), heads)],
    )


def describe_fine_tuning(
    trial: Trial,
    snapshots: Sequence[Snapshot],
    encoders: Sequence[Baseline],
    ensembles: Sequence[Baseline],
    labels: np.ndarray,
) -> dict[str, Any]:
    """Scores of the encoders' own heads, and of the ensembles; `labels` are dev's."""
    facts = [snapshot.facts for snapshot in snapshots]
    scores, both = (
        [trial.score_predictions(labels, one.predictions[0]) for one in models] for models in (encoders, ensembles)
    )
    return {
        "epochs": facts[0]["epochs"],
        "steps": facts[0]["steps"],
        "seeds": [fact["seed"] for fact in facts],
        "trainable_parameters": facts[0]["trainable_parameters"],
        "seconds": [fact["seconds"] for fact in facts],
        "memory_bytes": max(fact.get("memory_bytes", 0) for fact in facts),
        "disk_bytes": max(snapshot.bytes for snapshot in snapshots),
        "selection_scores": [one.selection_score for one in encoders],
        "selection_ensemble_scores": [one.selection_score for one in ensembles],
        "scores": scores,
        "ensemble_scores": both,
        **summarize(scores),
        "ensemble": summarize(both),
    }


def fit_simple_rivals(
    trial: Trial, encoder: Encoder, splits: Sequence[Examples], seeds: Sequence[int]
) -> Iterator[Baseline]:
    """Majority, TF-IDF, the last layer and all layers: once, or for each seed where each draws rows of its own."""
    whole = trial.stores[0].spec.layers == tuple(range(encoder.num_hidden_states))
    names = ("last layer mean", "all layers mean") if whole else ("last kept layer mean", "kept layers mean")
    drawn = [
        Rows(trial.task.kind, trial.stores[0].labels, trial.draw.rows(seed), trial.selection, trial.score_predictions)
        for seed in (seeds if trial.draw.differs else seeds[:1])
    ]
    total = 4 * len(drawn)
    trial.progress("baselines", 0, total)
    for done, baseline in enumerate(fit_baselines(drawn, splits, trial.stores, names), start=1):
        yield baseline
        trial.progress("baselines", done, total)
    trial.progress("baselines", total, total)


def describe_rivals(trial: Trial, rivals: Sequence[Baseline], labels: np.ndarray) -> dict[str, Any]:
    """Rivals by name, those of several seeds together; `labels` are dev's."""
    table: dict[str, dict[str, Any]] = {}
    for name, own in _group(rivals).items():
        scores = [trial.score_predictions(labels, one.predictions[0]) for one in own]
        table[name] = {
            "scores": scores,
            **summarize(scores),
            "selection_score": float(np.mean([one.selection_score for one in own])),
            "trainable_parameters": own[0].trainable_parameters,
            "seconds": float(np.mean([one.seconds for one in own])),
        }
        for field in ("memory_bytes", "disk_bytes"):
            table[name][field] = max(getattr(one, field) or 0 for one in own) or None
        if own[0].epochs is not None:
            table[name]["epochs"] = [one.epochs for one in own]
    return table


def describe_significance(
    trial: Trial, head: tuple[str, np.ndarray], rivals: Sequence[Baseline], labels: np.ndarray
) -> list[dict[str, Any]]:
    """Whether a head differs from its rivals on the dev rows: of each the seed that the selection rows chose.

    Args:
        trial: whose task it is.
        head: its name, and its predictions.
        rivals: what it is compared with.
        labels: dev's.
    """
    name, found = head
    described = []
    for rival, own in _group(rivals).items():
        other = max(own, key=lambda one: one.selection_score).predictions[0]
        if trial.task.kind is TaskKind.REGRESSION:
            difference = compare_scores(trial.score_predictions, labels, found, other)
        else:
            difference = compare_classes(labels, found, other)
        described.append(
            {
                "of": name,
                "against": rival,
                **{field: value for field, value in dataclasses.asdict(difference).items() if value is not None},
                "significant": difference.significant,
                "words": difference.describe(name, rival),
            }
        )
    return described


def _group(rivals: Sequence[Baseline]) -> dict[str, list[Baseline]]:
    grouped: dict[str, list[Baseline]] = {}
    for rival in rivals:
        grouped.setdefault(rival.name, []).append(rival)
    return grouped


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
