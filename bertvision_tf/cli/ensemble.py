"""`bertvision ensemble`."""

from pathlib import Path

from ..settings import RunSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .settings import takes_settings
from .show import show_ensemble, show_written


@app.command
@takes_settings("table", "data_dir")
def ensemble(runs: list[Path], /, *, output: Path | None = None, settings: RunSettings) -> None:
    """Combine runs by the maximum, the mean, the geometric mean and a weighted mean of their probabilities. The weights
    are fitted on the selection rows. The data are the first run's, unless options name others.

    Args:
        runs: Folders of finished runs on the same rows.
        output: Folder for results.json and the predictions. Default: runs/TASK-ensemble.
    """
    start_tensorflow()
    from ..experiments.ensemble import ensemble_runs
    from ..experiments.preparation import read_task
    from ..runs import load_run

    with show_progress() as progress:
        found = ensemble_runs(
            [load_run(path) for path in runs],
            output,
            task=read_task(settings) if settings.table else None,
            data_dir=settings.rows.data_dir,
            progress=progress,
        )
    show_ensemble(found)
    show_written(found.path)
