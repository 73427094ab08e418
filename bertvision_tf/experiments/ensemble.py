"""Finished runs as one model: their chosen heads' probabilities, combined element by element."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RunError
from ..kinds import AnswerGold, AnswerPredictions, Gold
from ..paths import read_path
from ..progress import Progress, ignore
from ..runs import Run, name_runs, write_run, writing_to
from ..runs.folder import CONFIG, MEMBERS, RESULTS, write_json
from ..runs.open import describe_versions, read_folder
from ..store import Store
from ..tasks import TASKS, Examples, TaskSpec, get_task
from ..tasks.selection import SELECTION, fingerprint_rows, take_selection
from ..training import predict_logits
from ..training.draw import split_task
from ..training.gold import build_gold
from ..training.measured import read_in_order
from .predictions import write_predictions


@dataclasses.dataclass(frozen=True)
class EnsembleScore:
    """What one run, or all of them in one mode, came to.

    Attributes:
        name: the run's folder, with as much of its path as tells it from the others', or the mode.
        selection_score: main metric on the selection rows.
        metrics: all metrics on dev, the main one among them.
        weights: what each run counts; none of a single run, and none where all count alike.
        threshold: of questions, up to which null odds are answered; the selection rows chose it.
    """

    name: str
    selection_score: float
    metrics: dict[str, float]
    weights: tuple[float, ...] = ()
    threshold: float | None = None


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """What `ensemble_runs` found.

    Attributes:
        path: its folder.
        metric: the task's main one.
        members: each run alone.
        modes: all of them together; the selection rows chose the first of those with the best score there.
    """

    path: Path
    metric: str
    members: list[EnsembleScore]
    modes: list[EnsembleScore]

    @property
    def chosen(self) -> EnsembleScore:
        """The mode that the selection rows chose."""
        return max(self.modes, key=lambda one: one.selection_score)


def ensemble_runs(
    runs: Sequence[Run],
    output: str | Path | None = None,
    *,
    task: str | TaskSpec | None = None,
    data_dir: str | Path | None = None,
    progress: Progress = ignore,
) -> Ensemble:
    """Combines the heads that the selection rows chose in each of some runs.

    Each mode is scored on the selection rows, which also fit the weights of "weighted", and on dev; the one that is
    best on the selection rows gives the predictions. Scores of a regression have means alone.

    Args:
        runs: finished ones on the same rows of one task, with their states still there.
        output: a folder for results.json and the predictions, in the place of an ensemble that is there. By default
            runs/TASK-ensemble, where only one of the same runs is replaced.
        task: of the runs, where it is a table of the user's.
        data_dir: as `train`'s; by default the first run's.
        progress: as `train`'s.

    Raises:
        RunError: there are fewer than two, they are on different rows, they read texts in other tokens, or a run is at
            `output`.
        StoreError: the states of one are gone.

    Source: BERTVision, 2022, arXiv 2202.12210, for the element-wise maximum.
    """
    if len(runs) < 2 or len({run.path.resolve() for run in runs}) < len(runs):
        raise RunError("an ensemble needs two runs or more, each once.")
    for run in runs[1:]:
        for what in ("task", "kind", "examples", "selection_rows", "label_names"):
            if run.config.get(what) != runs[0].config.get(what):
                raise RunError(f"{run.path} and {runs[0].path} are runs on different rows: their {what} differ.")
    config = runs[0].config
    if task is None and config["task"] not in TASKS:
        raise RunError(f"{runs[0].path} is a run on a table of yours, {config['task']}: name the table too.")
    task = get_task(task or config["task"])
    splits = runs[0].load_rows(task, data_dir or config.get("data_dir"))
    selection = split_task(task, splits[0])[1]
    if fingerprint_rows(selection) != config.get("selection_rows"):
        raise RunError(
            f"{runs[0].path} has other selection rows than are set aside of {task.name} now: train it again."
        )
    named, output = output is not None, read_path(output or f"runs/{task.name}-ensemble").resolve()
    _check_output(output, named, runs)
    with write_run(output) as folder:
        stores = [run.open_stores(run.best_seed) for run in runs]
        selected, gold = golds = _build_golds(task, splits, stores[0], selection)
        for run, own in zip(runs[1:], stores[1:], strict=True):
            for one, other in zip(golds, _build_golds(task, splits, own, selection), strict=True):
                _check_tokens(run, runs[0], one, other)
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        for place, (run, own) in enumerate(zip(runs, stores, strict=True)):
            progress("predict", place, len(runs))
            head = run.load_head()
            asked = read_in_order(own[0], _place(own[0], selection))
            parts.append((predict_logits(head, asked), predict_logits(head, read_in_order(own[1]))))
        progress("predict", len(runs), len(runs))
        names = name_runs(runs)
        members = [_score(name, selected, gold, *pair)[0] for name, pair in zip(names, parts, strict=True)]
        on_selection, on_dev = zip(*parts, strict=True)
        modes, found = [], {}
        for mode in task.kind.modes:
            weights = selected.fit_weights(on_selection) if mode == "weighted" else None
            logits = [one.combine(part, mode, weights) for one, part in ((selected, on_selection), (gold, on_dev))]
            score, predictions = _score(mode, selected, gold, *logits)
            if weights is not None:
                score = dataclasses.replace(score, weights=tuple(weights.tolist()))
            modes.append(score)
            found[mode] = predictions, logits[1]
        ensemble = Ensemble(output, task.main_metric, members, modes)
        with writing_to(output):
            write_predictions(folder, "", splits[1], gold, *found[ensemble.chosen.name], {})
            write_json(folder / CONFIG, {MEMBERS: _list_paths(runs), "task": task.name})
            write_json(folder / RESULTS, _describe(ensemble, task, splits))
    return ensemble


def _list_paths(runs: Sequence[Run]) -> list[str]:
    return [str(run.path.resolve()) for run in runs]


def _check_output(output: Path, named: bool, runs: Sequence[Run]) -> None:
    """Raises RunError where an ensemble would take the place of a run, or unasked that of another ensemble."""
    if not (output / RESULTS).is_file():
        return
    there = read_folder(output)[1].get(MEMBERS)
    if there is None:
        raise RunError(f"{output} holds a run: name another --output.")
    if there != _list_paths(runs) and not named:
        raise RunError(f"{output} holds an ensemble of other runs: name another --output, or this one to replace it.")


def _build_golds(
    task: TaskSpec, splits: Sequence[Examples], stores: Sequence[Store], selection: np.ndarray
) -> tuple[Gold, Gold]:
    """Of the selection rows and of dev."""
    rows = _place(stores[0], selection)
    train = splits[0] if rows is selection else take_selection(splits[0], selection)
    return build_gold(task, train, stores[0], rows), build_gold(task, splits[1], stores[1])


def _place(store: Store, selection: np.ndarray) -> np.ndarray:
    """Where the selection rows lie in a store: of train, or of them alone."""
    return np.arange(len(selection)) if store.spec.split == SELECTION else selection


def _check_tokens(run: Run, first: Run, one: Gold, other: Gold) -> None:
    """Raises RunError where two runs' windows of contexts are not the same, token by token."""
    if isinstance(one, AnswerGold) and isinstance(other, AnswerGold) and not one.has_tokens_of(other):
        raise RunError(f"{run.path} and {first.path} read contexts in other tokens: their spans cannot be combined.")


def _score(
    name: str, selected: Gold, gold: Gold, selection_logits: np.ndarray, logits: np.ndarray
) -> tuple[EnsembleScore, Any]:
    chosen = selected.read(selection_logits)
    found = gold.read(logits, chosen)
    threshold = chosen.threshold if isinstance(chosen, AnswerPredictions) else None
    return EnsembleScore(name, selected.score(chosen), gold.describe(found), threshold=threshold), found


def _describe(ensemble: Ensemble, task: TaskSpec, splits: Sequence[Examples]) -> dict[str, Any]:
    return {
        "task": task.name,
        "split": "dev",
        "metric": task.main_metric,
        "rows": {"dev": len(splits[1])},
        "mode": ensemble.chosen.name,
        "mean": ensemble.chosen.metrics[task.main_metric],
        "members": [dataclasses.asdict(one) for one in ensemble.members],
        "modes": [dataclasses.asdict(one) for one in ensemble.modes],
        "versions": describe_versions(),
    }
