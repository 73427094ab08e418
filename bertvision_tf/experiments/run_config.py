"""What config.json says of a run, and whether a finished run is the one that is asked for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from ..extraction import plan_spec
from ..paths import read_path
from ..runs import Run, find_other_setting, load_run
from ..tasks.selection import fingerprint_rows

if TYPE_CHECKING:
    from .preparation import Plan, Preparation


def describe_settings(work: Preparation) -> dict[str, Any]:
    """config.json before anything has run: the options, what they came to, and the rows and the encoder."""
    plan, settings = work.plan, work.settings
    task, encoder, rivals = plan.task, work.encoder, settings.rivals
    tuned = settings.tuning.fine_tune_epochs or rivals.baseline_parts
    found = {
        "task": task.name,
        "examples": {rows.split: rows.fingerprint for rows in work.splits},
        "selection_rows": fingerprint_rows(np.concatenate([selection for _, selection in work.folds])),
        "kind": str(task.kind),
        "text": task.text,
        "text_pair": task.text_pair,
        "label_names": list(task.label_names),
        "encoder": _absolute(encoder.name),
        "dtype": encoder.dtype,
        "encoder_fingerprint": encoder.fingerprint,
        **_describe_heads(work),
        **work.states,
        "layers": list(plan_spec(encoder, work.splits[0], **work.states).layers),
        "choose_layers": settings.states.auto,
        **({"choose_head": _describe_choice(plan)} if plan.candidates else {}),
        "baseline_epochs": list(rivals.baseline_epochs) if rivals.baseline_parts else [],
        "baseline_rates": _list_rates(plan),
        "fine_tune": dataclasses.asdict(plan.fine_tune) if tuned else None,
        **(plan.beginning.facts if plan.beginning else {}),
    }
    groups = (settings.places, settings.cluster)  # where things are, and where states are made
    left_out = {field.name for group in groups for field in dataclasses.fields(group)} | {"table", "data_dir", "engine"}
    left_out |= {"seeds"} if settings.head.folds else set()  # which would not go with folds
    left_out |= {"fit"} if plan.beginning else {"fine_tune_from"}  # heads of another run were trained as it says
    return {name: value for name, value in (settings.to_dict() | found).items() if name not in left_out}


def describe_sources(work: Preparation) -> dict[str, Any]:
    """What config.json says beside `describe_settings`, for the run to be run again: none of it makes it another."""
    data_dir, origin = work.settings.rows.data_dir, work.plan.task.origin
    return {
        "head_name": work.plan.head_name,
        **(_describe_heads(work) if work.choice else {}),
        "engine": work.encoder.engine,
        "data_dir": data_dir and str(read_path(data_dir).resolve()),
        **({"table": dict(origin)} if origin else {}),
    }


def find_finished(work: Preparation, asked: Mapping[str, Any]) -> Run | None:
    """The finished run that `resume` asks for, if its settings and versions are the very same.

    Raises:
        RunError: the usual folder holds a run of other settings, which would be replaced.
    """
    output, places = work.plan.output, work.settings.places
    chosen = {"layers"} if work.settings.states.auto else set()
    chosen |= set(_describe_heads(work)) if work.plan.candidates else set()  # which choose_head has as they were asked
    other = find_other_setting(output, {name: value for name, value in asked.items() if name not in chosen})
    if places.resume and other == "" and (not places.export or (output / "saved_model").is_dir()):
        return load_run(output)
    if other and places.output is None:
        raise RunError(f"{output} holds a run with {other}: name another --output, or this one to replace it.")
    return None


def _describe_heads(work: Preparation) -> dict[str, Any]:
    """What is trained on the states."""
    return {
        "head": work.plan.head.to_dict(),
        "seeds": work.settings.head.all_seeds,
        "fit": dataclasses.asdict(work.fit),
    }


def _list_rates(plan: Plan) -> list[float]:
    """The learning rates of fine-tuned rivals, where `fine_tune` does not say them."""
    rivals = plan.settings.rivals
    if not rivals.baseline_parts or rivals.baseline_rates or plan.beginning is None:
        return list(rivals.baseline_rates)
    return [plan.rival.for_parts("all").learning_rate]


def _describe_choice(plan: Plan) -> dict[str, Any]:
    """What is asked of the heads of which one is chosen, as config.json says it."""
    fit = plan.fit if isinstance(plan.fit, Mapping) else dataclasses.asdict(plan.fit)
    return {"seeds": plan.settings.head.all_seeds, "fit": dict(fit)}


def _absolute(encoder: str) -> str:
    """A folder's full path, so that the run can be used from another folder; other names as they are."""
    folder = os.path.abspath(os.path.expanduser(encoder))
    return folder if os.path.isdir(folder) and encoder != "minilm" else encoder
