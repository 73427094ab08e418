"""What results.json says of the heads of a run."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoders import OPENVINO, TENSORFLOW, XLA
from ..heads.describe import count_trainable
from ..kinds import AnswerPredictions, Gold
from ..metrics.glue import compute_metric
from ..reports.table import name_head
from ..runs import describe_versions
from ..tasks import Examples
from ..training import Snapshot
from ..training.averaging import Together
from ..training.baselines import Baseline, Rows, fit_baselines
from ..training.fit import FitResult
from ..training.layer_use import REPORT_ROWS, LayerChoice, measure_layer_losses, read_layer_weights
from ..training.solvers import PENALTIES
from ..training.span_rivals import fit_span_rivals
from ..training.trial import Outcome, Trial

if TYPE_CHECKING:
    from ..encoders import Encoder


def describe_scores(
    trials: Sequence[Trial],
    encoder: Encoder,
    head: str,
    seeds: Sequence[int],
    outcomes: Sequence[Outcome],
) -> dict[str, Any]:
    """All that the trained heads, and their predictions of each dev split, say.

    Args:
        trials: what was fitted, one a seed; seeds that share an encoder share one.
        encoder: whose states the stores have.
        head: its name.
        seeds, outcomes: one head a seed.
    """
    trial, stores = trials[0], trials[0].stores
    task, every = trial.task, list({id(store): store for one in trials for store in one.stores}.values())
    metrics = _describe_dev(trial, outcomes)
    scores = metrics[task.main_metric]
    thresholds = [one.selection.threshold for one in outcomes if isinstance(one.selection, AnswerPredictions)]
    return {
        "task": task.name,
        "split": "dev",
        "metric": task.main_metric,
        "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint,
        "encoder_parameters": encoder.num_parameters,
        "dtype": encoder.dtype,
        "engine": next(name for name in (OPENVINO, XLA, TENSORFLOW) if name in stores[0].manifest.made_with),
        "head": head,
        "head_config": trial.head.to_dict(),
        "trainable_parameters": count_trainable(outcomes[0].fit.head),
        "seeds": seeds,
        "scores": scores,
        **summarize(scores),
        "metrics": metrics,
        "encoder_scores": [],
        **({"thresholds": thresholds} if thresholds else {}),
        "selection_scores": [one.fit.selection_score for one in outcomes],
        "best_epochs": [one.fit.best_epoch for one in outcomes],
        "draw": {"share": trial.draw.share, "shots": trial.draw.shots},
        "rows": {
            "training": len(trial.draw.rows(seeds[0])),
            "selection": len(trial.selection),
            "dev": sum(len(gold) for gold in trial.dev_golds),
            "truncated": sum(store.manifest.truncated for store in stores),
        },
        "store": {
            "bytes": sum(store.bytes for store in every),
            "examples": sum(len(store) for store in every),
            "tokens": sum(store.rows for store in every),
            "codec": stores[0].spec.codec,
            "paths": [str(store.path.resolve()) for store in every if store.kept],
        },
        "versions": describe_versions(),
    }


def describe_together(trial: Trial, together: Together, count: int) -> dict[str, Any]:
    """What several heads as one model come to on dev.

    Args:
        trial: whose stores they read.
        together: the model.
        count: of heads.
    """
    metrics = _describe_dev(trial, [together])
    scores = metrics[trial.task.main_metric]
    return {
        "heads": count,
        "scores": scores,
        **summarize(scores),
        "metrics": metrics,
        "selection_score": together.selection_score,
        "trainable_parameters": count_trainable(together.head),
        **({} if together.threshold is None else {"threshold": together.threshold}),
    }


def _describe_dev(trial: Trial, models: Sequence[Outcome | Together]) -> dict[str, list[float]]:
    """All metrics of models on dev by name; those of a further dev split have its name behind theirs."""
    metrics: dict[str, list[float]] = {}
    for place, suffix in enumerate(("", *(f"_{name}" for name in trial.task.extra_dev))):
        described = [trial.dev_golds[place].describe(one.predictions[place]) for one in models]
        metrics |= {f"{name}{suffix}": values for name, values in _collect(described).items()}
    return metrics


def predict_fine_tuned(
    trials: Sequence[Trial],
    snapshots: Sequence[Snapshot],
    splits: Sequence[Examples],
    outcomes: Sequence[Outcome],
) -> tuple[list[Baseline], list[Baseline]]:
    """What the encoders' own heads say of dev, and what each says together with the head on its states.

    Args:
        trials, outcomes: one a seed.
        snapshots: the fine-tuned encoders, which the seeds took in turn.
        splits: train and dev.

    Returns:
        one rival a snapshot, and one ensemble a seed.
    """
    trial, length = trials[0], trials[0].stores[0].spec.max_length
    selected, golds = splits[0].select(trial.selection), (trial.selection_gold, trial.dev_golds[0])
    own = [(snapshot.predict(selected, length), snapshot.predict(splits[1], length)) for snapshot in snapshots]
    heads = [(one.fit.selection_logits, one.logits[0]) for one in outcomes]
    epochs, weights = (snapshots[0].facts[fact] for fact in ("epochs", "trainable_parameters"))

    def describe(name: str, parameters: int, seconds: float, *models: tuple[np.ndarray, np.ndarray]) -> Baseline:
        chosen, dev = (
            gold.combine(parts) if len(parts) > 1 else parts[0]
            for gold, parts in zip(golds, zip(*models, strict=True), strict=True)
        )
        found = golds[0].read(chosen)
        name = name_head(name, epochs)
        return Baseline(name, [golds[1].read(dev, found)], golds[0].score(found), parameters, seconds)

    seconds = [snapshot.facts["seconds"] for snapshot in snapshots]
    both = weights + count_trainable(outcomes[0].fit.head)
    return (
        [describe("encoder", weights, *pair) for pair in zip(seconds, own, strict=True)],
        [describe("ensemble", both, *each) for each in zip(itertools.cycle(seconds), itertools.cycle(own), heads)],
    )


def describe_fine_tuning(
    gold: Gold, snapshots: Sequence[Snapshot], encoders: Sequence[Baseline], ensembles: Sequence[Baseline]
) -> dict[str, Any]:
    """What the encoders cost. Where they have heads of their own, also the scores of these, and of their ensembles with
    the heads on their states, on the dev rows that `gold` is of."""
    facts = [snapshot.facts for snapshot in snapshots]
    described = {
        "epochs": facts[0]["epochs"],
        "steps": facts[0]["steps"],
        "seeds": [fact["seed"] for fact in facts],
        "trainable_parameters": facts[0]["trainable_parameters"],
        "seconds": [fact["seconds"] for fact in facts],
        "memory_bytes": max(fact.get("memory_bytes", 0) for fact in facts),
        "disk_bytes": max(snapshot.bytes for snapshot in snapshots),
    }
    if not encoders:
        return described
    alone, both = (_score_models(gold, models) for models in (encoders, ensembles))
    return described | {
        "selection_scores": [one.selection_score for one in encoders],
        "selection_ensemble_scores": [one.selection_score for one in ensembles],
        "ensemble_scores": both["scores"],
        **alone,
        "ensemble": both,
    }


def _score_models(gold: Gold, models: Sequence[Baseline]) -> dict[str, Any]:
    """Main metric, with mean and deviation, and all metrics, of predictions of dev."""
    scores = [gold.score(one.predictions[0]) for one in models]
    metrics = _collect([gold.describe(one.predictions[0]) for one in models])
    return {"scores": scores, **summarize(scores), "metrics": metrics}


def _collect(described: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Metrics of several models by name."""
    return {name: [one[name] for one in described] for name in described[0]}


def fit_simple_rivals(
    trial: Trial, encoder: Encoder, splits: Sequence[Examples], seeds: Sequence[int]
) -> Iterator[Baseline]:
    """Majority, TF-IDF, the last layer and all layers: once, or for each seed where each draws rows of its own; of
    questions no answer, and the last layer."""
    if trial.task.kind.answers:
        last = encoder.num_hidden_states - 1 in trial.stores[0].spec.layers
        yield from fit_span_rivals(trial, seeds, "last layer" if last else "last kept layer")
        return
    whole = trial.stores[0].spec.layers == tuple(range(encoder.num_hidden_states))
    names = ("last layer mean", "all layers mean") if whole else ("last kept layer mean", "kept layers mean")
    score = functools.partial(compute_metric, trial.task.main_metric)
    drawn = [
        Rows(trial.task.kind, trial.stores[0].labels, trial.draw.rows(seed), trial.selection, score)
        for seed in (seeds if trial.draw.differs else seeds[:1])
    ]
    total = 4 * len(drawn)
    trial.progress("baselines", 0, total)
    for done, baseline in enumerate(fit_baselines(drawn, splits, trial.stores, names), start=1):
        yield baseline
        trial.progress("baselines", done, total)
    trial.progress("baselines", total, total)


def describe_rivals(gold: Gold, rivals: Sequence[Baseline]) -> dict[str, Any]:
    """Rivals by name, those of several seeds together, on the dev rows that `gold` is of."""
    table: dict[str, dict[str, Any]] = {}
    for name, own in _group(rivals).items():
        table[name] = {
            **_score_models(gold, own),
            "selection_score": float(np.mean([one.selection_score for one in own])),
            "trainable_parameters": own[0].trainable_parameters,
            "seconds": float(np.mean([one.seconds for one in own])),
        }
        for field in ("memory_bytes", "disk_bytes"):
            table[name][field] = max(getattr(one, field) or 0 for one in own) or None
        if own[0].epochs is not None:
            table[name] |= {"epochs": [one.epochs for one in own], "learning_rates": [one.learning_rate for one in own]}
    return table


def describe_significance(gold: Gold, head: tuple[str, Any], rivals: Sequence[Baseline]) -> list[dict[str, Any]]:
    """Whether a head differs from its rivals on the dev rows: of each the seed that the selection rows chose.

    Args:
        gold: what the dev rows are scored by.
        head: its name, and its predictions.
        rivals: what it is compared with.
    """
    name, found = head
    described = []
    for rival, own in _group(rivals).items():
        other = max(own, key=lambda one: one.selection_score).predictions[0]
        difference = gold.compare(found, other)
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


def describe_layers(trials: Sequence[Trial], outcomes: Sequence[Outcome], choice: LayerChoice | None) -> dict[str, Any]:
    """What each layer is to the head that the selection rows chose, and how layers were chosen."""
    fitted = [one.fit for one in outcomes]
    best = int(np.argmax([result.selection_score for result in fitted]))
    trial, store = trials[best], trials[best].stores[0]
    rows = trial.selection[:REPORT_ROWS]
    names: list[Any] = ["pooler"] * store.spec.pooler + list(store.spec.layers)
    weights = [read_layer_weights(result.head) for result in fitted]
    return {
        "names": names,
        "weights": [shares.tolist() for shares in weights if shares is not None],
        "losses": measure_layer_losses(fitted[best].head, trial, rows),
        **_describe_path(fitted[best], len(names)),
        "chosen": dataclasses.asdict(choice) if choice else None,
    }


def _describe_path(fit: FitResult, layers: int) -> dict[str, Any]:
    """Which layers a head keeps at each penalty, where it is fitted so and reads several: the norms of their weights,
    a list a layer."""
    norms = [values for name, values in fit.history.items() if name.startswith("layer_")]
    if len(norms) < max(layers, 2):
        return {}
    return {"path": {"penalties": PENALTIES[: len(norms[0])].tolist(), "norms": norms, "chosen": fit.best_epoch - 1}}


def summarize(scores: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation over seeds; no deviation of a single score."""
    return {"mean": float(np.mean(scores)), "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None}
