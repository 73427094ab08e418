"""`bertvision quickstart` and `quickstart-qa`: the starter tasks."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from ..settings import RunSettings
from .app import app
from .process import start_tensorflow
from .progress import show_progress
from .settings import takes_settings
from .show import show_notes, show_run, show_written

Count = Annotated[int, Parameter(validator=Number(gte=1))]


@app.command
@takes_settings("encoder")
def quickstart(*, output: Path = Path("quickstart"), seeds: Count = 5, settings: RunSettings) -> None:
    """Run the starter task: which hidden states know grammar, and what a tiny head makes of them.

    Args:
        output: Where the table, the pictures, the runs and the states go.
        seeds: Heads trained of each kind.
    """
    start_tensorflow()
    from ..experiments.quickstart import run_quickstart

    with show_progress() as progress:
        result = run_quickstart(output, encoder=settings.encoder, seeds=seeds, progress=progress)
    show_run([run.results for run in result.runs])
    show_notes(result.runs[0].results)
    show_written(*result.files)


@app.command
@takes_settings("encoder")
def quickstart_qa(*, output: Path = Path("quickstart-qa"), seeds: Count = 3, settings: RunSettings) -> None:
    """Run the starter questions: fine-tune for two epochs, train heads on the states, and answer.

    Args:
        output: Where the table, the run and the states go.
        seeds: Heads.
    """
    start_tensorflow()
    from ..experiments.quickstart import run_quickstart_qa
    from ..tasks import get_task

    with show_progress() as progress:
        result = run_quickstart_qa(output, encoder=settings.encoder, seeds=seeds, progress=progress)
        run, dev = result.runs[0], get_task("starter_qa").load("dev").take(3)
        found = run.answer_all(dev.texts, dev.text_pairs or ())
    show_run([run.results])
    show_notes(run.results)
    for question, answer in zip(dev.texts, found, strict=True):
        print(f"{question} {answer.text or '(no answer)'}")
    show_written(*result.files, run.path)
