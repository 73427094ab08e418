"""What the options of the command come to: the settings of a run."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from ..errors import TaskError
from ..settings import RunSettings
from .options import COLUMNS, OPTIONS, SPREAD
from .readers import SEVERAL

Verb = TypeVar("Verb", bound=Callable[..., Any])
CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        Parameter(help="A JSON or YAML file of options, as a run's config.json; options that are given come first."),
    ],
)


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
