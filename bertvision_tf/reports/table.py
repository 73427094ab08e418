"""Results as rows of one table: the rivals first, the heads after them.

Over 300 lines, since tables of runs, of tasks and of draws share their rows and the names in them.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RunError

if TYPE_CHECKING:
    from ..runs import Run

STYLES = {"markdown": "pipe", "csv": "", "latex": "latex_booktabs"}  # by what tabulate calls them
HEADER = ("", "score", "weights", "seconds", "memory", "disk")
ANSWER_METRICS = ("exact", "HasAns_f1", "best_exact", "best_f1")  # shown beside F1 of answers to questions


@dataclasses.dataclass(frozen=True)
class TableRow:
    """One model, of one seed where there are several.

    Attributes:
        name: as shown.
        mean, std: main metric on dev, with its sample deviation over seeds where there are several.
        trainable_parameters: weights that are trained.
        share: of them in the encoder's weights.
        seconds: of training, and of extraction where the run had to extract.
        extraction: of these the seconds of extraction.
        rival: whether it is none of the runs' own.
        memory_bytes: the most that the process held, where it was measured.
        disk_bytes: of states and snapshot, where there are any.
        further: means of further metrics by name, for answers to questions.
        places: of the scores, as `count_places` has them.
    """

    name: str
    mean: float
    std: float | None
    trainable_parameters: int
    share: float
    seconds: float
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    further: Mapping[str, float] = dataclasses.field(default_factory=dict)
    places: int = 3
    extraction: float = 0.0
    rival: bool = False

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        return (
            self.name,
            show_score(self.mean, self.std, self.places),
            *(f"{value:.{self.places}f}" for value in self.further.values()),
            f"{self.trainable_parameters:,}" + (f" ({self.share:.2%})" if self.trainable_parameters else ""),
            f"{self.seconds:.1f}",
            *("" if size is None else show_bytes(size) for size in (self.memory_bytes, self.disk_bytes)),
        )


def count_places(metrics: Collection[str]) -> int:
    """2 for percent, in which answers to questions are scored, and 3 for fractions."""
    return 2 if "exact" in metrics else 3


def show_score(mean: float, std: float | None, places: int = 3) -> str:
    """A mean with its deviation over seeds, where there are several."""
    return f"{mean:.{places}f}" if std is None else f"{mean:.{places}f} ± {std:.{places}f}"


def choose_further(metrics: Collection[str]) -> list[str]:
    """Which metrics are shown beside the main one: of answers to questions those of ANSWER_METRICS."""
    return [name for name in ANSWER_METRICS if name in metrics and "HasAns_f1" in metrics]


def build_header(rows: Sequence[TableRow]) -> list[str]:
    """What stands above the cells of rows."""
    return [*HEADER[:2], *rows[0].further, *HEADER[2:]]


def show_bytes(count: int) -> str:
    """As in 1.5 GiB."""
    unit = next((unit for unit in ("TiB", "GiB") if count >= UNITS[unit]), "MiB")
    return f"{count / UNITS[unit]:,.1f} {unit}"


UNITS = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20}


def show_epochs(epochs: float) -> str:
    """As in 0.3 epoch, 2 epochs."""
    return f"{epochs:g} epoch{'s' * (epochs > 1)}"


def name_head(head: str, epochs: float, parts: str = "all") -> str:
    """A head with what its encoder was fine-tuned, if it was; with the blocks, where only the last were, under it."""
    return f"{name_blocks(head, parts)}, {show_epochs(epochs)}" if epochs else head


def name_blocks(head: str, parts: str) -> str:
    """A head with the blocks that were fine-tuned under it, where these were not all."""
    return head if parts == "all" else f"{head}, {parts.replace('_', ' ')}"


def tell_tuning(tuned: Mapping[str, Any] | None) -> str:
    """What was done to a run's encoder, by its results' `fine_tune`."""
    if not tuned:
        return "frozen"
    if "from" in tuned:
        blocks = tuned["parts"].removeprefix("top_")
        return f"its last {blocks} blocks fine-tuned together with the head, {tuned['epochs']:g} epochs at most"
    return f"fine-tuned {tuned['epochs']:g} epochs"


def is_fitted_at_once(run: Mapping[str, Any]) -> bool:
    """Whether what results.json calls epochs of a run are regularisations."""
    return bool(run["head_config"].get("linear")) and "from" not in (run["fine_tune"] or {})


def name_together(head: str, count: int) -> str:
    """Several heads as one model."""
    return f"{head}, {count} together"


def build_rows(results: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> list[TableRow]:
    """The rows of some runs on the same task: the baselines of all, each once, then each run's head; of a
    fine-tuned encoder its own head, the head on its states, and the two together, with its weights and seconds in.

    Args:
        results: of each run.
        names: what each run is called; by default it is called by its head.
    """
    rows = []
    baselines: dict[str, Any] = {}
    for run in results:
        baselines = run["baselines"] | baselines
    for name, one in sorted(baselines.items(), key=lambda item: "epochs" in item[1]):
        row = _build_row(results[0], name, one, one["trainable_parameters"], one["seconds"], one)
        rows.append(dataclasses.replace(row, rival=True))
    for place, run in enumerate(results):
        tuned, together, own = run.get("fine_tune"), run.get("together"), names[place] if names else None
        encoders = len(tuned["seconds"]) if tuned else 1
        extraction = run["seconds"]["extract"] / encoders
        choosing = run["seconds"].get("choose_head", 0)
        costs = {"memory_bytes": max(run["memory_bytes"].values()), "disk_bytes": run["store"]["bytes"] // encoders}
        weights, before, epochs, parts = 0, 0.0, 0.0, "all"  # of the encoder's fine-tuning
        if tuned:
            weights, before, epochs = tuned["trainable_parameters"], sum(tuned["seconds"]) / encoders, tuned["epochs"]
            parts, before = tuned.get("parts", parts), before + tuned.get("seconds_before", 0.0)
            name = f"{own}: encoder" if own else name_head("encoder", epochs)
            if "from" not in tuned:
                rows.append(_build_row(run, name, tuned, weights, before, tuned))
            costs = {
                "memory_bytes": max(costs["memory_bytes"], tuned["memory_bytes"]),
                "disk_bytes": costs["disk_bytes"] + tuned["disk_bytes"],
            }
        name = own or name_head(run["head"], epochs, parts)
        trained = run["seconds"]["train"]
        each = run["trainable_parameters"], trained / len(run["seeds"])
        models = [(name, run, *each)]
        if tuned and "from" not in tuned:
            models.append((f"{own}: ensemble" if own else name_head("ensemble", epochs), tuned["ensemble"], *each))
        if together:
            name = name_together(name, together["heads"])
            models.append((name, together, together["trainable_parameters"], trained))
        for name, scores, more, seconds in models:
            seconds = before + choosing + (seconds + extraction)
            rows.append(_build_row(run, name, scores, weights + more, seconds, costs, extraction))
    return rows


def _build_row(
    run: Mapping[str, Any],
    name: str,
    scores: Mapping[str, Any],
    weights: int,
    seconds: float,
    costs: Mapping[str, Any],
    extraction: float = 0.0,
) -> TableRow:
    sizes = (costs["memory_bytes"], costs["disk_bytes"])
    metrics = scores.get("metrics", {})
    further = {metric: sum(metrics[metric]) / len(metrics[metric]) for metric in choose_further(metrics)}
    share = weights / run["encoder_parameters"]
    places = count_places(run.get("metrics", ()))
    return TableRow(name, scores["mean"], scores["std"], weights, share, seconds, *sizes, further, places, extraction)


def group_by_draw(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Runs of one task by what of the training rows they were trained on, as in "10%" or "8 a class"."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for run in results:
        groups.setdefault(name_draw(run), []).append(run)
    return groups


def name_draw(run: Mapping[str, Any]) -> str:
    """What of the training rows a run was trained on."""
    share, shots = run["draw"]["share"], run["draw"]["shots"]
    return f"{shots} a class" if shots else f"{100 * share:.6g}%"


def choose_most_rows(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The runs of one task that had the most training rows."""
    return max(group_by_draw(results).values(), key=lambda group: group[0]["rows"]["training"])


def build_draw_rows(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table of one task: scores of each model, a column for each draw of training rows."""
    columns = {
        f"{name}: {group[0]['rows']['training']:,}": {
            row.name: show_score(row.mean, row.std, row.places) for row in build_rows(group)
        }
        for name, group in group_by_draw(results).items()
    }
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return ["", *columns], [[name, *(column.get(name, "") for column in columns.values())] for name in names]


def build_named_rows(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[TableRow]:
    """The rows of some runs on one task, each called by its own name, the rivals first.

    Rivals of the same name are one where they read the same: rows and hidden states. Where not, they have the draw of
    the training rows in their name, or the run's that fitted them.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for place, run in enumerate(results):
        tuned = run["fine_tune"]
        epochs = tuned["epochs"] if tuned and "from" not in tuned else 0  # there rivals read frozen states
        states = (run["encoder_fingerprint"], *run["layers"]["names"], epochs)
        groups.setdefault((name_draw(run), run["rows"]["training"], states), []).append(place)
    by_draw = len({drawn for drawn, *_ in groups}) == len(groups)
    rivals: list[TableRow] = []
    for (drawn, *_), places in groups.items():
        of = "" if len(groups) == 1 else f" ({drawn if by_draw else names[places[0]]})"
        rows = build_rows([results[place] for place in places])
        rivals += [dataclasses.replace(row, name=row.name + of) for row in rows if row.rival]
    return rivals + [row for row in build_rows(results, names) if not row.rival]


def format_runs(runs: Mapping[str, Run], style: str) -> str:
    """Runs by name as text: "markdown" or "latex", a table for those on the same dev rows; "csv", one for all with
    numbers in full.

    Raises:
        RunError: the style is none of these, or a run was written by a version that wrote less.
    """
    from ..runs import group_by_rows

    if style not in STYLES:
        raise RunError(f"--format {style} is not known; known: {', '.join(STYLES)}.")
    tables = []
    for group in group_by_rows(runs):
        results = [run.results for run in group.values()]
        tables.append((results[0], build_named_rows(results, list(group))))
    if style == "csv":
        return _format_csv(tables)
    comment = "%" if style == "latex" else "##"
    return "\n".join(
        f"{comment} {first['task']}, {first['rows']['dev']:,} dev rows, {first['metric']}\n\n"
        f"{format_table(build_header(rows), [row.cells() for row in rows], style)}"
        for first, rows in tables
    )


def _format_csv(tables: Sequence[tuple[Mapping[str, Any], Sequence[TableRow]]]) -> str:
    further = list(dict.fromkeys(name for _, rows in tables for row in rows for name in row.further))
    fields = ("mean", "std", "trainable_parameters", "share", "seconds", "memory_bytes", "disk_bytes")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["task", "dev_rows", "metric", "model", *fields, *further])
    for first, rows in tables:
        task = (first["task"], first["rows"]["dev"], first["metric"])
        for row in rows:
            numbers = [getattr(row, field) for field in fields] + [row.further.get(name) for name in further]
            writer.writerow([*task, row.name, *("" if number is None else number for number in numbers)])
    return stream.getvalue()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], style: str = "markdown") -> str:
    """Cells as a table of Markdown or of LaTeX with booktabs, the first column to the left and the others to the
    right."""
    from tabulate import tabulate

    align = ["left", *(["right"] * (len(header) - 1))]
    return tabulate(rows, header, tablefmt=STYLES[style], colalign=align, disable_numparse=True) + "\n"


def format_markdown(rows: Sequence[TableRow]) -> str:
    """The rows as a Markdown table."""
    return format_table(build_header(rows), [row.cells() for row in rows])


def build_task_rows(results: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table over tasks: main metric on dev of each rival, of the head, and of all heads
    together where they predict so."""
    rivals: list[str] = []
    for run in results:
        rivals += [name for name in map(_kind_of_rival, run["baselines"]) if name not in rivals]
    rows, averages = [], any(run.get("together") for run in results)
    for run in results:
        scores = {_kind_of_rival(name): baseline["mean"] for name, baseline in run["baselines"].items()}
        places = count_places(run.get("metrics", ()))
        shown = [show_score(scores[name], None, places) if name in scores else "" for name in rivals]
        together = run.get("together")
        shown += [show_score(run["mean"], run["std"], places)]
        shown += [show_score(together["mean"], None, places) if together else ""] * averages
        rows.append([run["task"], run["metric"], *shown])
    return ["task", "metric", *rivals, "head", *["together"] * averages], rows


def _kind_of_rival(name: str) -> str:
    """One name for what differs by the kind of task: the constant answer, and the linear model on features."""
    constant = {"majority": "majority or mean", "mean": "majority or mean"}
    return constant.get(name, name.replace("logistic regression", "regression").replace("ridge ", ""))
