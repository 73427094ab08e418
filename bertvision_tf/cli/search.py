"""`bertvision search`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ..settings import RunSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .settings import takes_settings
from .show import show_search


@app.command
@takes_settings(
    *("task", "table", "encoder", "data_dir", "limit", "train_share", "states", "fine_tune_epochs", "epochs"),
    *("negatives", "strategy", "store", "check"),
)
def search(
    *,
    tuner: str = "hyperband",
    trials: Annotated[int, Parameter(validator=Number(gte=1))] = 30,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    folds: Annotated[int | None, Parameter(validator=Number(gte=2))] = None,
    only: list[str] | None = None,
    output: Path | None = None,
    settings: RunSettings,
) -> None:
    """Search for the head that scores best on the selection rows. After a stop, the same command continues.

    Args:
        tuner: hyperband, random, bayesian or grid.
        trials: Maximum number of trials; a higher number continues an earlier search.
        seed: Seed of the choices, and of each head.
        folds: Number of parts of train that are used in turn as selection rows. Default: only the selection rows.
        only: Values to choose among, as in front_dim=16,64; may be given several times.
        output: The search's folder. Default: runs/search-TASK.
    """
    start_tensorflow()
    from ..experiments.preparation import read_task
    from ..tuning import read_only
    from ..tuning import search as run_search

    with show_progress() as progress:
        found = run_search(
            read_task(settings),
            settings.encoder,
            tuner=tuner,
            trials=trials,
            seed=seed,
            folds=folds,
            only=read_only(only or []),
            settings=settings,
            output=output,
            progress=progress,
        )
    if found is None:
        print("the chief has what was found.")
    else:
        show_search(found)
