"""One run, from a task to results.json: the story of the whole library.

Text is tokenized, an encoder, frozen or fine-tuned for a fraction of an epoch, runs over it once, every hidden state is
kept in a store, and a very small head is trained on these images, several times with several seeds. Selection rows, set
aside from train, choose each head's epoch and the head that predicts; dev is read once, at the end.

Over 300 lines, since every option is spelt out and checked before anything is spent.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .cost import Cost
from .encoders import Encoder, load_encoder
from .errors import RunError
from .extraction import extract_once, plan_spec
from .heads import HeadConfig, get_preset
from .paths import read_path
from .progress import Progress, ignore
from .reports.table import name_head
from .runs import Run, find_other_setting, load_run, write_run, writing_to
from .runs.contents import write_contents
from .runs.describe import (
    describe_fine_tuning,
    describe_layers,
    describe_rivals,
    describe_scores,
    describe_significance,
    fit_simple_rivals,
    predict_fine_tuned,
)
from .store import StoreSpec
from .tasks import TaskKind, TaskSpec, get_task
from .tasks.doubts import load_rows
from .tasks.selection import fingerprint_rows
from .training import FineTuneConfig, FitConfig, Snapshot, get_strategy
from .training.baselines import Baseline
from .training.draw import Draw, check_draw
from .training.encoder_trial import EncoderTrial, check_rivals
from .training.layer_use import LayerChoice, choose_layers
from .training.random_states import keep_random_states
from .training.trial import Trial, build_task_head, draw_sample, split_task

DEFAULT_HEAD = "standardized_adapter_64_shared"
DEFAULT_PAIR_HEAD = "comparison_adapter_64_similarity_8"
DEFAULT_SPAN_HEAD = "cnn_1x5_64"
DEFAULT_CODEC = "int8"
LAYER_ROWS = 10_000  # of train, on which layers are chosen


@keep_random_states()
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
    train_share: float = 1.0,
    shots: int | None = None,
    balance_classes: bool = False,
    max_length: int | None = None,
    tokens: str = "all",
    pooler: bool = False,
    layers: Sequence[int] | str | None = None,
    codec: str = DEFAULT_CODEC,
    fine_tune_epochs: float = 0.0,
    fine_tune_seeds: int | None = None,
    fine_tune: FineTuneConfig | Mapping[str, Any] | None = None,
    fit: FitConfig | Mapping[str, Any] | None = None,
    strategy: str = "one_device",
    baselines: bool = True,
    baseline_parts: Sequence[str] = (),
    baseline_epochs: Sequence[float] = (1, 2, 3),
    export: bool = False,
    tensorboard: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Trains a head on every hidden state of an encoder, frozen or a little fine-tuned, and scores it on dev.

    Args:
        task: a name of TASKS, or a TaskSpec.
        encoder: what `load_encoder` takes, or an Encoder.
        dtype: "float32" or "bfloat16", where `encoder` is a name.
        head: a preset's name or a HeadConfig; with None the default one for single texts, for pairs, or for questions
            on a context.
        seeds: how many heads are trained, from seed 0, or the seeds themselves.
        store: the root of all stores; states that are there already are found again.
        output: the run's folder; a run that is there is replaced. By default runs/TASK-HEAD, where only a run of the
            same settings is.
        data_dir: the folder of GLUE's official download, or of SQuAD's files; tensorflow_datasets with None.
        limit: only the first rows of train and of dev.
        train_share: train on this share of the training rows, drawn by the seed; the selection rows stay.
        shots: train on this many rows of each class, drawn by the seed; the selection rows stay.
        balance_classes: let every class count the same in the loss.
        max_length: tokens a text; the task's own with None.
        tokens, pooler, layers, codec: see `extract`; layers="auto" keeps the few that matter, found on a sample of
            train before the rest is extracted.
        fine_tune_epochs: how long the encoder is fine-tuned on the training rows first: 0 for not at all. Snapshots
            lie under `store` and are found again; more epochs go on from fewer.
        fine_tune_seeds: how many encoders are fine-tuned; the heads' seeds take them in turn. One a seed with None.
        fine_tune: how the encoder is fine-tuned; or only what differs from FineTuneConfig.for_task's.
        fit: how a head is trained; or only what differs from FitConfig.for_head's.
        strategy: "one_device" or "mirrored".
        baselines: whether simple rivals are fitted on the same rows.
        baseline_parts: the encoder's own head as a rival, fine-tuned with these parts, as FineTuneConfig names them:
            "all" for full fine-tuning, "lora_8"; each after that of `baseline_epochs` which scores best on the
            selection rows.
        baseline_epochs: to choose from.
        export: whether the chosen head is saved as a SavedModel too.
        tensorboard: a folder that gets logs of the heads' losses and selection scores for TensorBoard, a folder a seed,
            in the place of those that are there; none with None.
        resume: whether a finished run of the very same settings and versions at `output` is found again, not run.
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
    head = head or _choose_head(task, tokens)
    config = get_preset(head) if isinstance(head, str) else head
    name = head if isinstance(head, str) else f"custom-{hashlib.sha256(config.to_json().encode()).hexdigest()[:8]}"
    check_draw(task, train_share, shots)
    if balance_classes and task.kind is not TaskKind.CLASSIFICATION:
        raise RunError(f"`balance_classes` needs a task of single classes, {task.name} is a {task.kind}.")
    if isinstance(layers, str) and layers != "auto":
        raise RunError(f"`layers` needs indices, 'auto' or none, got {layers!r}.")
    auto = layers == "auto"
    if auto and pooler:
        raise RunError("`layers='auto'` chooses layers, and the pooler's output is none: leave `pooler` out.")
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds or len(set(seeds)) != len(seeds):
        raise RunError("`seeds` needs one seed or more, each once.")
    if fine_tune_epochs < 0:
        raise RunError(f"`fine_tune_epochs` needs 0 or more, got {fine_tune_epochs}.")
    drawn = shots is not None or train_share < 1
    if fine_tune_seeds is not None and (drawn or not 1 <= fine_tune_seeds <= len(seeds)):
        raise RunError(
            "`fine_tune_seeds` needs 1 to as many as `seeds`, and no `shots` or `train_share`, whose rows each seed "
            "draws anew."
        )
    check_rivals(baseline_parts, baseline_epochs)
    if not isinstance(fine_tune, FineTuneConfig):
        fine_tune = FineTuneConfig.for_task(task, **(fine_tune or {}))
    tuned_rivals = [fine_tune.for_parts(parts) for parts in baseline_parts]
    progress = progress or ignore
    usual = "-".join([f"runs/{task.name}-{name}", *name_folders(fine_tune_epochs, train_share, shots)])
    named, output = output is not None, read_path(output or usual).resolve()
    store = read_path(store)
    logs = None if tensorboard is None else read_path(tensorboard)
    if store.resolve().is_relative_to(output):
        raise RunError(f"the states at {store} cannot lie in the run's folder {output}, which is replaced as a whole.")
    if logs is not None and logs.resolve().is_relative_to(output):
        raise RunError(f"the logs at {logs} cannot lie in the run's folder {output}, which is replaced as a whole.")
    with write_run(output) as folder:
        splits = [load_rows(task, split, data_dir, limit) for split in ("train", *task.dev_names)]
        encoder = load_encoder(encoder, dtype) if isinstance(encoder, str) else encoder
        states: dict[str, Any] = {
            "max_length": encoder.choose_length(max_length, task.max_length),
            "tokens": tokens,
            "pooler": pooler,
            "layers": None if auto else layers,
        }
        if not isinstance(fit, FitConfig):
            fit = FitConfig.for_head(config, **(fit or {}))
        spec = plan_spec(encoder, splits[0], codec=codec, **states)
        _check_choices(config, fit, strategy, spec, task)
        roles = split_task(task, splits[0])
        asked = {
            "task": task.name,
            "examples": {rows.split: rows.fingerprint for rows in splits},
            "selection_rows": fingerprint_rows(roles[1]),
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
            "choose_layers": auto,
            "codec": codec,
            "limit": limit,
            "train_share": train_share,
            "shots": shots,
            "balance_classes": balance_classes,
            "baselines": baselines,
            "baseline_parts": list(baseline_parts),
            "baseline_epochs": list(baseline_epochs) if baseline_parts else [],
            "fine_tune_epochs": fine_tune_epochs,
            "fine_tune_seeds": fine_tune_seeds,
            "fine_tune": dataclasses.asdict(fine_tune) if fine_tune_epochs or baseline_parts else None,
            "fit": dataclasses.asdict(fit),
            "strategy": strategy,
        }
        other = find_other_setting(output, {key: value for key, value in asked.items() if key != "layers" or not auto})
        if resume and other == "" and (not export or (output / "saved_model").is_dir()):
            return load_run(output)
        if other and not named:
            raise RunError(f"{output} holds a run with {other}: name another --output, or this one to replace it.")

        draw = Draw(splits[0].labels, roles[0], train_share, shots)
        common: dict[str, Any] = {"balance_classes": balance_classes, "strategy": strategy, "progress": progress}
        tuning = EncoderTrial(encoder, task, splits, roles[1], draw, store, states["max_length"], fine_tune, **common)
        if logs is not None:
            with writing_to(logs):
                logs.mkdir(parents=True, exist_ok=True)
        new_trial = functools.partial(Trial, task, config, config=fit, logs=logs, **common)
        snapshots: dict[int, Snapshot] = {}
        if fine_tune_epochs:
            snapshots = tuning.fine_tune_each(seeds, fine_tune_seeds, fine_tune_epochs)
        tuned = list(dict.fromkeys(snapshots.values()))
        asked["snapshots"] = {
            str(seed): {"path": str(snapshot.path.resolve()), "fingerprint": snapshot.encoder.fingerprint}
            for seed, snapshot in snapshots.items()
        }
        asked["data_dir"] = data_dir and str(read_path(data_dir).resolve())

        encoders = [snapshot.encoder for snapshot in tuned] or [encoder]
        choice: LayerChoice | None = None
        with Cost() as choosing:
            if auto:
                places, sampled = draw_sample(roles, LAYER_ROWS)
                sample = splits[0].select(places)
                probed = extract_once(encoders[0], sample, store, progress, codec=codec, **states)
                own_draw = Draw(sample.labels, sampled[0], train_share, shots)
                choice = choose_layers(
                    new_trial(stores=[probed], examples=[sample], draw=own_draw, selection=sampled[1])
                )
                states["layers"] = asked["layers"] = list(choice.kept)
        with Cost() as extracting:
            stores = [
                [extract_once(one, rows, store, progress, codec=codec, **states) for rows in splits] for one in encoders
            ]
        with Cost() as training:
            distinct = [new_trial(stores=own, examples=splits, draw=draw, selection=roles[1]) for own in stores]
            trials = [distinct[place % len(distinct)] for place in range(len(seeds))]
            outcomes = [trial.run(seed) for trial, seed in zip(trials, seeds, strict=True)]

        trial, gold = trials[0], trials[0].dev_golds[0]
        rivals: list[Baseline] = list(fit_simple_rivals(trial, encoder, splits, seeds)) if baselines else []
        for rival_config in tuned_rivals:
            rival = dataclasses.replace(tuning, config=rival_config)
            rivals += [rival.fit_best_epoch(seed, baseline_epochs) for seed in seeds[:fine_tune_seeds]]
        own_heads, ensembles = predict_fine_tuned(trials, tuned, splits, outcomes) if tuned else ([], [])
        chosen = max(outcomes, key=lambda outcome: outcome.fit.selection_score).predictions[0]
        results = {
            **describe_scores(trials, encoder, name, seeds, outcomes),
            "fine_tune": describe_fine_tuning(gold, tuned, own_heads, ensembles) if tuned else None,
            "seconds": {
                "fine_tune": sum(snapshot.facts["seconds"] for snapshot in tuned),
                **({"choose_layers": choosing.seconds} if auto else {}),
                "extract": extracting.seconds,
                "train": training.seconds,
            },
            "memory_bytes": {"extract": extracting.memory_bytes, "train": training.memory_bytes},
            "baselines": describe_rivals(gold, rivals),
            "significance": describe_significance(
                gold, (name_head(name, fine_tune_epochs), chosen), [*rivals, *own_heads, *ensembles]
            ),
            "layers": describe_layers(trials, outcomes, choice),
        }
        if results["fine_tune"]:
            results["encoder_scores"] = results["fine_tune"]["scores"]
        results["rows"]["skipped"] = sum(rows.skipped for rows in splits)
        with writing_to(output):
            write_contents(
                folder, task, results, asked, outcomes, list(zip(splits[1:], trial.dev_golds, strict=True)), export
            )
    return load_run(output)


def _choose_head(task: TaskSpec, tokens: str) -> str:
    """The default head."""
    if task.kind is TaskKind.SPAN:
        return DEFAULT_SPAN_HEAD
    return DEFAULT_HEAD if task.text_pair is None or tokens == "cls" else DEFAULT_PAIR_HEAD


def _check_choices(head: HeadConfig, fit: FitConfig, strategy: str, states: StoreSpec, task: TaskSpec) -> None:
    """Raises what is wrong with a head or a strategy before the encoder has run for hours."""
    get_strategy(strategy)
    if task.kind is TaskKind.SPAN and fit.mixup:
        raise RunError(f"`mixup` mixes labels, and {task.name} asks for answers in a text: leave it out.")
    build_task_head(head, states, task)
    if head.comparison and task.text_pair is None:
        raise RunError(f"a comparison head reads pairs of texts, {task.name} has single ones: choose another head.")


def name_folders(fine_tune_epochs: float, train_share: float, shots: int | None) -> list[str]:
    """What tells a run from others of its task and head, as parts of its folder's name."""
    names = [f"shots-{shots}"] if shots else [f"share-{train_share:g}"] if train_share < 1 else []
    return names + ([f"epochs-{fine_tune_epochs:g}"] if fine_tune_epochs else [])


def _absolute(encoder: str) -> str:
    """A folder's full path, so that the run can be used from another folder; other names as they are."""
    folder = os.path.abspath(os.path.expanduser(encoder))
    return folder if os.path.isdir(folder) and encoder != "minilm" else encoder
