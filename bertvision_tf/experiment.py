"""One run, from a task to results.json: the story of the whole library.

Text is tokenized, an encoder runs over it once, every hidden state is kept in a store, and a very small head is
trained on these images, several times with several seeds. Selection rows, set aside from train, choose each head's
epoch and the head that predicts; dev is read once, at the end. Over 300 lines, since the whole story stands here:
what may be chosen, each step, and each number of results.json.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .encoders import Encoder, load_encoder
from .errors import RunError
from .extraction import extract, plan_spec
from .heads import HeadConfig, adapt_head, build_head, get_preset, split_head
from .metrics.glue import compute_metric
from .runs import RESULTS, Run, load_run, write_run, writing_to
from .runs.contents import write_contents
from .store import Store, StoreSpec
from .tasks import Examples, TaskKind, TaskSpec, get_task, split_selection, take_shots
from .training import FitConfig, FitResult, fit_head, get_strategy, predict_logits, read_predictions
from .training.baselines import Rows, fit_baselines
from .training.measured import MeasuredStore

DEFAULT_HEAD = "standardized_adapter_64_shared"
DEFAULT_PAIR_HEAD = "comparison_adapter_64"
DEFAULT_CODEC = "int8"
STATISTICS_ROWS = 500
VERSIONED = ("bertvision-tf", "tensorflow", "keras", "keras-hub", "transformers", "numpy", "h5py", "scikit-learn")

Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


def train(
    task: str | TaskSpec,
    encoder: str | Encoder = "minilm",
    *,
    dtype: str = "float32",
    head: str | HeadConfig | None = None,
    seeds: int | Sequence[int] = 5,
    store: str | Path = "states",
    output: str | Path | None = None,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    shots: int | None = None,
    balance_classes: bool = False,
    max_length: int | None = None,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | None = None,
    codec: str = DEFAULT_CODEC,
    fit: FitConfig | Mapping[str, Any] | None = None,
    strategy: str = "one_device",
    baselines: bool = True,
    export: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Trains a head on every hidden state of a frozen encoder, and scores it on dev.

    Args:
        task: a name of TASKS, or a TaskSpec.
        encoder: what `load_encoder` takes, or an Encoder.
        dtype: "float32" or "bfloat16", where `encoder` is a name.
        head: a preset's name or a HeadConfig; with None the default one for single texts, or for pairs.
        seeds: how many heads are trained, from seed 0, or the seeds themselves.
        store: the root of all stores; states that are there already are found again.
        output: the run's folder; a run that is there is replaced. By default runs/TASK-HEAD, where only a run of the
            same settings is.
        data_dir: the folder of GLUE's official download; tensorflow_datasets with None.
        limit: only the first rows of train and of dev.
        shots: train on this many rows of each class, drawn by the seed; the selection rows stay.
        balance_classes: let every class count the same in the loss.
        max_length: tokens a text; the task's own with None.
        tokens, pooler, layers, codec: see `extract`.
        fit: how a head is trained; or only what differs from FitConfig.for_head's.
        strategy: "one_device" or "mirrored".
        baselines: whether simple rivals are fitted on the same rows.
        export: whether the chosen head is saved as a SavedModel too.
        progress: called with what is being done, how much of it is done, and how much there is.

    Returns:
        the finished run; `run.results` is its results.json.

    Raises:
        BertvisionError: one of its kinds, with one line, for whatever the caller can mend.

    Example:
        >>> run = train("starter", "minilm", head="learned_pooling", seeds=2, output="runs/starter")
        >>> run.results["mean"]
    """
    task = get_task(task)
    head = head or (DEFAULT_HEAD if task.text_pair is None or tokens == "cls" else DEFAULT_PAIR_HEAD)
    config = get_preset(head) if isinstance(head, str) else head
    name = head if isinstance(head, str) else f"custom-{hashlib.sha256(config.to_json().encode()).hexdigest()[:8]}"
    if shots is not None and shots < 1:
        raise RunError(f"`shots` needs 1 or more, got {shots}.")
    if (shots or balance_classes) and task.kind is not TaskKind.CLASSIFICATION:
        raise RunError(f"`shots` and `balance_classes` need a task of single classes, {task.name} is a {task.kind}.")
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise RunError("`seeds` needs one seed or more, each once.")
    progress = progress or (lambda what, done, total: None)
    named, output = output is not None, Path(output or f"runs/{task.name}-{name}").resolve()
    if Path(store).resolve().is_relative_to(output):
        raise RunError(f"the states at {store} cannot lie in the run's folder {output}, which is replaced as a whole.")
    with write_run(output) as folder:
        splits = [task.load(split, data_dir).take(limit) for split in ("train", *task.dev_names)]
        encoder = load_encoder(encoder, dtype) if isinstance(encoder, str) else encoder
        states: dict[str, Any] = {
            "max_length": encoder.choose_length(max_length, task.max_length),
            "tokens": tokens,
            "pooler": pooler,
            "layers": layers,
        }
        if not isinstance(fit, FitConfig):
            fit = FitConfig.for_head(config, **(fit or {}))
        spec = plan_spec(encoder, splits[0], codec=codec, **states)
        _check_choices(config, strategy, spec, task)
        asked = {
            "task": task.name,
            "examples": {rows.split: rows.fingerprint for rows in splits},
            "kind": str(task.kind),
            "text": task.text,
            "text_pair": task.text_pair,
            "label_names": list(task.label_names),
            "encoder": _absolute(encoder.name),
            "dtype": encoder.dtype,
            "encoder_fingerprint": encoder.fingerprint,
            "head": config.to_dict(),
            "seeds": seeds,
            **states,
            "layers": list(spec.layers),
            "codec": codec,
            "limit": limit,
            "shots": shots,
            "balance_classes": balance_classes,
            "fit": dataclasses.asdict(fit),
            "strategy": strategy,
        }
        if not named:
            _check_same_run(output, asked)

        start = time.perf_counter()
        stores = [_extract(encoder, rows, Path(store), progress, codec=codec, **states) for rows in splits]
        seconds = {"fine_tune": 0.0, "extract": time.perf_counter() - start}

        training, selection = split_selection(
            splits[0].labels, splits[0].groups, stratify=task.kind is TaskKind.CLASSIFICATION
        )

        start = time.perf_counter()
        inputs = _measure(config, task, stores, progress)
        experiment = _Experiment(task, config, stores, inputs, training, selection, fit, shots, balance_classes)
        fitted = [experiment.fit(seed, strategy, progress) for seed in seeds]
        logits = [[experiment.predict(result.head, part) for result in fitted] for part in inputs[1:]]
        seconds["train"] = time.perf_counter() - start

        results = {
            **experiment.describe(encoder, name, seeds, fitted, logits),
            "seconds": seconds,
            "baselines": experiment.fit_baselines(encoder, splits, seeds[0], progress) if baselines else {},
        }
        results["rows"]["skipped"] = sum(rows.skipped for rows in splits)
        with writing_to(output):
            write_contents(folder, task, results, asked, fitted, list(zip(splits[1:], logits, strict=True)), export)
    return load_run(output)


@dataclasses.dataclass(frozen=True)
class _Experiment:
    """The stores of one task, train's and those of its dev splits, what heads read of each, and the roles of train's
    rows."""

    task: TaskSpec
    head: HeadConfig
    stores: Sequence[Store]
    inputs: Sequence[Store | MeasuredStore]
    training: np.ndarray
    selection: np.ndarray
    config: FitConfig
    shots: int | None
    balance_classes: bool

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        return compute_metric(self.task.main_metric, labels, predictions)

    def fit(self, seed: int, strategy: str, progress: Progress) -> FitResult:
        store, kind = self.inputs[0], self.task.kind
        rows = self.rows(seed)
        labels, selected = store.labels[rows], store.labels[self.selection]
        return fit_head(
            functools.partial(self.build, f"seed_{seed}", rows),
            store.as_dataset(self.config.batch_size, shuffle=True, seed=seed, rows=rows, epochs=self.config.epochs),
            store.as_dataset(batch_size=64, rows=self.selection),
            lambda logits: self.score(selected, read_predictions(kind, logits)),
            kind=kind,
            scale=(float(labels.mean()), float(labels.std()) or 1.0) if kind is TaskKind.REGRESSION else None,
            class_weights=_balance(labels, self.task.num_outputs) if self.balance_classes else None,
            measured=isinstance(store, MeasuredStore),
            config=self.config,
            seed=seed,
            strategy=get_strategy(strategy),
            progress=lambda done, total: progress(f"train seed {seed}", done, total),
        )

    def predict(self, head, store: Store | MeasuredStore) -> np.ndarray:
        return predict_logits(head, store.as_dataset(batch_size=64), isinstance(store, MeasuredStore))

    def rows(self, seed: int) -> np.ndarray:
        """The rows that a seed trains on: all training rows, or the shots that it draws."""
        if self.shots is None:
            return self.training
        return take_shots(self.stores[0].labels, self.training, self.shots, seed)

    def build(self, name: str, rows: np.ndarray):
        head = _build_head(self.head, self.stores[0].spec, self.task, name)
        sample = rows[:: max(len(rows) // STATISTICS_ROWS, 1)]  # spread over the file
        adapt_head(head, (images for images, _ in self.inputs[0].as_dataset(batch_size=32, rows=sample)))
        return head

    def describe(
        self, encoder: Encoder, head: str, seeds: list[int], fitted: list[FitResult], logits: list[list[np.ndarray]]
    ) -> dict[str, Any]:
        """Everything in results.json that the fits, and their logits of each dev split, say."""
        task, stores = self.task, self.stores
        metrics = {}
        for suffix, store, parts in zip(("", *task.extra_dev), stores[1:], logits, strict=True):
            predictions = [read_predictions(task.kind, part) for part in parts]
            for name in dict.fromkeys((*task.metrics, task.main_metric)):
                key = f"{name}_{suffix}" if suffix else name
                metrics[key] = [compute_metric(name, store.labels, found) for found in predictions]
        scores = metrics[task.main_metric]
        model = fitted[0].head
        return {
            "task": task.name,
            "split": "dev",
            "metric": task.main_metric,
            "encoder": encoder.name,
            "encoder_fingerprint": encoder.fingerprint,
            "encoder_parameters": encoder.num_parameters,
            "dtype": encoder.dtype,
            "head": head,
            "head_config": self.head.to_dict(),
            "trainable_parameters": int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
            "seeds": seeds,
            "scores": scores,
            **summarize(scores),
            "metrics": metrics,
            "encoder_scores": [],
            "selection_scores": [result.selection_score for result in fitted],
            "best_epochs": [result.best_epoch for result in fitted],
            "rows": {
                "training": len(self.rows(seeds[0])),
                "selection": len(self.selection),
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

    def fit_baselines(
        self, encoder: Encoder, splits: Sequence[Examples], seed: int, progress: Progress
    ) -> dict[str, Any]:
        """Simple rivals by name, on the rows of one seed; all deterministic, so of one score each."""
        rows = Rows(self.task.kind, self.stores[0].labels, self.rows(seed), self.selection, self.score)
        whole = self.stores[0].spec.layers == tuple(range(encoder.num_hidden_states))
        names = ("last layer mean", "all layers mean") if whole else ("last kept layer mean", "kept layers mean")
        table: dict[str, Any] = {}
        progress("baselines", 0, 4)
        for baseline in fit_baselines(rows, splits, self.stores, names):
            scores = [self.score(self.stores[1].labels, baseline.predictions[0])]
            table[baseline.name] = {
                "scores": scores,
                **summarize(scores),
                "selection_score": baseline.selection_score,
                "trainable_parameters": baseline.trainable_parameters,
                "seconds": baseline.seconds,
            }
            progress("baselines", len(table), 4)
        progress("baselines", 4, 4)
        return table


def _balance(labels: np.ndarray, classes: int) -> dict[int, float]:
    """Weights with which every class that occurs counts the same, and a row counts 1 in the mean."""
    counts = np.bincount(labels, minlength=classes)
    return {place: len(labels) / ((counts > 0).sum() * count) if count else 1.0 for place, count in enumerate(counts)}


def _build_head(head: HeadConfig, states: StoreSpec, task: TaskSpec, name: str | None = None):
    return build_head(
        head,
        num_hidden_states=states.num_hidden_states,
        hidden_dim=states.hidden_dim,
        num_outputs=task.num_outputs,
        kind="regression" if task.kind is TaskKind.REGRESSION else "classification",
        num_tokens=1 if states.tokens == "cls" else None,
        name=name,
    )


def _measure(
    head: HeadConfig, task: TaskSpec, stores: Sequence[Store], progress: Progress
) -> list[Store | MeasuredStore]:
    """What heads of a config read: the stores, or what they measure of them, where that fits into memory."""
    parts = split_head(_build_head(head, stores[0].spec, task))
    if parts is None or not MeasuredStore.fits(parts[0], *stores):
        return list(stores)
    return [
        MeasuredStore(parts[0], store, functools.partial(progress, f"measure {store.spec.split}")) for store in stores
    ]


def _check_choices(head: HeadConfig, strategy: str, states: StoreSpec, task: TaskSpec) -> None:
    """Raises what is wrong with a head or a strategy before the encoder has run for hours."""
    get_strategy(strategy)
    _build_head(head, states, task)
    if head.comparison and task.text_pair is None:
        raise RunError(f"a comparison head reads pairs of texts, {task.name} has single ones: choose another head.")


def _check_same_run(output: Path, asked: dict[str, Any]) -> None:
    """Raises RunError where a folder that the user did not name holds a run of other settings."""
    if not (output / RESULTS).is_file():
        return
    there = load_run(output).config
    for name, value in json.loads(json.dumps(asked)).items():
        if there.get(name) != value:
            raise RunError(
                f"{output} holds a run with {name} {there.get(name)}, now it is {value}: name another --output, or "
                "this one to replace it."
            )


def summarize(scores: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation over seeds; no deviation of a single score."""
    return {"mean": float(np.mean(scores)), "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None}


def find_store_path(root: Path, encoder: Encoder, examples: Examples, **choices) -> Path:
    """Where the states of these choices lie under a root: root/task/split/recipe, known before any work."""
    spec = dataclasses.asdict(plan_spec(encoder, examples, **choices))
    del spec["encoder"]  # a name only shown; its fingerprint counts
    recipe = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    return root / examples.task / examples.split / recipe


def _extract(encoder: Encoder, examples: Examples, root: Path, progress: Progress, **choices) -> Store:
    path = find_store_path(root, encoder, examples, **choices)
    return extract(
        encoder, examples, path, progress=functools.partial(progress, f"extract {examples.split}"), **choices
    )


def _absolute(encoder: str) -> str:
    """A folder's full path, so that the run can be used from another folder; other names as they are."""
    folder = os.path.abspath(os.path.expanduser(encoder))
    return folder if os.path.isdir(folder) and encoder != "minilm" else encoder
