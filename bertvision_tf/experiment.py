"""One run, from a task to results.json: the story of the whole library.

Text is tokenized, an encoder runs over it once, every hidden state is kept in a store, and a very small head is
trained on these images, several times with several seeds. Selection rows, set aside from train, choose each head's
epoch and the head that predicts; dev is read once, at the end.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .encoders import Encoder, load_encoder
from .errors import RunError
from .extraction import extract, plan_spec
from .heads import HeadConfig, build_head, get_preset
from .metrics.glue import compute_metric
from .reports.plots import plot_layer_weights
from .runs import CONFIG, RESULTS, Run, compute_softmax, load_run, write_csv, write_json, write_run, writing_to
from .store import Store, StoreSpec
from .tasks import Examples, TaskSpec, get_task, split_selection
from .training import FitConfig, FitResult, fit_head, get_strategy, predict_logits
from .training import baselines as rivals

DEFAULT_HEAD = "standardized_adapter_64_shared"
DEFAULT_CODEC = "int8"
VERSIONED = ("bertvision-tf", "tensorflow", "keras", "keras-hub", "transformers", "numpy", "h5py", "scikit-learn")

Progress = Callable[[str, int, int], None]  # what is being done, how much of it, of how much


def train(
    task: str | TaskSpec,
    encoder: str | Encoder = "minilm",
    *,
    dtype: str = "float32",
    head: str | HeadConfig = DEFAULT_HEAD,
    seeds: int | Sequence[int] = 5,
    store: str | Path = "states",
    output: str | Path | None = None,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    max_length: int | None = None,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | None = None,
    codec: str = DEFAULT_CODEC,
    fit: FitConfig | None = None,
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
        head: a preset's name or a HeadConfig.
        seeds: how many heads are trained, from seed 0, or the seeds themselves.
        store: the root of all stores; states that are there already are found again.
        output: the run's folder; by default runs/TASK-HEAD.
        data_dir: the folder of GLUE's official download; tensorflow_datasets with None.
        limit: only the first rows of train and of dev.
        max_length: tokens a text; the task's own with None.
        tokens, pooler, layers, codec: see `extract`.
        fit: how a head is trained; FitConfig.for_head's with None.
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
    config = get_preset(head) if isinstance(head, str) else head
    name = head if isinstance(head, str) else f"custom-{hashlib.sha256(config.to_json().encode()).hexdigest()[:8]}"
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise RunError("`seeds` needs one seed or more, each once.")
    progress = progress or (lambda what, done, total: None)
    output = Path(output or f"runs/{task.name}-{name}").resolve()
    if Path(store).resolve().is_relative_to(output):
        raise RunError(f"the states at {store} cannot lie in the run's folder {output}, which is replaced as a whole.")
    with write_run(output) as folder:
        train_rows, dev_rows = (task.load(split, data_dir).take(limit) for split in ("train", "dev"))
        encoder = load_encoder(encoder, dtype) if isinstance(encoder, str) else encoder
        states: dict[str, Any] = {
            "max_length": max_length or min(task.max_length, encoder.architecture.max_positions),
            "tokens": tokens,
            "pooler": pooler,
            "layers": layers,
        }
        _check_choices(config, strategy, plan_spec(encoder, train_rows, codec=codec, **states), task)

        start = time.perf_counter()
        train_store, dev_store = (
            _extract(encoder, examples, Path(store), progress, codec=codec, **states)
            for examples in (train_rows, dev_rows)
        )
        seconds = {"fine_tune": 0.0, "extract": time.perf_counter() - start}

        training, selection = split_selection(train_store.labels)
        experiment = _Experiment(
            task, config, train_store, dev_store, training, selection, fit or FitConfig.for_head(config)
        )

        start = time.perf_counter()
        fitted = [experiment.fit(seed, strategy, progress) for seed in seeds]
        logits = [predict_logits(result.head, dev_store.as_dataset(batch_size=64)) for result in fitted]
        seconds["train"] = time.perf_counter() - start

        results = {
            **experiment.describe(encoder, name, seeds, fitted, logits),
            "seconds": seconds,
            "baselines": experiment.fit_baselines(encoder, train_rows, dev_rows, progress) if baselines else {},
        }
        asked = {
            "task": task.name,
            "text": task.text,
            "text_pair": task.text_pair,
            "label_names": list(task.label_names),
            "encoder": _absolute(encoder.name),
            "dtype": encoder.dtype,
            "encoder_fingerprint": encoder.fingerprint,
            "head": config.to_dict(),
            **states,
            "layers": list(train_store.spec.layers),
            "codec": codec,
            "limit": limit,
            "fit": dataclasses.asdict(experiment.config),
            "strategy": strategy,
        }
        with writing_to(output):
            _write(folder, results, asked, fitted, logits, dev_rows, export)
    return load_run(output)


@dataclasses.dataclass(frozen=True)
class _Experiment:
    """The stores of one task with their rows' roles: all that training and scoring read."""

    task: TaskSpec
    head: HeadConfig
    train_store: Store
    dev_store: Store
    training: np.ndarray
    selection: np.ndarray
    config: FitConfig

    def score(self, labels: np.ndarray, predictions: np.ndarray) -> float:
        return compute_metric(self.task.main_metric, labels, predictions)

    def fit(self, seed: int, strategy: str, progress: Progress) -> FitResult:
        store = self.train_store
        labels = store.labels[self.selection]
        return fit_head(
            functools.partial(self.build, f"seed_{seed}"),
            store.as_dataset(
                self.config.batch_size, shuffle=True, seed=seed, rows=self.training, epochs=self.config.epochs
            ),
            store.as_dataset(batch_size=64, rows=self.selection),
            lambda logits: self.score(labels, logits.argmax(axis=1)),
            config=self.config,
            seed=seed,
            strategy=get_strategy(strategy),
            progress=lambda done, total: progress(f"train seed {seed}", done, total),
        )

    def build(self, name: str):
        head = _build_head(self.head, self.train_store.spec, self.task, name)
        if self.head.standardize:
            calibration = self.train_store.manifest.calibration
            head.get_layer("standardize").set_statistics(calibration.mean, calibration.deviation)
        return head

    def describe(
        self, encoder: Encoder, head: str, seeds: list[int], fitted: list[FitResult], logits
    ) -> dict[str, Any]:
        """Everything in results.json that the fits and their dev logits say."""
        task, stores = self.task, (self.train_store, self.dev_store)
        metrics = {
            name: [compute_metric(name, self.dev_store.labels, rows.argmax(axis=1)) for rows in logits]
            for name in task.metrics
        }
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
                "training": len(self.training),
                "selection": len(self.selection),
                "dev": len(self.dev_store),
                "truncated": sum(store.manifest.truncated for store in stores),
            },
            "store": {
                "bytes": sum(store.bytes for store in stores),
                "examples": sum(len(store) for store in stores),
                "tokens": sum(store.rows for store in stores),
                "codec": self.train_store.spec.codec,
                "paths": [str(store.path.resolve()) for store in stores],
            },
            "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONED},
        }

    def fit_baselines(
        self, encoder: Encoder, train_rows: Examples, dev_rows: Examples, progress: Progress
    ) -> dict[str, Any]:
        """Majority, TF-IDF, the last layer and all layers, by name; all deterministic, so of one score each."""
        rows = rivals.Rows(self.train_store.labels, self.training, self.selection, self.score)
        progress("baselines", 0, 4)
        fitted = [rivals.fit_majority(rows, len(dev_rows))]
        if len(np.unique(rows.labels[self.training])) > 1:
            fitted.append(rivals.fit_tfidf(rows, train_rows.texts, dev_rows.texts))
            progress("baselines", 2, 4)
            start = time.perf_counter()
            means = rivals.compute_token_means(self.train_store), rivals.compute_token_means(self.dev_store)
            shared = time.perf_counter() - start
            kept = self.train_store.num_hidden_states
            whole = self.train_store.spec.layers == tuple(range(encoder.num_hidden_states))
            names = ("last layer mean", "all layers mean") if whole else ("last kept layer mean", "kept layers mean")
            for name, layers in zip(names, ([kept - 1], range(kept)), strict=True):
                baseline = rivals.fit_layers(f"{name} + logistic regression", rows, means, layers)
                fitted.append(dataclasses.replace(baseline, seconds=baseline.seconds + shared))
        progress("baselines", 4, 4)
        table = {}
        for baseline in fitted:
            scores = [self.score(self.dev_store.labels, baseline.predictions)]
            table[baseline.name] = {
                "scores": scores,
                **summarize(scores),
                "selection_score": baseline.selection_score,
                "trainable_parameters": baseline.trainable_parameters,
                "seconds": baseline.seconds,
            }
        return table


def _build_head(head: HeadConfig, states: StoreSpec, task: TaskSpec, name: str | None = None):
    return build_head(
        head,
        num_hidden_states=states.num_hidden_states,
        hidden_dim=states.hidden_dim,
        num_outputs=task.num_outputs,
        num_tokens=1 if states.tokens == "cls" else None,
        name=name,
    )


def _check_choices(head: HeadConfig, strategy: str, states: StoreSpec, task: TaskSpec) -> None:
    """Raises what is wrong with a head or a strategy before the encoder has run for hours."""
    get_strategy(strategy)
    _build_head(head, states, task)


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
    if encoder == "minilm" or encoder.startswith("hf://"):
        return encoder
    return os.path.abspath(os.path.expanduser(encoder))


def _write(folder: Path, results: dict, asked: dict, fitted: list[FitResult], logits, dev_rows: Examples, export: bool):
    """The run's folder; results.json last."""
    seeds = results["seeds"]
    best = int(np.argmax(results["selection_scores"]))
    (folder / "heads").mkdir()
    for seed, result in zip(seeds, fitted, strict=True):
        result.head.save(folder / "heads" / f"seed-{seed}.keras")
    _write_predictions(folder / "predictions.csv", asked["label_names"], seeds, logits, best, dev_rows)
    curves = (
        (seed, epoch, loss, score)
        for seed, result in zip(seeds, fitted, strict=True)
        for epoch, (loss, score) in enumerate(
            zip(result.history["loss"], result.history["selection_score"], strict=True), start=1
        )
    )
    write_csv(folder / "curves.csv", ("seed", "epoch", "loss", "selection_score"), curves)
    if asked["head"]["pooling"] == "learned":
        weights = np.stack([result.head.get_layer("layer_pooling").layer_weights() for result in fitted])
        names = (["pooler"] if asked["pooler"] else []) + [str(layer) for layer in asked["layers"]]
        plot_layer_weights(folder / "layer_weights.png", weights, names)
    if export:
        fitted[best].head.export(folder / "saved_model", verbose=False)
    write_json(folder / CONFIG, asked)
    write_json(folder / RESULTS, results)


def _write_predictions(file: Path, names: list[str], seeds: list[int], logits, best: int, rows: Examples):
    chosen = [part.argmax(axis=1) for part in logits]
    probabilities = compute_softmax(logits[best])
    pairs = [] if rows.text_pairs is None else ["text_pair"]
    header = ["id", "text", *pairs, *rows.columns, "label", "prediction"]
    header += [f"p_{name}" for name in names] + [f"prediction_seed_{seed}" for seed in seeds]

    def lines():
        for row in range(len(rows)):
            pair = [] if rows.text_pairs is None else [rows.text_pairs[row]]
            columns = [column[row] for column in rows.columns.values()]
            label = names[rows.labels[row]] if rows.labels[row] >= 0 else ""
            yield [
                *(rows.ids[row], rows.texts[row], *pair, *columns, label, names[chosen[best][row]]),
                *(f"{probability:.6f}" for probability in probabilities[row]),
                *(names[part[row]] for part in chosen),
            ]

    write_csv(file, header, lines())
