"""What is settled before a run's encoder has run: what is asked is checked, and the rows and the encoder are read.

Over 300 lines, since all that a run is asked goes through one door.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..encoders import Encoder, load_encoder
from ..errors import RunError
from ..extraction import plan_spec
from ..heads import HeadConfig, get_preset, read_head
from ..notes import note
from ..paths import read_path
from ..progress import Progress
from ..runs import writing_to
from ..settings import RunSettings
from ..store import NO_STORE, CloudPath, Place, Store, StoreSpec, find_place
from ..tasks import Examples, TaskSpec, get_task, task_from_table
from ..tasks.doubts import load_rows
from ..tasks.selection import split_folds, take_selection
from ..training import FineTuneConfig, FitConfig, get_strategy
from ..training.draw import Draw, check_draw, check_rows, split_task
from ..training.encoder_trial import EncoderTrial, check_folds, check_rivals
from ..training.head_choice import HeadChoice
from ..training.linear import check_features
from ..training.top_tuning import count_top
from ..training.trial import Trial, build_task_head
from .from_run import Beginning, check_same, complete, open_beginning
from .run_config import describe_settings

DEFAULT_HEAD = "standardized_adapter_64_shared"
DEFAULT_PAIR_HEAD = "comparison_adapter_64_similarity_8"
DEFAULT_SPAN_HEAD = "cnn_1x5_64"
LINEAR_HEADS = {  # as good as a default head on some tasks, and fitted in seconds
    DEFAULT_HEAD: "linear_all_layers",
    DEFAULT_PAIR_HEAD: "linear_comparison",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is asked, checked before anything is read.

    Attributes:
        settings: all options.
        task, head: what they name.
        head_name: the preset's, or "custom-" and a fingerprint.
        candidates: names of the heads of which the selection rows choose one, that which is taken of equals first; none
            where they choose none. `head` is then the default one.
        fit: how it is trained: a FitConfig, or what differs from its usual one.
        fine_tune: how the encoder is fine-tuned, if it is.
        rival: how encoders are that are rivals, but for their parts and rates.
        store, output, logs: folders; no states are kept, or no logs, with None.
        beginning: the run whose heads this one begins with, if it does.
    """

    settings: RunSettings
    task: TaskSpec
    head: HeadConfig
    head_name: str
    fit: FitConfig | Mapping[str, Any]
    fine_tune: FineTuneConfig
    rival: FineTuneConfig
    store: Place | None
    output: Path
    logs: Path | None
    beginning: Beginning | None = None
    candidates: tuple[str, ...] = ()

    @property
    def snapshots(self) -> Path:
        """The folder of fine-tuned encoders."""
        assert isinstance(self.store, Path)  # as is checked where there are some
        return self.store


def read_task(settings: RunSettings) -> TaskSpec:
    """The task that settings name: of a table of the user's, or of TASKS."""
    return get_task(settings.task) if settings.table is None else task_from_table(**settings.table.to_dict())


def plan_run(settings: RunSettings, task: str | TaskSpec | None) -> Plan:
    """Checks what is asked.

    Args:
        settings: all options.
        task: instead of the one that the settings name.

    Raises:
        BertvisionError: options do not go together, or not with the task.
    """
    task = read_task(settings) if task is None else get_task(task)
    rows, tuning, rivals = settings.rows, settings.tuning, settings.rivals
    check_draw(task, rows.train_share, rows.shots)
    if rows.balance_classes and not task.kind.single:
        raise RunError(f"`balance_classes` needs a task of single classes, {task.name} is a {task.kind}.")
    check_rivals(rivals.baseline_parts, rivals.baseline_epochs, rivals.baseline_rates)
    rival = tuning.choose(task)
    beginning = open_beginning(settings, task)
    if beginning is not None:
        _check_heads(beginning, settings, task)
        settings = complete(settings)
        tuning = settings.tuning
    head, name, fit = _choose_head(settings, task) if beginning is None else (beginning.head, beginning.name, {})
    check_predictor(settings)
    settings = _leave_out_seeds(settings, head)
    candidates = _list_candidates(settings, task, name) if settings.head.auto else ()
    fine_tune = tuning.choose(task)
    called = "auto" if candidates else name
    usual = "-".join([f"runs/{task.name}-{called}", *name_folders(settings, fine_tune.parts if beginning else None)])
    places = settings.places
    output, store = read_path(places.output or usual).resolve(), _read_store(settings)
    logs = None if places.tensorboard is None else read_path(places.tensorboard)
    first = beginning.run.path if beginning else None
    for what, folder in (("states", store), ("logs", logs), ("first run", first)):
        if folder is not None and folder.resolve().is_relative_to(output):
            raise RunError(
                f"the {what} at {folder} cannot lie in the run's folder {output}, which is replaced as a whole."
            )
    return Plan(settings, task, head, name, fit, fine_tune, rival, store, output, logs, beginning, candidates)


def _read_store(settings: RunSettings) -> Place | None:
    """The folder or the URL of all stores; None where no states are kept.

    Raises:
        RunError: fine-tuned encoders would be kept in object storage or nowhere, or a cluster would write nothing.
    """
    places = settings.places
    tuned = settings.tuning.fine_tune_epochs or settings.rivals.baseline_parts
    if places.store == NO_STORE:
        if tuned:
            raise RunError("fine-tuned encoders are kept in the folder of the stores, and `store` is none: name one.")
        if settings.cluster.ray is not None:
            raise RunError("`ray` has a cluster write stores, and `store` is none: name a folder, or leave `ray` out.")
        return None
    store = find_place(places.store, places.cache, places.cache_bytes)
    if isinstance(store, CloudPath) and tuned:
        raise RunError(f"fine-tuned encoders are kept in the folder of the stores, and {store} is none: name a folder.")
    return store


def check_predictor(settings: RunSettings) -> None:
    """Raises RunError where heads that are to predict together would read states of several encoders."""
    tuning, head = settings.tuning, settings.head
    check_folds(head.folds, tuning.fine_tune_epochs)
    if tuning.fine_tune_epochs and head.averages and (tuning.fine_tune_seeds or len(head.all_seeds)) > 1:
        raise RunError("`predict_with` mean needs heads on one encoder: fine-tune one alone, with `fine_tune_seeds` 1.")


def name_folders(settings: RunSettings, parts: str | None = None) -> list[str]:
    """What tells a run from others of its task and head, as parts of its folder's name.

    Args:
        settings: all options.
        parts: of the encoder, where these are fine-tuned under the heads of another run.
    """
    shots, share, epochs = settings.rows.shots, settings.rows.train_share, settings.tuning.fine_tune_epochs
    names = [f"shots-{shots}"] if shots else [f"share-{share:g}"] if share < 1 else []
    names += [f"folds-{settings.head.folds}"] if settings.head.folds else []
    names += [parts] if parts else []
    return names + ([f"epochs-{epochs:g}"] if epochs else [])


@dataclasses.dataclass(frozen=True, eq=False)
class Preparation:
    """What the steps of a run work on.

    Attributes:
        plan: what is asked.
        encoder: as it is before any fine-tuning.
        splits: train and the dev splits.
        roles: indices of the training rows and of the selection rows.
        states: which hidden states are kept, as `extract` takes it; all of them while layers are still to be chosen.
        fit: how a head is trained.
        progress: called with what is being done.
        choice: why this kind of head, where it was chosen.
    """

    plan: Plan
    encoder: Encoder
    splits: list[Examples]
    roles: tuple[np.ndarray, np.ndarray]
    states: Mapping[str, Any]
    fit: FitConfig
    progress: Progress
    choice: HeadChoice | None = None

    @property
    def settings(self) -> RunSettings:
        return self.plan.settings

    @property
    def common(self) -> dict[str, Any]:
        """What heads and encoders are trained with alike."""
        return {
            "balance_classes": self.settings.rows.balance_classes,
            "strategy": self.settings.head.strategy,
            "progress": self.progress,
        }

    @property
    def draw(self) -> Draw:
        """Which of the training rows a seed is trained on."""
        rows = self.settings.rows
        return Draw(self.splits[0].labels, self.roles[0], rows.train_share, rows.shots)

    @functools.cached_property
    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Training and selection rows of each fold; those of the one split of train where there are no folds."""
        count, train = self.settings.head.folds, self.splits[0]
        return split_folds(train.labels, count, train.fold_groups) if count else [self.roles]

    @functools.cached_property
    def read(self) -> list[Examples]:
        """The splits whose states heads read: train and the dev splits; of train the selection rows alone where the
        heads are trained already."""
        train, *dev = self.splits
        return [take_selection(train, self.roles[1]) if self.plan.beginning else train, *dev]

    def find_read(self, selection: np.ndarray) -> np.ndarray:
        """Where selection rows of train stand among what is read of it."""
        return np.arange(len(selection)) if self.plan.beginning else selection

    def new_trial(self, stores: Sequence[Store], **changes: Any) -> Trial:
        """Heads on the stores of what is read; on the run's rows, where `changes`, attributes of a Trial, say nothing
        else."""
        usual = {"config": self.fit, "logs": self.plan.logs, "examples": self.read, **self.common}
        usual |= {"draw": self.draw, "selection": self.find_read(self.roles[1])}
        return Trial(self.plan.task, self.plan.head, stores, **usual | changes)

    def change_head(self, name: str) -> Preparation:
        """The same with another head, by its name."""
        plan = dataclasses.replace(self.plan, head=get_preset(name), head_name=name)
        return dataclasses.replace(self, plan=plan, fit=_choose_fit(plan))

    def pick_head(self, choice: HeadChoice) -> Preparation:
        """The same with the head that was chosen."""
        work = self.change_head(choice.taken)
        plan = dataclasses.replace(work.plan, settings=_leave_out_seeds(self.settings, work.plan.head))
        return dataclasses.replace(work, plan=plan, choice=choice)

    @property
    def tuning(self) -> EncoderTrial:
        """The encoder that is fine-tuned."""
        plan, length = self.plan, self.states["max_length"]
        return EncoderTrial(
            *(self.encoder, plan.task, self.splits, self.roles[1], self.draw, plan.snapshots, length, plan.fine_tune),
            **self.common,
        )


def prepare(plan: Plan, encoder: str | Encoder, progress: Progress) -> Preparation:
    """Reads the rows and the encoder, and checks what depends on them."""
    settings, task = plan.settings, plan.task
    rows, wanted = settings.rows, settings.states
    names = ("train", *task.dev_names)
    splits = [load_rows(task, split, rows.data_dir, rows.limit, rows.negatives) for split in names]
    encoder = load_encoder(encoder, wanted.dtype, wanted.engine) if isinstance(encoder, str) else encoder
    states = wanted.choose(encoder, task.max_length)
    fit, spec = _choose_fit(plan), plan_spec(encoder, splits[0], **states)
    _check_choices(plan, fit, spec)
    work = Preparation(plan, encoder, splits, split_task(task, splits[0]), states, fit, progress)
    seeds, folds = settings.head.all_seeds, [dataclasses.replace(work.draw, training=rows) for rows, _ in work.folds]
    for draw in [work.draw, *(folds if settings.head.folds else ())]:
        check_rows(task, draw, seeds)
    most = max(len(one.rows(seed)) for one in folds for seed in seeds)
    if plan.head.linear:
        check_features(build_task_head(plan.head, spec, task), most)
    if plan.candidates:
        candidates = tuple(name for name in plan.candidates if _fits(name, spec, task, most))
        work = dataclasses.replace(work, plan=dataclasses.replace(plan, candidates=candidates))
    if plan.beginning is not None:
        check_same(plan.beginning, describe_settings(work), encoder.num_hidden_states)
        count_top(encoder, plan.fine_tune.parts)
    return work


def make_logs(plan: Plan) -> None:
    """Makes the folder of TensorBoard's logs, before hours of work are lost to one that cannot be written."""
    if plan.logs is not None:
        with writing_to(plan.logs):
            plan.logs.mkdir(parents=True, exist_ok=True)


def name_default_head(task: TaskSpec, tokens: str = "all") -> str:
    """The head that a task has where nothing is said, on stores of all tokens or of "cls"."""
    single = task.text_pair is None or tokens == "cls"
    return DEFAULT_SPAN_HEAD if task.kind.answers else DEFAULT_HEAD if single else DEFAULT_PAIR_HEAD


def _choose_head(settings: RunSettings, task: TaskSpec) -> tuple[HeadConfig, str, FitConfig | Mapping[str, Any]]:
    """The head, by default that of the task's kind; what it is called; and how it is trained."""
    head, fit = settings.head.head, settings.head.fit or {}
    if head is None or settings.head.auto:
        head = name_default_head(task, settings.states.tokens)
    if isinstance(head, str) and not head.endswith(".json"):
        return get_preset(head), head, fit
    if isinstance(head, str):
        head, searched = read_head(head)
        fit = fit if isinstance(fit, FitConfig) else {**searched, **fit}
    config = HeadConfig.from_dict(head) if isinstance(head, Mapping) else head
    return config, f"custom-{hashlib.sha256(config.to_json().encode()).hexdigest()[:8]}", fit


def _list_candidates(settings: RunSettings, task: TaskSpec, default: str) -> tuple[str, ...]:
    """The heads of which the selection rows choose one: a linear one, and the task's default."""
    if default not in LINEAR_HEADS:
        raise RunError(f"`head` auto chooses among heads for labels, and {task.name} asks for answers: name a head.")
    if settings.head.folds:
        raise RunError("`head` auto chooses on selection rows, and `folds` set none aside: name a head.")
    return LINEAR_HEADS[default], default


def _fits(name: str, states: StoreSpec, task: TaskSpec, rows: int) -> bool:
    """Whether a head can be fitted on so many rows, where it is fitted at once; says where not."""
    head = get_preset(name)
    if head.linear:
        try:
            check_features(build_task_head(head, states, task), rows)
        except RunError as error:
            note(f"{name} is not tried: {error}")
            return False
    return True


def _choose_fit(plan: Plan) -> FitConfig:
    """How the head is trained."""
    return plan.fit if isinstance(plan.fit, FitConfig) else FitConfig.for_head(plan.head, **plan.fit)


def _leave_out_seeds(settings: RunSettings, head: HeadConfig) -> RunSettings:
    """The same with the first seed alone, where all would give the same head."""
    seeds, tuned = settings.head.all_seeds, settings.tuning.fine_tune_epochs or settings.rivals.baseline_parts
    if not head.linear or len(seeds) == 1 or settings.rows.drawn or settings.head.folds or tuned:
        return settings
    note(f"a linear head is the same with every seed: only that of seed {seeds[0]} is fitted.")
    return settings.change(seeds=seeds[:1], fine_tune_seeds=None)


def _check_heads(beginning: Beginning, settings: RunSettings, task: TaskSpec) -> None:
    """Raises RunError where other heads are asked for than those that a run begins with."""
    given, path = settings.head, beginning.run.path
    if given.auto or (given.head is not None and _choose_head(settings, task)[0] != beginning.head):
        raise RunError(f"`fine_tune_from`: {path} has heads {beginning.name}: leave `head` out.")
    fit = given.fit if isinstance(given.fit, Mapping) or given.fit is None else dataclasses.asdict(given.fit)
    trained = beginning.run.config.get("fit", {})
    if any(trained.get(name) != value for name, value in (fit or {}).items()):
        raise RunError(f"`fine_tune_from`: the heads of {path} are trained on as `fine_tune` says: leave `fit` out.")


def _check_choices(plan: Plan, fit: FitConfig, states: StoreSpec) -> None:
    """Raises what is wrong with a head or a strategy before the encoder has run for hours."""
    task = plan.task
    get_strategy(plan.settings.head.strategy)
    if fit.mixup and task.kind.answers:
        raise RunError(f"`mixup` mixes labels, and {task.name} asks for answers in a text: leave it out.")
    build_task_head(plan.head, states, task)
    if plan.head.comparison and task.text_pair is None:
        raise RunError(f"a comparison head reads pairs of texts, {task.name} has single ones: choose another head.")
