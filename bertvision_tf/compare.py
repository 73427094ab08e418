"""Many heads on many tasks over one encoder's states: a grid that is finished cell by cell."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .encoders import Encoder, load_encoder
from .errors import HeadError, RunError
from .experiment import train
from .heads import get_preset, list_presets, measure_head
from .heads.config import TokenPoolingMode
from .progress import Progress, ignore, prefix
from .reports.table import show_score
from .tasks import get_task

TASKS = ("cola", "mrpc", "rte", "stsb")
LARGE = 1_000_000  # weights; from there on one seed, and LARGE_TASKS alone
LARGE_TASKS = ("cola", "rte")
TOKENS = 40  # of the example by whose multiply-adds cells are put in order


@dataclasses.dataclass(frozen=True)
class Cell:
    """One head on one task, as a line of the CSV file.

    Attributes:
        head, task, encoder: names.
        seeds: how many heads were trained.
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
    encoder: str
    seeds: int
    metric: str
    mean: float
    std: float | None
    selection: float
    weights: int
    seconds: float
    date: str
    versions: str


def plan_cells(encoder: Encoder, heads: Sequence[str], tasks: Sequence[str], seeds: int) -> list[tuple[str, str, int]]:
    """The cells that can be run, (head, task, seeds), the cheapest head first.

    Heads that compare pairs have no cell on single texts; heads of LARGE weights one seed, on LARGE_TASKS alone. Heads
    that flatten their tokens read the first one of each text.

    Raises:
        HeadError, TaskError: a name that is unknown.
    """
    cells = []
    sizes = {"num_hidden_states": encoder.num_hidden_states, "hidden_dim": encoder.hidden_dim}
    for head in heads:
        try:
            size = measure_head(head, num_tokens=TOKENS, **sizes)  # type: ignore[arg-type]
        except HeadError:
            get_preset(head)  # raises where the name is at fault
            continue
        for task in map(get_task, tasks):
            large = size.trainable_parameters > LARGE
            if (large and task.name not in LARGE_TASKS) or (get_preset(head).comparison and not task.text_pair):
                continue
            cells.append((size.multiply_adds, head, task.name, 1 if large else seeds))
    return [cell[1:] for cell in sorted(cells, key=lambda cell: cell[0])]


def compare_heads(
    output: str | Path,
    *,
    encoder: str = "minilm",
    dtype: str = "float32",
    heads: Sequence[str] | None = None,
    tasks: Sequence[str] = TASKS,
    seeds: int = 3,
    store: str | Path = "states",
    data_dir: str | Path | None = None,
    limit: int | None = None,
    progress: Progress = ignore,
) -> Iterator[Cell]:
    """Runs the cells that a CSV file does not have yet, and adds each to it when it is done.

    Args:
        output: the CSV file; what it holds is kept, and not run again. Runs lie beside it in a folder of its name.
        encoder, dtype: whose states.
        heads: names; all the listed ones with None.
        tasks: names.
        seeds: heads of each cell.
        store, data_dir, limit, progress: as `train`'s.

    Yields:
        each cell as it is done.

    Raises:
        RunError: the file cannot be read or written, or holds cells of another encoder.
    """
    output, loaded = Path(output), load_encoder(encoder, dtype)
    done = {(cell.head, cell.task, cell.seeds) for cell in read_cells(output, encoder)}
    missing = [cell for cell in plan_cells(loaded, heads or list_presets(), tasks, seeds) if cell not in done]
    for place, (head, task, count) in enumerate(missing):
        progress("cells", place, len(missing))
        run = train(
            task,
            loaded,
            head=head,
            seeds=count,
            store=store,
            output=output.with_suffix("") / f"{task}-{head}",
            data_dir=data_dir,
            limit=limit,
            tokens="cls" if get_preset(head).token_pooling is TokenPoolingMode.FLAT else "all",
            baselines=False,
            progress=prefix(progress, f"{task} {head}"),
        )
        results = run.results
        versions = results["versions"]
        cell = Cell(
            head,
            task,
            encoder,
            count,
            results["metric"],
            results["mean"],
            results["std"],
            sum(results["selection_scores"]) / count,
            results["trainable_parameters"],
            results["seconds"]["train"] / count,
            datetime.date.today().isoformat(),
            ", ".join(f"{name} {versions[name]}" for name in ("bertvision-tf", "tensorflow", "keras")),
        )
        _append(output, cell)
        yield cell
    progress("cells", len(missing), len(missing))


def read_cells(file: Path, encoder: str | None = None) -> list[Cell]:
    """The cells of a CSV file; none where there is no file. A last line that was cut short is left out."""
    if not file.exists():
        return []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}.") from None
    whole = text[: text.rfind("\n") + 1]
    cells = []
    for number, row in enumerate(csv.DictReader(whole.splitlines()), start=2):
        try:
            cells.append(_read_cell(row))
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{file}, line {number} is no cell of a comparison: move the file away.") from None
    others = {cell.encoder for cell in cells} - {encoder}
    if encoder is not None and others:
        raise RunError(f"{file} holds cells of encoder {', '.join(others)}, asked for {encoder}: name another file.")
    return cells


def format_comparison(cells: Sequence[Cell], planned: Sequence[tuple[str, str, int]]) -> str:
    """A Markdown table of heads by tasks, main metric on dev; what was not run stays empty and is named under it."""
    tasks = list(dict.fromkeys(task for _, task, _ in planned))
    found = {(cell.head, cell.task): cell for cell in cells}
    heads = list(dict.fromkeys(head for head, _, _ in planned))
    lines = [["head", "weights", *tasks], ["---", "---:", *("---:" for _ in tasks)]]
    for head in heads:
        own = [found.get((head, task)) for task in tasks]
        weights = next((f"{cell.weights:,}" for cell in own if cell), "")
        lines.append([head, weights, *(show_score(cell.mean, cell.std) if cell else "" for cell in own)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    missing = [f"{head} on {task}" for head, task, _ in planned if (head, task) not in found]
    if missing:
        table += f"\nNot run: {', '.join(missing)}.\n"
    if cells:
        days = sorted({cell.date for cell in cells})
        made = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        table += f"\n{made}; encoder {cells[0].encoder}; {'; '.join(sorted({cell.versions for cell in cells}))}.\n"
    return table


def _read_cell(row: dict[str, str]) -> Cell:
    kinds = {"seeds": int, "weights": int, "mean": float, "selection": float, "seconds": float}
    values = {name: kinds.get(name, str)(row[name]) for name in row if name != "std"}
    return Cell(**values, std=float(row["std"]) if row["std"] else None)


def _append(file: Path, cell: Cell) -> None:
    values = {name: "" if value is None else value for name, value in dataclasses.asdict(cell).items()}
    whole = (
        []
        if not file.exists()
        else [line for line in file.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "r+" if whole else "w", newline="", encoding="utf-8") as stream:
            stream.seek(sum(len(line.encode()) for line in whole))
            stream.truncate()
            writer = csv.DictWriter(stream, list(values), lineterminator="\n")
            if not whole:
                writer.writeheader()
            writer.writerow(values)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}.") from None
