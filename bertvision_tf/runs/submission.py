"""Files for GLUE's leaderboard, from finished runs: a TSV a test file, index and prediction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import RunError
from ..paths import read_path
from ..tasks import GLUE, TASKS, Examples, TaskSpec
from ..tasks.readers import read_official
from ..tasks.tables import write_table
from .folder import writing_to
from .run import Run

NAMED = ("mnli", "qnli", "rte")  # their predictions are names, those of the others 0 and 1
DIAGNOSTIC = Path("diagnostic", "diagnostic.tsv")  # GLUE's own set, which a run on MNLI answers
SCORES = (0.0, 5.0)  # of STS-B


def write_submission(runs: Sequence[Run], folder: str | Path, data_dir: str | Path | None = None) -> Iterator[Path]:
    """Predicts the test rows of GLUE tasks, each with the head that the selection rows chose.

    Args:
        runs: finished ones, at most one a task.
        folder: gets `CoLA.tsv`, `MNLI-m.tsv` and so on; what it holds by these names is replaced.
        data_dir: the folder of GLUE's official download; tensorflow_datasets with None. A run on MNLI answers its
            `diagnostic/diagnostic.tsv` too, where that is there.

    Yields:
        each file when it is written.

    Raises:
        RunError: a run is of no GLUE task, or two are of the same.
        TaskError: there are no test rows.

    Source: the submission guide of gluebenchmark.com.
    """
    names = [run.config["task"] for run in runs]
    for run, name in zip(runs, names, strict=True):
        if name not in GLUE:
            raise RunError(f"{run.path} is a run on {name}; the leaderboard takes {', '.join(GLUE)}.")
        if names.count(name) > 1:
            raise RunError(f"two runs are on {name}: the leaderboard takes one.")
    folder = read_path(folder)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    parts = [list(_read_tests(TASKS[name], data_dir)) for name in names]  # all are there before the first is predicted
    for run, files in zip(runs, parts, strict=True):
        task = TASKS[run.config["task"]]
        for name, rows in files:
            found = run.predict(rows.texts, rows.text_pairs).labels
            file = folder / f"{name}.tsv"
            shown = (_show(task, prediction) for prediction in found)
            write_table(file, ("index", "prediction"), enumerate(shown))
            yield file


def _read_tests(task: TaskSpec, data_dir: str | Path | None) -> Iterator[tuple[str, Examples]]:
    """The test rows of a task by the names of the leaderboard's files."""
    if not task.extra_dev:
        yield task.title, task.load("test", data_dir)
        return
    yield f"{task.title}-m", task.load("test", data_dir)
    yield f"{task.title}-mm", task.load(f"test_{task.extra_dev[0]}", data_dir)
    if data_dir is not None and (read_path(data_dir) / DIAGNOSTIC).is_file():
        spec = dataclasses.replace(task, name="ax", title="AX")
        yield "AX", read_official(read_path(data_dir) / DIAGNOSTIC, spec, "test")


def _show(task: TaskSpec, prediction: object) -> str:
    if task.kind.numeric:
        return f"{min(max(float(str(prediction)), SCORES[0]), SCORES[1]):.3f}"
    return str(prediction) if task.name in NAMED else str(task.label_names.index(str(prediction)))
