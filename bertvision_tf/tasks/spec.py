"""One row a task: what its texts and labels are, how it is scored, where its rows are found."""

import dataclasses
from pathlib import Path

from ..errors import TaskError
from .examples import Examples


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task.

    Attributes:
        name: as tensorflow_datasets names it.
        title: as its makers write it; also the name of its folder in the official download.
        text: the column of the text.
        text_pair: the column of the second text, or None.
        label_names: the classes, in the order of their indices.
        metrics: all official ones, as `glue_metrics` names them.
        main_metric: the one that runs are compared by.
        max_length: tokens, special ones included.
        source: "glue" (a folder of the official download, or tensorflow_datasets) or "package" (shipped here).
    """

    name: str
    title: str
    text: str = "sentence"
    text_pair: str | None = None
    label_names: tuple[str, ...] = ("0", "1")
    metrics: tuple[str, ...] = ("accuracy",)
    main_metric: str = "accuracy"
    max_length: int = 128
    source: str = "glue"

    @property
    def num_outputs(self) -> int:
        return len(self.label_names)

    def load(self, split: str, data_dir: str | Path | None = None) -> Examples:
        """Reads a split.

        Args:
            split: "train" or "dev".
            data_dir: the folder of the official download (`CoLA/train.tsv` in it); tensorflow_datasets if None.

        Raises:
            TaskError: no such split or file, or a row that cannot be read.
        """
        from .readers import load_from_tfds, read_cola_tsv

        if split not in ("train", "dev"):
            raise TaskError(f"split {split!r} of {self.name} is not known; known: train, dev.")
        if self.source == "package":
            return read_cola_tsv(Path(__file__).parent / "data" / self.name / f"{split}.tsv", self, split)
        if data_dir is None:
            return load_from_tfds(self, split)
        folder = Path(data_dir).expanduser()
        candidates = [folder / self.title / f"{split}.tsv", folder / f"{split}.tsv"]
        for path in candidates:
            if path.is_file():
                return read_cola_tsv(path, self, split)
        raise TaskError(f"no {split} rows of {self.title}: expected {candidates[0]}.")


TASKS = {
    task.name: task
    for task in (
        TaskSpec(
            name="cola",
            title="CoLA",
            label_names=("unacceptable", "acceptable"),
            metrics=("matthews", "accuracy"),
            main_metric="matthews",
        ),
        TaskSpec(
            name="starter",
            title="Starter",
            label_names=("unacceptable", "acceptable"),
            metrics=("accuracy", "matthews"),
            source="package",
        ),
    )
}


def get_task(task: "str | TaskSpec") -> TaskSpec:
    """Returns the task of a name, in tensorflow_datasets' or GLUE's spelling; a TaskSpec is returned as it is.

    Raises:
        TaskError: the name is not known.
    """
    if isinstance(task, TaskSpec):
        return task
    for spec in TASKS.values():
        if task.lower() in (spec.name, spec.title.lower()):
            return spec
    raise TaskError(f"task {task!r} is not known; known: {', '.join(TASKS)}.")
