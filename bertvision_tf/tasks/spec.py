"""What a task is: its texts and labels, how it is scored, and where its rows are found."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import TaskError
from ..kinds import CLASSIFICATION, Kind, find_kind
from ..paths import read_path
from .examples import Examples
from .readers import load_from_tfds, read_official
from .squad import load_squad_from_tfds, read_squad


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """How the paper fine-tuned an encoder on a task: one epoch, linear decay after 10% of warm-up."""

    learning_rate: float
    batch_size: int


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task.

    Attributes:
        name: as tensorflow_datasets names it.
        title: as its makers write it; also the name of its folder in the official download.
        kind: "classification", "regression", "multilabel" or "span".
        text: the column of the text, as tensorflow_datasets names it.
        text_pair: the column of the second text, or None.
        label: the column of the label.
        label_names: the classes, in the order of their indices; none for a regression.
        metrics: all official ones, as `compute_metric` names them.
        main_metric: the one that runs are compared by.
        max_length: tokens, special ones included.
        fine_tuning: the paper's settings.
        tsv_columns: text, second text and label as the official files name them, where they differ; as numbers
            where there is no header.
        dev_splits: the dev split, and beside it those that are scored too, by the names of their official files.
        rows_a_group: how many rows in a row belong together: 2 for minimal pairs.
        source: "glue" or "squad" (a folder of the official download, or tensorflow_datasets), "package" (shipped
            here), or "rows" (those in `rows`).
        version: of SQuAD, as its files and tensorflow_datasets name it: "1.1" or "2.0".
        remark: what one must know of its dev split to read a score; said when a run reads it.
        origin: the arguments of `task_from_table` that make it of files; {} of a task that is not made of files.
        rows: the splits of a task that was made from the user's own rows.
    """

    name: str
    title: str = ""
    kind: Kind = CLASSIFICATION
    text: str = "sentence"
    text_pair: str | None = None
    label: str = "label"
    label_names: tuple[str, ...] = ("0", "1")
    metrics: tuple[str, ...] = ("accuracy",)
    main_metric: str = "accuracy"
    max_length: int = 128
    fine_tuning: FineTuning = FineTuning(2e-5, 32)
    tsv_columns: tuple[str | int | None, str | int | None, str | int | None] | None = None
    dev_splits: tuple[str, ...] = ("dev",)
    rows_a_group: int = 1
    source: str = "glue"
    version: str = ""
    remark: str = ""
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    rows: Mapping[str, Examples] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "kind", find_kind(self.kind))

    @property
    def num_outputs(self) -> int:
        """Numbers a row, or of a span numbers a token: its start and its end."""
        return self.kind.count_outputs(self.label_names)

    @property
    def splits(self) -> tuple[str, ...]:
        """What `load` takes: train, dev, and what is scored beside dev."""
        return ("train", *self.dev_names)

    @property
    def dev_names(self) -> tuple[str, ...]:
        """Dev, and what is scored beside it: MNLI's "dev_mismatched"."""
        return ("dev", *(f"dev_{name}" for name in self.extra_dev))

    @property
    def extra_dev(self) -> tuple[str, ...]:
        """What distinguishes the further dev splits: MNLI's "mismatched"."""
        return tuple(name.removeprefix("dev_") for name in self.dev_splits[1:])

    def require_labels(self, what: str) -> None:
        """Raises TaskError where the task asks for answers in a text, which `what` knows nothing of."""
        if self.kind.answers:
            raise TaskError(f"{self.name} asks for answers in a text: {what} takes tasks of labels.")

    def load(self, split: str, data_dir: str | Path | None = None) -> Examples:
        """Reads a split.

        Args:
            split: "train", "dev", a further dev split as in `splits`, or a test split (as "test",
                or "test_mismatched"), which has no labels.
            data_dir: the folder of the official download (`CoLA/train.tsv` in it); tensorflow_datasets if None.

        Raises:
            TaskError: no such split or file, or a row that cannot be read.
        """
        known = (
            self.splits
            if self.source != "glue"
            else (*self.splits, "test", *(f"test_{name}" for name in self.extra_dev))
        )
        if split not in known:
            raise TaskError(f"split {split!r} of {self.name} is not known; known: {', '.join(known)}.")
        if self.source == "rows":
            return self.rows[split]
        if self.source == "package":
            data_dir = Path(__file__).parent / "data"
        squad = bool(self.version)
        if data_dir is None:
            return (load_squad_from_tfds if squad else load_from_tfds)(self, split)
        return (read_squad if squad else read_official)(self.find_file(split, data_dir), self, split)

    def find_file(self, split: str, data_dir: str | Path) -> Path:
        """The file of a split in a folder of the official download, or in the task's own folder of it.

        Raises:
            TaskError: it is not there.
        """
        file, folder = self.find_name(split), read_path(data_dir)
        folders = [folder / self.title, folder / self.name, folder]
        for place in folders:
            if (place / file).is_file():
                return place / file
        raise TaskError(f"no {split} rows of {self.title}: expected {folders[-1 if self.version else 0] / file}.")

    def find_name(self, split: str) -> str:
        """What the official download calls the file of a split."""
        if self.version:
            return f"{split}-v{self.version}.json"
        file = self.dev_splits[0] if split == "dev" else split
        if split == "test" and self.extra_dev:
            file = self.dev_splits[0].replace("dev", "test")
        return f"{file}.tsv"

    @property
    def tfds(self) -> str:
        """The name by which tensorflow_datasets has it."""
        return f"squad/v{self.version}" if self.version else f"glue/{self.name}"
