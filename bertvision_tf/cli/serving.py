"""`bertvision export`, `demo` and `submit`: what others get of finished runs."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ..settings import RunSettings
from .app import app
from .process import start_tensorflow
from .settings import takes_settings
from .show import show_written


@app.command
def export(runs: list[Path], /, *, output: Path, dtype: str | None = None) -> None:
    """Write an encoder and the heads of runs as one SavedModel for TensorFlow Serving, which predicts from texts.

    Args:
        runs: Folders of finished runs whose heads read the same states.
        output: The folder of this version, as in models/cola/1.
        dtype: Type of the encoder's matrix products, float32 or bfloat16. Default: the runs' own.
    """
    start_tensorflow()
    from ..serving import export_runs

    show_written(export_runs(runs, output, dtype=dtype, notice=lambda line: print(line, file=sys.stderr)))


@app.command
def demo(
    runs: list[Path],
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int | None, Parameter(validator=Number(gte=1, lte=65535))] = None,
) -> None:
    """Serve a local page where one pastes text and sees what each head says, and why.

    Args:
        runs: Folders of finished runs that read the same kind of texts.
        host: The address to listen on; by default this machine alone can reach it.
        port: Default: 7860, or the next that is free.
    """
    start_tensorflow()
    from ..runs import load_run
    from ..serving import launch_demo

    launch_demo([load_run(run) for run in runs], host, port, lambda address: print(f"page: {address}", flush=True))


@app.command
@takes_settings("data_dir")
def submit(runs: list[Path], /, *, output: Path = Path("submission"), settings: RunSettings) -> None:
    """Predict GLUE's test rows: a TSV for each file that the leaderboard takes.

    Args:
        runs: Folders of finished runs on GLUE's tasks, one a task.
        output: Folder of the leaderboard's files.
    """
    start_tensorflow()
    from ..runs import load_run
    from ..runs.submission import write_submission

    show_written(*write_submission([load_run(run) for run in runs], output, settings.rows.data_dir))
