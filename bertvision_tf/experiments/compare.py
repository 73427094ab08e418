"""Many heads on many tasks over one encoder's states: a grid that is finished cell by cell."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..encoders import Encoder
from ..errors import BertvisionError
from ..heads import get_preset, measure_head
from ..heads.config import TokenPoolingMode
from ..progress import Progress, ignore, prefix
from ..random_states import keeps_random_states
from ..reports.table import show_score
from ..store import CACHE_BYTES
from ..tasks import get_task
from .cells import append_cell, check_table, read_cells
from .experiment import train

TASKS = ("cola", "mrpc", "rte", "stsb")
LARGE = 1_000_000  # weights; from there on one seed, and LARGE_TASKS alone
LARGE_TASKS = ("cola", "rte")
TOKENS = 40  # of the example by whose multiply-adds cells are put in order


@dataclasses.dataclass(frozen=True)
class Cell:
    """One head on one task, as a line of the CSV file.

    Attributes:
        head, task: names.
        setting: encoder, with the first digits of its fingerprint, its dtype, and the rows if not all.
        seeds: how many heads were asked for; one is trained where all are the same.
        metric: the task's main one.
        mean, std: of it on dev, over the seeds; no std of one.
        selection: mean of it on the selection rows, by which heads are chosen.
        weights: trained ones.
        seconds: of training, a seed.
        date: of the run, as 2026-01-31.
        versions: of this library, TensorFlow and Keras.
    """

    head: str
    task: str
    setting: str
    seeds: int
    metric: str
    mean: float
    std: float | None
    selection: float
    weights: int
    seconds: float
    date: str
    versions: str


@dataclasses.dataclass(frozen=True)
class Failure:
    """A cell that could not be done, and why."""

    head: str
    task: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """The cells of a grid, (head, task, seeds), and those that are left out, with the reason."""

    cells: list[tuple[str, str, int]]
    skipped: list[str]


def plan_cells(encoder: Encoder, heads: Sequence[str], tasks: Sequence[str], seeds: int) -> Plan:
    """The cells of a grid, the cheapest head first.

    Heads that compare pairs have no cell on single texts; heads of LARGE weights one seed, on LARGE_TASKS alone. Heads
    that flatten their tokens read the first one of each text.

    Raises:
        HeadError, TaskError: a name that is unknown, or a network that cannot be had.
    """
    specs, cells, skipped = [get_task(task) for task in tasks], [], []
    for head in heads:
        size = measure_head(
            head, num_hidden_states=encoder.num_hidden_states, hidden_dim=encoder.hidden_dim, num_tokens=TOKENS
        )
        large = size.trainable_parameters > LARGE
        for task in specs:
            if get_preset(head).comparison and not task.text_pair:
                skipped.append(f"{head} on {task.name} (no pairs)")
            elif large and task.name not in LARGE_TASKS:
                skipped.append(f"{head} on {task.name} (over {LARGE:,} weights)")
            else:
                cells.append((size.multiply_adds, (head, task.name, 1 if large else seeds)))
    return Plan([cell for _, cell in sorted(cells, key=lambda cell: cell[0])], skipped)


@keeps_random_states
def compare_heads(
    output: str | Path,
    encoder: Encoder,
    plan: Plan,
    *,
    store: str | Path = "states",
    cache: str | Path | None = None,
    cache_bytes: int = CACHE_BYTES,
    check: str = "once",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    progress: Progress = ignore,
) -> Iterator[Cell | Failure]:
    """Runs the cells that a CSV file does not have yet, and adds each to it when it is done.

    Args:
        output: the CSV file; what it holds is kept, and not run again. Runs lie beside it in a folder of its name.
        encoder: whose states.
        plan: the cells, of `plan_cells`.
        store, cache, cache_bytes, check, data_dir, limit, progress: as `train`'s.

    Yields:
        each cell as it is done, or what kept it from being done: the next is tried then.

    Raises:
        RunError: the file cannot be read or written, or holds cells of another encoder or other rows.
    """
    output = check_table(output)
    setting = describe_setting(encoder, limit)
    done = {(cell.head, cell.task, cell.seeds) for cell in read_cells(output, Cell, setting)}
    missing = [cell for cell in plan.cells if cell not in done]
    for place, (head, task, count) in enumerate(missing):
        progress("cells", place, len(missing))
        try:
            run = train(
                task,
                encoder,
                head=head,
                seeds=count,
                store=store,
                cache=cache,
                cache_bytes=cache_bytes,
                check=check,
                output=output.with_suffix("") / f"{task}-{head}",
                data_dir=data_dir,
                limit=limit,
                tokens="cls" if get_preset(head).token_pooling is TokenPoolingMode.FLAT else "all",
                baselines=False,
                progress=prefix(progress, f"{task} {head}"),
            )
        except BertvisionError as error:
            yield Failure(head, task, str(error))
            continue
        results = run.results
        versions, trained = results["versions"], len(results["seeds"])  # fewer than asked of a linear head
        cell = Cell(
            head,
            task,
            setting,
            count,
            results["metric"],
            results["mean"],
            results["std"],
            sum(results["selection_scores"]) / trained,
            results["trainable_parameters"],
            results["seconds"]["train"] / trained,
            datetime.date.today().isoformat(),
            ", ".join(f"{name} {versions[name]}" for name in ("bertvision-tf", "tensorflow", "keras")),
        )
        append_cell(output, cell)
        yield cell
    progress("cells", len(missing), len(missing))


def describe_setting(encoder: Encoder, limit: int | None) -> str:
    """What cells of one table have in common."""
    rows = "" if limit is None else f", first {limit} rows"
    return f"{encoder.name} {encoder.fingerprint[:8]} {encoder.dtype}{rows}"


def format_comparison(cells: Sequence[Cell], plan: Plan) -> str:
    """A Markdown table of heads by tasks, main metric on dev; what was not run stays empty and is named under it."""
    tasks = list(dict.fromkeys(task for _, task, _ in plan.cells))
    found = {(cell.head, cell.task, cell.seeds): cell for cell in cells}
    rows: dict[str, dict[str, Cell | None]] = {}
    for head, task, seeds in plan.cells:
        rows.setdefault(head, {})[task] = found.get((head, task, seeds))
    lines = [["head", "weights", *tasks], ["---", "---:", *("---:" for _ in tasks)]]
    for head, own in rows.items():
        counts = [cell.weights for cell in own.values() if cell]
        weights = f"{counts[0]:,}" if counts else ""
        if counts and max(counts) > 2 * min(counts):  # not by the outputs: a kernel head grows with the rows
            weights = f"{min(counts):,} to {max(counts):,}"
        shown = [show_score(cell.mean, cell.std) if cell else "" for cell in (own.get(task) for task in tasks)]
        lines.append([head, weights, *shown])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    missing = [f"{head} on {task}" for head, own in rows.items() for task, cell in own.items() if cell is None]
    if missing:
        table += f"\nNot run: {_join_tasks(missing)}.\n"
    if plan.skipped:
        table += f"\nNot planned: {_join_tasks(plan.skipped)}.\n"
    shown_cells = [cell for own in rows.values() for cell in own.values() if cell]
    if shown_cells:
        days = sorted({cell.date for cell in shown_cells})
        made = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        versions = "; ".join(sorted({cell.versions for cell in shown_cells}))
        table += f"\n{made}; {shown_cells[0].setting}; {versions}.\n"
    return table


def _join_tasks(cells: Sequence[str]) -> str:
    """Cells, each "HEAD on TASK" with perhaps a reason in brackets; the tasks of one head and reason together."""
    tasks: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        head, _, place = cell.partition(" on ")
        task, _, reason = place.partition(" ")
        tasks.setdefault((head, reason), []).append(task)
    return "; ".join(f"{head} on {', '.join(own)} {reason}".rstrip() for (head, reason), own in tasks.items())
