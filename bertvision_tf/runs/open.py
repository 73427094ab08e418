"""Opens finished runs, groups and names them, and finds one again by its settings."""

from __future__ import annotations

import itertools
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checksums import check_file
from ..errors import RunError
from ..paths import read_path
from .folder import CONFIG, MEMBERS, RESULTS
from .run import Run

if TYPE_CHECKING:
    from ..encoders import Encoder

RESULTS_SHOWN = (  # what reports and tables read
    *("task", "metric", "head", "encoder", "encoder_parameters", "encoder_fingerprint", "trainable_parameters", "rows"),
    *("seeds", "scores", "mean", "std", "metrics", "selection_scores", "best_epochs", "baselines", "significance"),
    *("fine_tune", "draw", "layers", "seconds", "memory_bytes", "store", "versions"),
)
CONFIG_SHOWN = ("task", "examples", "kind", "label_names", "tokens", "codec")
NEEDED = {  # of the two files, what no method of a run can do without
    RESULTS: {"seeds": list, "selection_scores": list, "store": dict},
    CONFIG: {
        **dict.fromkeys(("task", "kind", "encoder", "encoder_fingerprint", "dtype", "tokens"), str),
        **{"label_names": list, "examples": dict},
    },
}
VERSIONED = ("bertvision-tf", "tensorflow", "keras", "keras-hub", "transformers", "numpy", "h5py", "scikit-learn")


def load_run(path: str | Path) -> Run:
    """Opens a finished run.

    Raises:
        RunError: the folder holds none, or an ensemble.
    """
    results, config = read_folder(path)
    if MEMBERS in config:
        raise RunError(
            f"{path} is an ensemble, no run with heads of its own: name one of {', '.join(config[MEMBERS])}."
        )
    path = read_path(path).absolute()  # which is found from another folder too
    for file, content in ((RESULTS, results), (CONFIG, config)):
        for field, kind in NEEDED[file].items():
            if field not in content:
                raise RunError(f"{path} was written by another version and has no {field}: train it again.")
            if not isinstance(content[field], kind):
                raise RunError(f"{path / file} is damaged: {field} is a {type(content[field]).__name__}.")
    if not len(results["seeds"]) == len(results["selection_scores"]) > 0:
        raise RunError(f"{path / RESULTS} is damaged: it needs a selection score for each seed.")
    return Run(path, results, config)


def open_runs(runs: Sequence[Run | str | Path]) -> list[Run]:
    """Runs, or what `load_run` opens of their folders."""
    return [run if isinstance(run, Run) else load_run(run) for run in runs]


def share_encoders(runs: Sequence[Run]) -> None:
    """Loads the encoder of each, and one for all that have the same."""
    loaded: dict[str, Encoder] = {}
    for run in runs:
        if run.encoder_fingerprint not in loaded:
            loaded[run.encoder_fingerprint] = run.load_encoder()
        run._encoder = loaded[run.encoder_fingerprint]


def name_runs(runs: Sequence[Run]) -> list[str]:
    """Their folders, with as much of the path as tells them apart.

    Raises:
        RunError: one stands there twice.
    """
    paths = [run.path.resolve().parts for run in runs]
    if len(set(paths)) < len(paths):
        raise RunError("a run is named twice.")
    depth = next(depth for depth in itertools.count(1) if len({path[-depth:] for path in paths}) == len(paths))
    return ["/".join(path[-depth:]) for path in paths]


def group_by_rows(runs: Mapping[str, Run]) -> list[dict[str, Run]]:
    """Runs by name, those on the same dev rows of one task together.

    Raises:
        RunError: a run was written by a version that wrote less.
    """
    groups: dict[tuple[str, str], dict[str, Run]] = {}
    for name, run in runs.items():
        lacking = [field for field in RESULTS_SHOWN if field not in run.results]
        lacking += [field for field in CONFIG_SHOWN if field not in run.config]
        if lacking:
            raise RunError(f"{run.path} was written by another version and has no {lacking[0]}: train it again.")
        groups.setdefault((run.config["task"], run.config["examples"]["dev"]), {})[name] = run
    return list(groups.values())


def read_folder(path: str | Path) -> list[dict[str, Any]]:
    """results.json and config.json of a finished run or ensemble.

    Raises:
        RunError: the folder holds none.
    """
    path = read_path(path)
    contents = []
    for name in (RESULTS, CONFIG):
        try:
            contents.append(json.loads((path / name).read_text(encoding="utf-8")))
        except OSError:
            what = "a search, whose best.json `train --head` takes" if (path / "search.json").is_file() else ""
            raise RunError(f"no finished run at {path}: {what or f'{path / name} cannot be read'}.") from None
        except (ValueError, RecursionError):
            raise RunError(f"{path / name} is damaged: no JSON.") from None
        if not isinstance(contents[-1], dict):
            raise RunError(f"{path / name} is damaged: expected an object, got a {type(contents[-1]).__name__}.")
        check_file(path / name, RunError)
    return contents


def find_other_setting(path: Path, asked: Mapping[str, Any]) -> str | None:
    """In what a finished run in a folder differs from what is asked: "" if in nothing, None if there is no run."""
    if not (path / RESULTS).is_file():
        return None
    there = load_run(path)
    if there.results.get("versions") != describe_versions():
        return "other versions"
    for name, value in json.loads(json.dumps(asked)).items():
        if _drop_unsaid(there.config.get(name)) != _drop_unsaid(value):
            return f"{name} {there.config.get(name)}, now it is {value}"
    return ""


def _drop_unsaid(value: Any) -> Any:
    """An entry of config.json without what is left to its default; a run of an earlier version may lack it."""
    if isinstance(value, dict):
        return {name: one for name, one in value.items() if one is not None}
    return value or None


def describe_versions() -> dict[str, str]:
    """Of Python, of this library, and of what its numbers depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in VERSIONED}
