"""The command's options, built from the settings in `settings/`, which hold their names, types, defaults and help."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from docstring_parser import parse

from ..settings import GROUPS, FineTuneConfig, FitConfig, RunSettings, TableSettings
from .readers import READERS, SEVERAL, List, reading

TITLES = {
    "rows": "Rows",
    "states": "Hidden states",
    "cluster": "Cluster",
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
    "float | None": float | None,
    "str": str,
    "str | None": str | None,
    "str | HeadConfig | None": str | None,
    "str | Path": Path,
    "str | Path | None": Path | None,
    "str | Sequence[str] | None": list[str] | None,
}
URLS = ("store",)  # options of a folder or a URL, whose slashes a Path would lose
COLUMNS = {"text": "text_column", "text_pair": "text_pair_column", "label": "label_column", "name": "task_name"}
SPREAD = {"fit": ("", FitConfig), "fine_tune": ("fine_tune_", FineTuneConfig)}  # options that hold options
CHOSEN = ("learning_rate", "fine_tune_learning_rate", "fine_tune_batch_size")  # by the head, or by the task
ALIASES = {"fine_tune_schedule": "--schedule"}  # as it was called first


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
        read, type_ = READERS.get(self.name), self.type
        if several and self.name in SEVERAL:
            type_ = List
            read, more["help"] = SEVERAL[self.name], f"{self.help} Several, as in {_EXAMPLES[self.name]}: a run each."
        if not self.default:
            more["show_default"] = False
        parameter = Parameter(**more) if read is None else reading(read, **more)
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=Annotated[type_, parameter]
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
        type_: Any = List if name in READERS else str if name in URLS else TYPES[str(field.type)]
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
