"""Options of the command, made of the settings of a run: their names, types, defaults and help stand there."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter
from docstring_parser import parse

from ..errors import TaskError
from ..settings import GROUPS, FineTuneConfig, FitConfig, RunSettings, TableSettings

Verb = TypeVar("Verb", bound=Callable[..., Any])

TITLES = {
    "rows": "Rows",
    "states": "Hidden states",
    "tuning": "Fine-tuning",
    "head": "Heads",
    "rivals": "Rivals",
    "places": "Places",
}
TYPES = {
    "bool": bool,
    "float": float,
    "int": int,
    "int | None": int | None,
    "str": str,
    "str | None": str | None,
    "str | HeadConfig | None": str | None,
    "str | Path": Path,
    "str | Path | None": Path | None,
    "str | Sequence[str] | None": list[str] | None,
}
COLUMNS = {"text": "text_column", "text_pair": "text_pair_column", "label": "label_column", "name": "task_name"}
SPREAD = {"fit": ("", FitConfig), "fine_tune": ("fine_tune_", FineTuneConfig)}  # options that hold options
CHOSEN = ("learning_rate", "fine_tune_learning_rate", "fine_tune_batch_size")  # by the head, or by the task
ALIASES = {"fine_tune_schedule": "--schedule"}  # as it was called first


def read_numbers(text: str, kind: Callable[[str], Any], least: float) -> list[Any]:
    """Numbers with commas between, in rising order.

    Raises:
        ValueError: they are none, less than `least`, or one stands there twice.
    """
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not min(numbers) >= least or len(set(numbers)) != len(numbers):
        raise ValueError(f"it needs numbers from {least} on with commas between, each once; got {text!r}")
    return sorted(numbers)


def read_layers(text: str) -> list[int] | str | None:
    """Indices with commas between; None for all."""
    if text in ("all", "auto"):
        return text if text == "auto" else None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"it needs numbers with commas between, all or auto; got {text!r}") from None


def read_seeds(text: str) -> int | list[int]:
    """How many, or the seeds themselves with commas between."""
    numbers = read_numbers(text, int, 0)
    if numbers == [0] and "," not in text:
        raise ValueError("it needs 1 or more")
    return numbers if "," in text else numbers[0]


def read_names(text: str) -> list[str]:
    """Names with commas between."""
    return text.split(",") if text else []


READERS: dict[str, Callable[[str], Any]] = {
    "layers": read_layers,
    "seeds": read_seeds,
    "baseline_parts": read_names,
    "baseline_epochs": functools.partial(read_numbers, kind=float, least=0),
}
SEVERAL: dict[str, Callable[[str], Any]] = {  # of options that a grid takes several values of
    "fine_tune_epochs": functools.partial(read_numbers, kind=float, least=0),
    "train_share": functools.partial(read_numbers, kind=float, least=0),
    "shots": functools.partial(read_numbers, kind=int, least=1),
}


def reading(read: Callable[[str], Any], **more: Any) -> Parameter:
    """An option whose one word is read by a function."""
    more = {"show_default": _show} | more
    return Parameter(converter=lambda _, tokens: read(tokens[0].value), n_tokens=1, **more)


def _show(value: Any) -> str:
    """A default as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def takes_settings(*names: str, several: bool = False) -> Callable[[Verb], Verb]:
    """Gives a verb options of a run, and `--config` for a file of them; what they come to is its argument `settings`.

    Args:
        names: of the options, or of their groups; all with none. An option that the verb has itself stays its own.
        several: whether those of SEVERAL take several values; then they are the verb's argument `axes`, a list for each
            that is given.
    """

    def give(verb: Verb) -> Verb:
        own = dict(inspect.signature(verb, eval_str=True).parameters)
        own = {name: part for name, part in own.items() if name not in ("settings", "axes")}
        taken = {
            name: option
            for name, option in OPTIONS.items()
            if name not in own and (not names or {name, option.group} & {*names})
        }
        parts = [option.build(several) for option in taken.values()]

        @functools.wraps(verb)
        def run(*arguments: Any, config: Path | None = None, **given: Any) -> Any:
            options = {name: given.pop(name) for name in list(given) if name in taken}
            axes = {name: options.pop(name) for name in list(options) if name in SEVERAL} if several else {}
            settings = read_settings(config, options)
            return verb(*arguments, settings=settings, **given, **({"axes": axes} if several else {}))

        run.__signature__ = inspect.Signature([*own.values(), CONFIG, *parts])  # type: ignore[attr-defined]
        del run.__annotations__  # of the verb, which has other parameters
        return run  # type: ignore[return-value]

    return give


def read_settings(config: Path | None, given: dict[str, Any]) -> RunSettings:
    """What the options come to, on top of a file of them.

    Raises:
        BertvisionError: the file cannot be read, or the options do not go together.
    """
    settings = RunSettings() if config is None else RunSettings.from_file(config)
    changes: dict[str, Any] = {}
    for name, value in given.items():
        option = OPTIONS[name]
        if option.owner:
            changes.setdefault(option.owner, {})[option.field] = value
        else:
            changes[name] = value
    if "table" in changes:
        _check_table(changes["table"], given.get("task"))
    elif "task" in given:
        changes["table"] = None
    for name in SPREAD:
        if name in changes:
            changes[name] = {**_as_changes(getattr(settings, _group_of(name)), name), **changes[name]}
    return settings.change(**changes)


def _group_of(name: str) -> str:
    return "head" if name == "fit" else "tuning"


def _as_changes(group: Any, name: str) -> dict[str, Any]:
    value = getattr(group, name)
    return dict(value or {}) if value is None or isinstance(value, Mapping) else dataclasses.asdict(value)


def _check_table(table: dict[str, Any], task: str | None) -> None:
    """Raises TaskError where the options of a table have no table, or another task."""
    if "train" not in table:
        flag = "--" + COLUMNS.get(*[next(iter(table))] * 2).replace("_", "-")
        raise TaskError(f"{flag} goes with --train, a table of your own.")
    if task is not None:
        raise TaskError(f"--task {task} and --train {table['train']} are two tasks: leave one out.")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of the command.

    Attributes:
        name: its argument's.
        type, default: as cyclopts takes them.
        help: one line.
        group: of settings; "table" for a table's.
        title: over its group in the help.
        owner: the option of a run that holds it; "" for one of its own.
        field: what it is called there.
    """

    name: str
    type: Any
    default: Any
    help: str
    group: str
    title: str
    owner: str = ""
    field: str = ""

    def build(self, several: bool) -> inspect.Parameter:
        """The argument of a verb."""
        more: dict[str, Any] = {"help": self.help, "group": Group(self.title, sort_key=_ORDER.index(self.title))}
        if self.name in ALIASES:
            more["alias"] = ALIASES[self.name]
        read = READERS.get(self.name)
        if several and self.name in SEVERAL:
            read, more["help"] = SEVERAL[self.name], f"{self.help} Several, as in {_EXAMPLES[self.name]}: a run each."
        if not self.default:
            more["show_default"] = False
        parameter = Parameter(**more) if read is None else reading(read, **more)
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=Annotated[self.type, parameter]
        )


_ORDER = ["Task", *TITLES.values()]
_EXAMPLES = {"fine_tune_epochs": "0.3,1,2", "train_share": "0.1,0.3,1", "shots": "8,16,32"}


def _list_options(
    kind: type, group: str, title: str, owner: str = "", prefix: str = "", only: Sequence[str] = ()
) -> list[Option]:
    """The options of a class of settings; of a field that holds settings in its turn, those of these."""
    described = {one.arg_name: " ".join((one.description or "").split()) for one in parse(kind.__doc__ or "").params}
    options: list[Option] = []
    for field in dataclasses.fields(kind):
        if only and field.name not in only:
            continue
        if field.name in SPREAD:
            start, held = SPREAD[field.name]
            options += _list_options(held, group, title, field.name, start)
            continue
        name = prefix + (COLUMNS.get(field.name, field.name) if owner == "table" else field.name)
        help = described[field.name][:1].upper() + described[field.name][1:]
        type_ = str if name in READERS else TYPES[str(field.type)]
        if name in CHOSEN or field.default is dataclasses.MISSING:
            options.append(Option(name, type_ | None, None, help, group, title, owner, field.name))
        else:
            options.append(Option(name, type_, field.default, help, group, title, owner, field.name))
    return options


def _list_all() -> dict[str, Option]:
    options = _list_options(RunSettings, "task", "Task", only=["task"])
    options += _list_options(TableSettings, "table", "Task", "table")
    options += _list_options(RunSettings, "encoder", "Task", only=["encoder"])
    for group, kind in GROUPS.items():
        options += _list_options(kind, group, TITLES[group])
    return {option.name: option for option in options if option.name != "resume"}  # which a grid sets


OPTIONS = _list_all()
CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        Parameter(help="A JSON or YAML file of options, as a run's config.json; options that are given come first."),
    ],
)
