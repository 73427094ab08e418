"""The options of a run, each once: its type, its default, its unit, a line of help and its check.

The groups are those that a user would name. From them come the keyword arguments of `train`, config.json, the
comparison that finds a finished run again, and a file of settings.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import RunError
from .paths import read_path

if TYPE_CHECKING:
    from .encoders import Encoder
    from .heads import HeadConfig
    from .training import FineTuneConfig, FitConfig

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class RowSettings:
    """Which rows are read, and which of them are trained on.

    Attributes:
        data_dir: the folder of GLUE's official download, or of SQuAD's files; tensorflow_datasets with None.
        limit: only the first rows of train and of dev.
        train_share: train on this share of the training rows, drawn by the seed; the selection rows stay.
        shots: train on this many rows of each class, drawn by the seed; the selection rows stay.
        balance_classes: let every class count the same in the loss.
    """

    data_dir: str | Path | None = None
    limit: int | None = None
    train_share: float = 1.0
    shots: int | None = None
    balance_classes: bool = False

    def __post_init__(self):
        _check_count("limit", self.limit)
        _check_count("shots", self.shots)
        if not _is_number(self.train_share) or not 0 < self.train_share <= 1:
            raise RunError(f"`train_share` needs more than 0 and at most 1, got {self.train_share!r}.")
        if self.shots is not None and self.train_share < 1:
            raise RunError("`shots` and `train_share` both say how many rows are trained on: leave one out.")

    @property
    def drawn(self) -> bool:
        """Whether each seed draws rows of its own."""
        return self.shots is not None or self.train_share < 1


@dataclasses.dataclass(frozen=True)
class StateSettings:
    """Which hidden states are kept, and how.

    Attributes:
        dtype: of the encoder's matrix products, "float32" or "bfloat16"; where the encoder is a name.
        max_length: tokens a text, special ones included; the task's own with None.
        tokens: "all", or "cls" for the first of each text.
        pooler: keep the pooler's output too, before the others; with "cls".
        layers: indices of the hidden states to keep, all with None; "auto" keeps the few that matter, found on a sample
            of train before the rest is extracted.
        codec: "float32", "float16", "bfloat16", "int8", "int4" or "int2".
    """

    dtype: str = "float32"
    max_length: int | None = None
    tokens: str = "all"
    pooler: bool = False
    layers: Sequence[int] | str | None = None
    codec: str = "int8"

    def __post_init__(self):
        _check_count("max_length", self.max_length, least=3)
        if self.layers is not None and not (self.auto or _are_indices(self.layers)):
            raise RunError(f"`layers` needs indices, 'auto' or none, got {self.layers!r}.")
        if self.auto and self.pooler:
            raise RunError("`layers='auto'` chooses layers, and the pooler's output is none: leave `pooler` out.")

    @property
    def auto(self) -> bool:
        """Whether the layers are chosen."""
        return isinstance(self.layers, str) and self.layers == "auto"

    def choose(self, encoder: Encoder, usual_length: int) -> dict[str, Any]:
        """What `extract` takes of an encoder, all layers where they are still to be chosen; a task's usual length where
        none is asked for."""
        return {
            "max_length": encoder.choose_length(self.max_length, usual_length),
            "tokens": self.tokens,
            "pooler": self.pooler,
            "layers": None if self.auto else self.layers,
            "codec": self.codec,
        }


@dataclasses.dataclass(frozen=True)
class TuningSettings:
    """How the encoder is fine-tuned first.

    Attributes:
        fine_tune_epochs: passes over the training rows; 0 leaves it frozen. Snapshots lie under `store` and are found
            again; more epochs go on from fewer.
        fine_tune_seeds: how many encoders are fine-tuned; the heads' seeds take them in turn. One a seed with None.
        fine_tune: a FineTuneConfig; or only what differs from FineTuneConfig.for_task's.
    """

    fine_tune_epochs: float = 0.0
    fine_tune_seeds: int | None = None
    fine_tune: FineTuneConfig | Mapping[str, Any] | None = None

    def __post_init__(self):
        if not _is_number(self.fine_tune_epochs) or not 0 <= self.fine_tune_epochs < math.inf:
            raise RunError(f"`fine_tune_epochs` needs 0 or more, got {self.fine_tune_epochs!r}.")


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """Which heads are trained, and how.

    Attributes:
        head: a preset's name or a HeadConfig; with None the default one for single texts, for pairs, or for questions
            on a context.
        seeds: how many heads are trained, from seed 0, or the seeds themselves.
        fit: a FitConfig; or only what differs from FitConfig.for_head's.
        strategy: "one_device" or "mirrored".
    """

    head: str | HeadConfig | None = None
    seeds: int | Sequence[int] = 5
    fit: FitConfig | Mapping[str, Any] | None = None
    strategy: str = "one_device"

    def __post_init__(self):
        if isinstance(self.seeds, str) or not (_is_count(self.seeds) or _are_indices(self.seeds)):
            raise RunError(f"`seeds` needs one seed or more, each once; got {self.seeds!r}.")
        if not self.all_seeds or len(set(self.all_seeds)) < len(self.all_seeds):
            raise RunError("`seeds` needs one seed or more, each once.")

    @property
    def all_seeds(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else [int(seed) for seed in self.seeds]


@dataclasses.dataclass(frozen=True)
class RivalSettings:
    """What the heads are compared with, on the same rows.

    Attributes:
        baselines: whether simple rivals are fitted.
        baseline_parts: the encoder's own head as a rival, fine-tuned with these parts, as FineTuneConfig names them:
            "all" for full fine-tuning, "lora_8"; each after that of `baseline_epochs` which scores best on the
            selection rows.
        baseline_epochs: to choose from.
    """

    baselines: bool = True
    baseline_parts: Sequence[str] = ()
    baseline_epochs: Sequence[float] = (1, 2, 3)


@dataclasses.dataclass(frozen=True)
class PlaceSettings:
    """Where things go.

    Attributes:
        store: the root of all stores; states that are there already are found again.
        output: the run's folder; a run that is there is replaced. By default runs/TASK-HEAD, where only a run of the
            same settings is.
        export: whether the chosen head is saved as a SavedModel too.
        tensorboard: a folder that gets logs of the heads' losses and selection scores for TensorBoard, a folder a seed,
            in the place of those that are there; none with None.
        resume: whether a finished run of the very same settings and versions at `output` is found again, not run.
    """

    store: str | Path = "states"
    output: str | Path | None = None
    export: bool = False
    tensorboard: str | Path | None = None
    resume: bool = False


GROUPS: dict[str, type] = {
    "rows": RowSettings,
    "states": StateSettings,
    "tuning": TuningSettings,
    "head": HeadSettings,
    "rivals": RivalSettings,
    "places": PlaceSettings,
}
OWN = ("task", "table", "encoder")  # options of no group
GROUP_OF = {field.name: group for group, kind in GROUPS.items() for field in dataclasses.fields(kind)}


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """All options of a run, in their groups.

    Attributes:
        task: a name of TASKS.
        table: instead of it, what `task_from_table` takes: a file "train", and further arguments by their names.
        encoder: what `load_encoder` takes.
        rows, states, tuning, head, rivals, places: the groups.

    Example:
        >>> settings = RunSettings.from_options(seeds=3, fine_tune_epochs=1)
        >>> settings.head.seeds, settings.tuning.fine_tune_epochs
        (3, 1)
    """

    task: str = "starter"
    table: Mapping[str, Any] | None = None
    encoder: str = "minilm"
    rows: RowSettings = dataclasses.field(default_factory=RowSettings)
    states: StateSettings = dataclasses.field(default_factory=StateSettings)
    tuning: TuningSettings = dataclasses.field(default_factory=TuningSettings)
    head: HeadSettings = dataclasses.field(default_factory=HeadSettings)
    rivals: RivalSettings = dataclasses.field(default_factory=RivalSettings)
    places: PlaceSettings = dataclasses.field(default_factory=PlaceSettings)

    def __post_init__(self):
        encoders, heads = self.tuning.fine_tune_seeds, len(self.head.all_seeds)
        if encoders is not None and (self.rows.drawn or not _is_count(encoders) or not 1 <= encoders <= heads):
            raise RunError(
                "`fine_tune_seeds` needs 1 to as many as `seeds`, and no `shots` or `train_share`, whose rows each "
                "seed draws anew."
            )

    @classmethod
    def from_options(cls, **options: Any) -> RunSettings:
        """Settings of options by their names, whatever group they are in; the others have their defaults.

        Raises:
            TypeError: there is no option of a name.
        """
        return cls().change(**options)

    @classmethod
    def from_file(cls, file: str | Path) -> RunSettings:
        """Settings of a JSON file of options by their names; a run's config.json is one.

        Raises:
            RunError: it cannot be read, or names no option.
        """
        file = read_path(file)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{file} cannot be read: {error.strerror}.") from None
        except ValueError as error:
            raise RunError(f"{file} is no JSON: {error}.") from None
        if not isinstance(content, dict):
            raise RunError(f"{file} needs an object of options by their names, got a {type(content).__name__}.")
        known = {*OWN, *GROUP_OF}
        unknown = [name for name in content if name not in known and name not in FOUND]
        if unknown:
            raise RunError(f"{file} names no option with {unknown[0]!r}; known: {', '.join(sorted(known))}.")
        options = {name: value for name, value in content.items() if name in known}
        if content.get("choose_layers"):
            options["layers"] = "auto"
        if not str(content.get("head_name", "custom-")).startswith("custom-"):
            options["head"] = content["head_name"]
        return cls.from_options(**options)

    def change(self, **options: Any) -> RunSettings:
        """The same with other values of some options, by their names."""
        own = {name: options.pop(name) for name in OWN if name in options}
        changes: dict[str, dict[str, Any]] = {}
        for name, value in options.items():
            if name not in GROUP_OF:
                raise TypeError(f"there is no option {name!r}; known: {', '.join(GROUP_OF)}")
            changes.setdefault(GROUP_OF[name], {})[name] = value
        groups = {group: dataclasses.replace(getattr(self, group), **values) for group, values in changes.items()}
        return dataclasses.replace(self, **own, **groups)

    def to_dict(self) -> dict[str, Any]:
        """All options by their names, as JSON holds them: what `from_file` reads."""
        options = {name: _to_json(getattr(self, name)) for name in OWN}
        for group in GROUPS:
            own = getattr(self, group)
            options |= {field.name: _to_json(getattr(own, field.name)) for field in dataclasses.fields(own)}
        return options


FOUND = {  # what config.json says beside the options: of the rows, the encoder and what came of it
    *("examples", "selection_rows", "kind", "text", "text_pair", "label_names"),
    *("encoder_fingerprint", "snapshots", "choose_layers", "head_name"),
}


def takes_options(*names: str) -> Callable[[Function], Function]:
    """Shows options, all with no names, as keyword arguments of a function that takes them as **options: in `help`, in
    editors, and where it is called with others."""
    fields = [field for kind in GROUPS.values() for field in dataclasses.fields(kind)]
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields
        if field.name in (names or GROUP_OF)
    ]

    def show(function: Function) -> Function:
        own = inspect.signature(function)
        kept = [part for part in own.parameters.values() if part.kind is not inspect.Parameter.VAR_KEYWORD]
        signature = own.replace(parameters=[*kept, *options])

        @functools.wraps(function)
        def run(*arguments: Any, **given: Any) -> Any:
            signature.bind(*arguments, **given)  # or TypeError names what is unknown
            return function(*arguments, **given)

        run.__signature__ = signature  # type: ignore[attr-defined]
        return run  # type: ignore[return-value]

    return show


def _to_json(value: Any) -> Any:
    """An option as JSON holds it."""
    for convert in ("to_dict", "tolist"):  # of a HeadConfig, and of numpy's
        if hasattr(value, convert):
            return getattr(value, convert)()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _are_indices(values: Any) -> bool:
    return not isinstance(values, (str, Mapping)) and hasattr(values, "__iter__") and all(map(_is_count, values))


def _check_count(name: str, value: Any, least: int = 1) -> None:
    if value is not None and (not _is_count(value) or value < least):
        raise RunError(f"`{name}` needs {least} or more, got {value!r}.")
