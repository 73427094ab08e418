"""What an exported model is, for whoever finds it: its tasks, data, scores and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reports.table import count_places, is_fitted_at_once, show_score, tell_tuning
from ..runs import Run, describe_versions

if TYPE_CHECKING:
    from .servable import Servable


def write_card(file: Path, runs: Sequence[Run], servable: Servable, signatures: Mapping[str, Any]) -> None:
    """Writes a model card.

    Args:
        file: the Markdown file.
        runs: whose heads the model has.
        servable, signatures: the model.
    """
    first = runs[0]
    lines = [
        "# Model card",
        "",
        f"One pass of the encoder `{Path(first.results['encoder']).name}` and {len(runs)} "
        f"{'head' if len(runs) == 1 else 'heads'} on its hidden states.",
        "",
        "## Encoder",
        "",
        f"- weights: {first.results['encoder_parameters']:,}; products in {servable.dtype}"
        + (
            ""
            if servable.dtype == first.config["dtype"]
            else f"; the scores below were measured in {first.config['dtype']}"
        ),
        f"- fingerprint: {first.encoder_fingerprint}",
        f"- hidden states: {', '.join(map(str, first.config['layers']))}"
        + (", and the pooler's output" if first.config["pooler"] else ""),
        f"- {'windows of' if servable.reads_questions else 'texts are cut after'} {first.config['max_length']} tokens",
        "",
    ]
    for head, run in zip(servable.heads, runs, strict=True):
        lines += _describe_head(head.name, run)
    lines += ["## Signatures", ""]
    for name, signature in signatures.items():
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        lines.append(f"- `{name}`: {_list(inputs)} → {_list(outputs)}")
    if servable.why_no_tokenizer:
        lines += ["", f"It reads no texts: {servable.why_no_tokenizer}"]
    lines += ["", "## Versions that wrote it", ""]
    lines += [f"- {name} {version}" for name, version in describe_versions().items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _describe_head(name: str, run: Run) -> list[str]:
    results, config = run.results, run.config
    place = results["seeds"].index(run.best_seed)
    places = count_places(results["metrics"])
    tuned = results.get("fine_tune")
    rivals = ", ".join(f"{rival} {one['mean']:.{places}f}" for rival, one in results["baselines"].items())
    rows, seeds = results["rows"], len(results["seeds"])
    lines = [
        f"## Head `{name}`",
        "",
        f"- task: {results['task']}, a {config['kind']}"
        + (f" of {', '.join(config['label_names'])}" if config["label_names"] else ""),
        f"- head: {results['head']}, {results['trainable_parameters']:,} weights, on an encoder "
        + (f"{tell_tuning(tuned)}, on the same rows" if tuned else "that was not fine-tuned"),
        f"- data: {_describe_rows(results)}, {rows['dev']:,} dev rows",
        f"- {results['metric']} on dev: "
        + (
            f"{run.together['mean']:.{places}f} of its {run.together['heads']} heads together"
            if run.together
            else f"{results['scores'][place]:.{places}f} of this head, seed {run.best_seed}"
        )
        + (f"; {show_score(results['mean'], results['std'], places)} over {seeds} seeds" if seeds > 1 else ""),
    ]
    calibration = results.get("calibration")
    if calibration:
        lines.append(
            f"- calibration error of its probabilities on dev: {calibration['error']:.3f}; exact ones would have "
            f"{calibration['error_by_chance']:.3f} on so many rows"
        )
    if rivals:
        lines.append(f"- rivals on the same rows: {rivals}")
    if "thresholds" in results:
        lines.append(f"- a question is not answered where null_score - score is above {run.threshold:g}")
    return [*lines, ""]


def _describe_rows(results: Mapping[str, Any]) -> str:
    training, selection, folds = *(results["rows"][role] for role in ("training", "selection")), results.get("folds")
    if folds:
        return f"{training + selection:,} train rows in {folds} folds, each of which chose the epoch of one head"
    chosen = "regularisation" if is_fitted_at_once(results) else "epoch and seed"
    return f"{training:,} training rows, {selection:,} selection rows that chose {chosen}"


def _list(tensors: Mapping) -> str:
    return ", ".join(f"{name} {one.dtype.name} {_show(one.shape)}" for name, one in tensors.items())


def _show(shape) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
