"""A search for the best head on states that are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..encoders import AUTO, Encoder, load_encoder
from ..errors import RunError
from ..extraction import extract_once
from ..heads import HeadConfig
from ..paths import read_path
from ..progress import Progress, ignore
from ..random_states import keeps_random_states
from ..settings import RunSettings, takes_options
from ..store import Store, checking, read_folder
from ..tasks import Examples, TaskSpec, get_task
from ..tasks.doubts import load_rows
from ..tasks.selection import fingerprint_rows, split_folds
from ..training import FitConfig
from ..training.draw import Draw, check_rows, split_task
from ..training.encoder_trial import EncoderTrial, check_folds
from ..training.trial import Trial
from .hypermodel import SCORE, HeadHyperModel
from .space import FIT, HeadSpace
from .trials import BEST, PROJECT, TrialScore, describe_trial, open_folder, write_trials
from .tuner import TUNERS, ChiefEnded, HeadTuner, build_oracle, is_shared, is_worker, keeping_quiet, reaching_chief

SEARCHED = (  # options of a run that a search takes
    *("data_dir", "limit", "train_share", "dtype", "engine", "max_length", "tokens", "pooler", "layers", "codec"),
    *("fine_tune_epochs", "fine_tune", "fit", "strategy", "store", "output"),
)


@dataclasses.dataclass(frozen=True)
class Search:
    """What `search` found.

    Attributes:
        path: its folder, with best.json for `train --head`, and trials.csv.
        metric: the task's main one.
        head: the best, or the first of the best.
        fit: how it was trained.
        score: of it, on the selection rows.
        trials: all, in the order in which they began.
    """

    path: Path
    metric: str
    head: HeadConfig
    fit: FitConfig
    score: float
    trials: list[TrialScore]


@takes_options(*SEARCHED)
@keeps_random_states
def search(
    task: str | TaskSpec,
    encoder: str | Encoder = "minilm",
    *,
    tuner: str = "hyperband",
    trials: int = 30,
    seed: int = 0,
    folds: int | None = None,
    only: Mapping[str, Sequence[Any]] | None = None,
    settings: RunSettings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Search | None:
    """Searches the head that scores best on the selection rows; dev is not read.

    A search that was stopped goes on where it was. Of several processes with Keras Tuner's variables in their
    environment (KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT) the chief hands out the trials, and
    the workers run them on the same store.

    Args:
        task, encoder: as `train`'s.
        tuner: "hyperband", "random", "bayesian" or "grid".
        trials: at most.
        seed: of the choices, and of each head.
        folds: how many parts of train take turns as selection rows; with None these alone score.
        only: fewer or other values by name, of those that `HeadSpace` chooses among.
        settings, **options: as `train`'s, but for what is chosen. `fit` has fields of FitConfig that are not chosen;
            `train_share` is that of the training rows on which every trial is trained, and `train` then takes all;
            `output` is the search's folder, by default runs/search-TASK; one encoder, of this seed, is fine-tuned.
        progress: as `train`'s.

    Returns:
        what was found; None of a worker, whose chief has it.

    Raises:
        RunError: every trial failed, or `output` holds something else.
        BertvisionError: as `train`.

    Example:
        >>> found = search("rte", trials=60, data_dir="glue")
        >>> run = train("rte", head=found.head, fit=found.fit, data_dir="glue")
    """
    settings = (settings or RunSettings()).change(**options)
    wanted, epochs = settings.states, settings.tuning.fine_tune_epochs
    root, task = read_folder(settings.places.store), get_task(task)
    _check_search(settings, tuner, trials, folds)
    given = _read_fit(settings.head.fit)
    config = FitConfig(**given)
    fixed = {name: [value] for name, value in given.items() if name in FIT}
    space = HeadSpace(task.kind, task.text_pair is not None, wanted.tokens, dict(only or {}) | fixed)
    space.check()
    progress = progress or ignore
    read = settings.rows
    rows = load_rows(task, "train", read.data_dir, read.limit, read.negatives)
    encoder = load_encoder(encoder, wanted.dtype, wanted.engine) if isinstance(encoder, str) else encoder
    roles, states = split_task(task, rows), wanted.choose(encoder, task.max_length)
    tuning = _build_tuning(settings, task, encoder, rows, roles, states["max_length"], progress)
    check_rows(task, tuning.draw, [seed])
    setting = {
        "task": task.name,
        "examples": rows.fingerprint,
        "selection_rows": fingerprint_rows(roles[1]),
        "encoder_fingerprint": encoder.fingerprint,
        **states,
        "tuner": tuner,
        "seed": seed,
        "folds": folds,
        "only": {name: list(values) for name, values in space.only.items()},
        "fit": given,
        "train_share": settings.rows.train_share,
        "fine_tune_epochs": epochs,
        "fine_tune": dataclasses.asdict(tuning.config) if epochs else None,
    }
    output = read_path(settings.places.output or f"runs/search-{task.name}").resolve()
    with open_folder(output, setting), checking(settings.places.check):
        if epochs:
            encoder = tuning.fine_tune(seed, epochs).encoder
        store = extract_once(encoder, rows, root, progress, **states)
        places = _build_places(tuning, store, roles, folds, config)
        return _run_trials(HeadHyperModel(space, places, given, seed), tuner, trials, output, progress)


def _check_search(settings: RunSettings, tuner: str, trials: int, folds: int | None) -> None:
    """Raises RunError where a search cannot be made so."""
    if tuner not in TUNERS:
        raise RunError(f"`tuner` needs one of {', '.join(TUNERS)}, got {tuner!r}.")
    if trials < 1 or (folds is not None and folds < 2):
        raise RunError("a search needs 1 trial or more, and 2 folds or more if any.")
    check_folds(folds, settings.tuning.fine_tune_epochs)
    if settings.tuning.fine_tune_from is not None:
        raise RunError("a search trains heads of its own: leave `fine_tune_from` out.")
    if settings.states.dtype == AUTO and is_shared():
        raise RunError("`dtype` auto could differ from process to process: name float32 or bfloat16.")
    if settings.states.auto:
        raise RunError(f"`layers` of a search needs indices or none, got {settings.states.layers!r}.")


def _read_fit(fit: FitConfig | Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of FitConfig that are given.

    Raises:
        RunError: there is no such field.
    """
    given = dataclasses.asdict(fit) if isinstance(fit, FitConfig) else dict(fit or {})
    unknown = set(given) - {field.name for field in dataclasses.fields(FitConfig)}
    if unknown:
        raise RunError(f"`fit` has no {', '.join(sorted(unknown))}.")
    return given


def _build_tuning(
    settings: RunSettings,
    task: TaskSpec,
    encoder: Encoder,
    rows: Examples,
    roles: tuple[np.ndarray, np.ndarray],
    max_length: int,
    progress: Progress,
) -> EncoderTrial:
    """The encoder, its rows, and how it is fine-tuned where it is."""
    fine_tune, draw = settings.tuning.choose(task), Draw(rows.labels, roles[0], settings.rows.train_share)
    return EncoderTrial(
        *(encoder, task, [rows], roles[1], draw, read_folder(settings.places.store), max_length, fine_tune),
        strategy=settings.head.strategy,
        progress=progress,
    )


def _build_places(
    tuning: EncoderTrial, store: Store, roles: tuple[np.ndarray, np.ndarray], folds: int | None, config: FitConfig
) -> list[Trial]:
    """Where a head is scored: on the selection rows, or on each of some folds of train."""
    rows, share = tuning.splits[0], tuning.draw.share
    measured: dict[str, Any] = {}  # of the store, which all folds and heads read
    return [
        Trial(
            *(tuning.task, HeadConfig(), [store], [rows], Draw(rows.labels, training, share), selection),
            config=config,
            measured=measured,
            strategy=tuning.strategy,
            progress=tuning.progress,
        )
        for training, selection in ([roles] if folds is None else split_folds(rows.labels, folds, rows.fold_groups))
    ]


def _run_trials(model: HeadHyperModel, tuner: str, trials: int, output: Path, progress: Progress) -> Search | None:
    metric = model.trials[0].task.main_metric

    def report(oracle: Any) -> None:
        _collect(oracle, model, output, metric)
        progress("trials", len(oracle.end_order), trials)

    oracle = build_oracle(tuner, trials, model.epochs, model.seed, report)

    def run() -> None:
        with keeping_quiet():
            searcher = HeadTuner(oracle, model, str(output), PROJECT)
            progress("trials", len(oracle.end_order), trials)
            searcher.search()

    if is_worker():
        try:
            with reaching_chief():
                run()
        except ChiefEnded:
            if not (output / BEST).is_file():  # it had not all that it asked for
                raise
        return None
    run()
    found = _collect(oracle, model, output, metric)
    if isinstance(found, str):
        raise RunError(f"every trial of {output} failed; the first: {found}")
    return found


def _collect(oracle: Any, model: HeadHyperModel, output: Path, metric: str) -> Search | str:
    """Writes down all trials so far, and returns them; where none has a score, why the first has none."""
    begun = [oracle.trials[name] for name in oracle.start_order]
    trials = [describe_trial(one) for one in begun if one.status != "RUNNING"]
    scores = {one.name: one.score for one in trials if one.score is not None}
    if not scores:
        write_trials(output, trials, None)
        return trials[0].reason if trials else "none was run."
    best = max(scores, key=lambda name: scores[name])
    head, fit = model.choose(oracle.trials[best].hyperparameters.copy())
    content = {"head": head.to_dict(), "fit": dataclasses.asdict(fit), SCORE: scores[best], "trial": best}
    write_trials(output, trials, content)
    return Search(output, metric, head, fit, scores[best], trials)
