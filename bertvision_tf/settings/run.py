"""All options of a run together, and files of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import RunError
from ..paths import read_object, read_path
from .checks import build, is_count
from .groups import (
    ClusterSettings,
    HeadSettings,
    PlaceSettings,
    RivalSettings,
    RowSettings,
    StateSettings,
    TableSettings,
    TuningSettings,
)

GROUPS: dict[str, type] = {
    "rows": RowSettings,
    "states": StateSettings,
    "cluster": ClusterSettings,
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
        task: name of the task: cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli, squad2, squad1, squad2_answerable,
            starter or starter_qa. For `bertvision train` also all, for GLUE's nine.
        table: instead of it, a table of the user's own.
        encoder: the encoder: minilm, mpnet, hf://OWNER/NAME, a checkpoint's folder, or a KerasHub preset.
        rows, states, cluster, tuning, head, rivals, places: the groups.

    Example:
        >>> settings = RunSettings.from_options(seeds=3, fine_tune_epochs=1)
        >>> settings.head.seeds, settings.tuning.fine_tune_epochs
        (3, 1)
    """

    task: str = "starter"
    table: TableSettings | None = None
    encoder: str = "minilm"
    rows: RowSettings = dataclasses.field(default_factory=RowSettings)
    states: StateSettings = dataclasses.field(default_factory=StateSettings)
    cluster: ClusterSettings = dataclasses.field(default_factory=ClusterSettings)
    tuning: TuningSettings = dataclasses.field(default_factory=TuningSettings)
    head: HeadSettings = dataclasses.field(default_factory=HeadSettings)
    rivals: RivalSettings = dataclasses.field(default_factory=RivalSettings)
    places: PlaceSettings = dataclasses.field(default_factory=PlaceSettings)

    def __post_init__(self):
        encoders, heads = self.tuning.fine_tune_seeds, len(self.head.all_seeds)
        if encoders is not None and (self.rows.drawn or not is_count(encoders) or not 1 <= encoders <= heads):
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
        """Settings of a JSON or YAML file of options by their names; a run's config.json is one.

        Raises:
            RunError: it cannot be read, or names no option.
        """
        file = read_path(file)
        content = read_settings(file)
        known = {*OWN, *GROUP_OF}
        unknown = [name for name in content if name not in known and name not in FOUND]
        if unknown:
            raise RunError(f"{file} names no option with {unknown[0]!r}; known: {', '.join(sorted(known))}.")
        options = {name: value for name, value in content.items() if name in known}
        if content.get("choose_layers"):
            options["layers"] = "auto"
        if content.get("first_heads"):
            options.pop("head", None)  # it is that of the run that this one began with
        elif content.get("choose_head"):
            options |= {"head": "auto"} | content["choose_head"]
        elif not str(content.get("head_name", "custom-")).startswith("custom-"):
            options["head"] = content["head_name"]
        return cls.from_options(**options)

    def change(self, **options: Any) -> RunSettings:
        """The same with other values of some options, by their names."""
        own = {name: options.pop(name) for name in OWN if name in options}
        if isinstance(own.get("table"), Mapping):
            own["table"] = build(TableSettings, own["table"])
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


def read_settings(file: Path) -> dict[str, Any]:
    """Reads a JSON file, or a YAML file where its name ends in .yaml or .yml.

    Raises:
        RunError: it cannot be read, or holds no options by their names, or one twice.
    """
    is_yaml = file.suffix.lower() in (".yaml", ".yml")
    try:
        text = file.read_text(encoding="utf-8")
        content = yaml.load(text, OnceLoader) if is_yaml else json.loads(text, object_pairs_hook=read_object)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError, yaml.YAMLError, RecursionError) as error:  # a list as a name is a TypeError
        reason = " ".join(str(error).split()).rstrip(".")
        raise RunError(f"{file} is no {'YAML' if is_yaml else 'JSON'}: {reason}.") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise RunError(f"{file} needs an object of options by their names, got a {type(content).__name__}.")
    return content


class OnceLoader(yaml.SafeLoader):
    """Refuses a name that stands twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        read_object([(self.construct_object(key), value) for key, value in node.value])
        return super().construct_mapping(node, deep)


FOUND = {  # what config.json says beside the options: of the rows, the encoder and what came of it
    *("examples", "selection_rows", "kind", "text", "text_pair", "label_names"),
    *("encoder_fingerprint", "snapshots", "choose_layers", "choose_head", "head_name", "first_heads"),
}


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
