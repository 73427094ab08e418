"""`bertvision report` and `table`: finished runs as a page, and as tables."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .show import show_written


@app.command
def report(
    runs: list[Path],
    /,
    *,
    output: Path = Path("report"),
    examples: Annotated[int, Parameter(validator=Number(gte=0))] = 2,
) -> None:
    """Write runs as one page: scores, costs, significance, curves, layers, and every wrong row.

    Args:
        runs: Folders of finished runs.
        output: Gets index.html, its pictures as PNGs, and report.json.
        examples: Rows of each task shown as images; their encoder runs for it.
    """
    if examples:
        start_tensorflow()
    from ..reports.report import write_report

    with show_progress() as progress:
        page = write_report(runs, output, examples=examples, progress=progress)
    show_written(page)


@app.command
def table(runs: list[Path], /, *, format: str = "markdown") -> None:
    """Print runs as tables, one a task with its rivals first; as CSV all in one, with numbers in full.

    Args:
        runs: Folders of finished runs.
        format: markdown, csv or latex.
    """
    from ..reports.table import format_runs
    from ..runs import load_run, name_runs

    opened = [load_run(run) for run in runs]
    print(format_runs(dict(zip(name_runs(opened), opened, strict=True)), format), end="")
