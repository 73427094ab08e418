"""Results as rows of one table: the rivals first, the heads after them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

HEADER = ("", "score", "weights", "seconds")


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One model: its name, main metric on dev (mean, and sample deviation over seeds where there are several),
    trainable weights, and seconds of training for one seed."""

    name: str
    mean: float
    std: float | None
    trainable_parameters: int
    seconds: float

    def cells(self) -> tuple[str, str, str, str]:
        """The row as text."""
        return self.name, show_score(self.mean, self.std), f"{self.trainable_parameters:,}", f"{self.seconds:.1f}"


def show_score(mean: float, std: float | None) -> str:
    """A mean with its deviation over seeds, where there are several."""
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


def build_rows(results: Sequence[Mapping[str, Any]]) -> list[TableRow]:
    """The rows of some runs on the same task: baselines of the first that has them, then each run's head; of a
    fine-tuned encoder its own head, the head on its states, and the two together, with its weights and seconds in."""
    rows = []
    for name, baseline in next((run["baselines"] for run in results if run["baselines"]), {}).items():
        rows.append(TableRow(name, *(baseline[key] for key in ("mean", "std", "trainable_parameters", "seconds"))))
    for run in results:
        seconds, tuned = run["seconds"]["train"] / len(run["seeds"]), run.get("fine_tune")
        if not tuned:
            rows.append(TableRow(run["head"], run["mean"], run["std"], run["trainable_parameters"], seconds))
            continue
        epochs = f"{tuned['epochs']:g} epoch{'s' * (tuned['epochs'] > 1)}"
        weights, before = tuned["trainable_parameters"], sum(tuned["seconds"]) / len(tuned["seconds"])
        both = weights + run["trainable_parameters"]
        rows.append(TableRow(f"encoder, {epochs}", tuned["mean"], tuned["std"], weights, before))
        rows.append(TableRow(f"{run['head']}, {epochs}", run["mean"], run["std"], both, before + seconds))
        ensemble = tuned["ensemble"]
        rows.append(TableRow(f"ensemble, {epochs}", ensemble["mean"], ensemble["std"], both, before + seconds))
    return rows


def format_markdown(rows: Sequence[TableRow]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADER, ("---", "---:", "---:", "---:"), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def build_task_rows(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table over tasks: main metric on dev of each rival and of the head."""
    rivals: list[str] = []
    for run in results:
        rivals += [name for name in map(_kind_of_rival, run["baselines"]) if name not in rivals]
    rows = []
    for run in results:
        scores = {_kind_of_rival(name): baseline["mean"] for name, baseline in run["baselines"].items()}
        shown = [f"{scores[name]:.3f}" if name in scores else "" for name in rivals]
        rows.append([run["task"], run["metric"], *shown, show_score(run["mean"], run["std"])])
    return ["task", "metric", *rivals, "head"], rows


def _kind_of_rival(name: str) -> str:
    """One name for what differs by the kind of task: the constant answer, and the linear model on features."""
    constant = {"majority": "majority or mean", "mean": "majority or mean"}
    return constant.get(name, name.replace("logistic regression", "regression").replace("ridge ", ""))
