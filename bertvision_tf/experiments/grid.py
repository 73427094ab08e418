"""One head on tasks, over fractions of an epoch of fine-tuning and of the training rows: a run each, and pictures.

A grid is finished cell by cell: what is there already, of the same settings and versions, is found again.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..paths import read_path
from ..progress import Progress, ignore, prefix
from ..reports.figures import draw_by_epochs, draw_by_rows
from ..reports.plots import write_png
from ..runs import Run, writing_to
from ..settings import RunSettings, takes_options
from ..tasks import GLUE, TaskSpec, get_task
from ..training.draw import check_draw
from ..training.encoder_trial import check_rivals
from .experiment import train
from .from_run import check_whole
from .preparation import check_predictor, read_task


@dataclasses.dataclass(frozen=True)
class Grid:
    """The cells that are run.

    Attributes:
        tasks: names, or TaskSpecs.
        epochs: of fine-tuning, in rising order; 0 for a frozen encoder.
        shares: of the training rows.
        shots: rows of each class.
    """

    tasks: Sequence[str | TaskSpec]
    epochs: Sequence[float] = (0.0,)
    shares: Sequence[float] = (1.0,)
    shots: Sequence[int] = ()

    @property
    def draws(self) -> list[dict[str, Any]]:
        """Which of the training rows are trained on, the fewest shots first, then the smallest share."""
        few: list[dict[str, Any]] = [{"shots": count} for count in sorted(self.shots)]
        return few + [{"train_share": share} for share in sorted(self.shares)]

    def __len__(self) -> int:
        return len(self.tasks) * len(self.draws) * len(self.epochs)


def build_grid(
    settings: RunSettings,
    *,
    fine_tune_epochs: Sequence[float] = (),
    train_share: Sequence[float] = (),
    shots: Sequence[int] = (),
) -> Grid:
    """The grid of several values of some options; of those left out, what the settings say.

    Raises:
        TaskError: rows of one of GLUE's tasks, which the task "all" names, are not there.
    """
    rows = settings.rows
    if not shots and not train_share:
        shots = [rows.shots] if rows.shots else []
        train_share = [] if shots else [rows.train_share]
    return Grid(_choose_tasks(settings), fine_tune_epochs or [settings.tuning.fine_tune_epochs], train_share, shots)


def _choose_tasks(settings: RunSettings) -> list[TaskSpec]:
    if settings.table is not None or settings.task.lower() != "all":
        return [read_task(settings)]
    tasks = [get_task(name) for name in GLUE]
    for task in tasks:  # all are there before the first is begun
        for split in task.splits:
            if settings.rows.data_dir is not None:
                task.find_file(split, settings.rows.data_dir)
    return tasks


@takes_options()
def train_grid(
    grid: Grid,
    encoder: Any,
    *,
    settings: RunSettings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[Run]:
    """Runs the cells of a grid, all epochs of a task's rows one after the other.

    Args:
        grid: the cells.
        encoder: as `train`'s.
        settings, **options: as `train`'s, but for what the cells differ in. `output` is the folder of all runs, in
            which each has one of its own, and that of the run where there is one cell; by default runs/. `tensorboard`
            is divided likewise. Rivals are fitted for one run of each task's rows, since they know no epochs: the
            simple ones for the first, the fine-tuned ones for the last, which go on from its snapshots.
        progress: as `train`'s.
    """
    settings = (settings or RunSettings()).change(**options)
    _check_grid(grid, settings)
    rivals, places = settings.rivals, settings.places
    for task, draw, epochs in itertools.product(grid.tasks, grid.draws, grid.epochs):
        name = get_task(task).name
        folders = [name] * (len(grid.tasks) > 1)
        if len(grid.draws) > 1:
            folders += [f"{what.removeprefix('train_')}-{value:g}" for what, value in draw.items()]
        folders += [f"epochs-{epochs:g}"] * (len(grid.epochs) > 1)
        cell = settings.change(
            **{"train_share": 1.0, "shots": None} | draw,
            fine_tune_epochs=epochs,
            baselines=rivals.baselines and epochs == grid.epochs[0],
            baseline_parts=rivals.baseline_parts if epochs == grid.epochs[-1] else (),
            baseline_rates=rivals.baseline_rates if epochs == grid.epochs[-1] else (),
            output=places.output and read_path(places.output).joinpath(*folders),
            tensorboard=places.tensorboard and read_path(places.tensorboard).joinpath(*folders),
            resume=len(grid) > 1,
        )
        told = prefix(progress, " ".join(folders)) if folders else progress or ignore
        yield train(task, encoder, settings=cell, progress=told)


def _check_grid(grid: Grid, settings: RunSettings) -> None:
    """Raises what is wrong with the last cell before the first has run."""
    for task, draw in itertools.product(grid.tasks, grid.draws):
        check_draw(get_task(task), draw.get("train_share", 1.0), draw.get("shots"))
    if not all(0 <= epochs < math.inf for epochs in grid.epochs):
        raise RunError(f"a grid needs epochs from 0 on, got {list(grid.epochs)}.")
    rivals = settings.rivals
    check_rivals(rivals.baseline_parts, rivals.baseline_epochs, rivals.baseline_rates)
    check_predictor(settings.change(fine_tune_epochs=max(grid.epochs)))
    if settings.tuning.fine_tune_from is not None and len(grid) > 1:
        if len(grid.tasks) > 1 or len(grid.draws) > 1:
            raise RunError("`fine_tune_from` names a run of one task and one draw of its rows: give one of each.")
        for epochs in grid.epochs:
            check_whole(epochs)


def plot_grid(grid: Grid, runs: Sequence[Run], folder: str | Path) -> list[Path]:
    """Draws what a grid came to: of each task the score by training rows, and by epochs of fine-tuning.

    Args:
        grid: that was run.
        runs: all of its runs, in its order.
        folder: gets a PNG a task and kind.

    Returns:
        the files.
    """
    files: list[Path] = []
    each = len(runs) // len(grid.tasks)
    folder = read_path(folder)
    with writing_to(folder):
        for start in range(0, len(runs), each):
            results = [run.results for run in runs[start : start + each]]
            for what, wanted, draw in (
                ("training_rows", len(grid.draws) > 1, draw_by_rows),
                ("epochs", len(grid.epochs) > 1, draw_by_epochs),
            ):
                if wanted:
                    folder.mkdir(parents=True, exist_ok=True)
                    files.append(folder / f"{results[0]['task']}-{what}.png")
                    write_png(draw(results), files[-1])
    return files
