"""`bertvision train`."""

from typing import Any

from ..settings import RunSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .settings import takes_settings
from .show import show_notes, show_run, show_tasks


@app.command
@takes_settings(several=True)
def train(settings: RunSettings, axes: dict[str, Any]) -> None:
    """Train heads on every hidden state of an encoder, frozen or a little fine-tuned, and score them on dev."""
    start_tensorflow(share_gpus=settings.cluster.ray is not None)
    from ..experiments.grid import build_grid, plot_grid, train_grid
    from ..reports.table import choose_most_rows

    with show_progress() as progress:
        grid = build_grid(settings, **axes)
        runs = list(train_grid(grid, settings.encoder, settings=settings, progress=progress))
        pictures = plot_grid(grid, runs, settings.places.output or "runs")
    results, each = [run.results for run in runs], len(runs) // len(grid.tasks)
    if len(grid.tasks) > 1 and each == 1:
        show_tasks(results)
    else:
        for start in range(0, len(runs), each):
            show_run(results[start : start + each])
    show_notes(results[-1])
    if len(grid.tasks) == 1:
        for found in choose_most_rows(results):
            for difference in found["significance"]:
                print(difference["words"])
    for run in runs:
        print(f"run: {run.path}")
    for file in pictures:
        print(f"picture: {file}")
