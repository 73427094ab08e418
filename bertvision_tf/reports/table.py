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
        spread = "" if self.std is None else f" ± {self.std:.3f}"
        return self.name, f"{self.mean:.3f}{spread}", f"{self.trainable_parameters:,}", f"{self.seconds:.1f}"


def build_rows(results: Sequence[Mapping[str, Any]]) -> list[TableRow]:
    """The rows of some runs on the same task: baselines of the first that has them, then each run's head."""
    rows = []
    for name, baseline in next((run["baselines"] for run in results if run["baselines"]), {}).items():
        rows.append(TableRow(name, *(baseline[key] for key in ("mean", "std", "trainable_parameters", "seconds"))))
    for run in results:
        seconds = run["seconds"]["train"] / len(run["seeds"])
        rows.append(TableRow(run["head"], run["mean"], run["std"], run["trainable_parameters"], seconds))
    return rows


def format_markdown(rows: Sequence[TableRow]) -> str:
    """The rows as a Markdown table."""
    lines = [HEADER, ("---", "---:", "---:", "---:"), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
