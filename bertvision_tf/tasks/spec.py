"""One row a task: what its texts and labels are, how it is scored, where its rows are found.

Over 300 lines, since the rows of the table are data.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import TaskError
from ..paths import read_path
from .examples import Examples


class TaskKind(StrEnum):
    """What a label is: one class, a number, any set of classes, or a span of the second text that answers the first."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    MULTILABEL = "multilabel"
    SPAN = "span"


def choose_kind(name: str, known: Iterable[TaskKind] = TaskKind) -> TaskKind:
    """The kind of a name.

    Raises:
        TaskError: it is none of those known.
    """
    if name not in list(known):
        raise TaskError(f"task kind {name!r} is not known; known: {', '.join(known)}.")
    return TaskKind(name)


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
    kind: TaskKind = TaskKind.CLASSIFICATION
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
        object.__setattr__(self, "kind", choose_kind(self.kind))

    @property
    def num_outputs(self) -> int:
        """Numbers a row, or of a span numbers a token: its start and its end."""
        if self.kind is TaskKind.SPAN:
            return 2
        return 1 if self.kind is TaskKind.REGRESSION else len(self.label_names)

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
        if self.kind is TaskKind.SPAN:
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
        from .readers import load_from_tfds, read_official
        from .squad import load_squad_from_tfds, read_squad

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


_ENTAILMENT = ("entailment", "not_entailment")
_LARGE = FineTuning(1e-5, 32)
_SMALL = FineTuning(2e-5, 16)


def _question_task(name: str, version: str, title: str, **fields) -> TaskSpec:
    """A task in SQuAD's format: rate and batch are BERT's own for SQuAD."""
    shared: dict[str, Any] = {"text": "question", "text_pair": "context", "label": "answers", "source": "squad"}
    return TaskSpec(
        *(name, title), version=version, max_length=384, fine_tuning=FineTuning(3e-5, 16), **(shared | fields)
    )


_SPAN: dict[str, Any] = {"kind": TaskKind.SPAN, "label_names": (), "metrics": ("exact", "f1"), "main_metric": "f1"}

TASKS: Mapping[str, TaskSpec] = MappingProxyType(
    {
        task.name: task
        for task in (
            TaskSpec(
                name="cola",
                title="CoLA",
                label_names=("unacceptable", "acceptable"),
                metrics=("matthews", "accuracy"),
                main_metric="matthews",
                fine_tuning=_SMALL,
                tsv_columns=(3, None, 1),
            ),
            TaskSpec(name="sst2", title="SST-2", label_names=("negative", "positive")),
            TaskSpec(
                name="mrpc",
                title="MRPC",
                text="sentence1",
                text_pair="sentence2",
                label_names=("not_equivalent", "equivalent"),
                metrics=("accuracy", "f1"),
                main_metric="accuracy_and_f1",
                tsv_columns=("#1 String", "#2 String", "Quality"),
            ),
            TaskSpec(
                name="qqp",
                title="QQP",
                text="question1",
                text_pair="question2",
                label_names=("not_duplicate", "duplicate"),
                metrics=("accuracy", "f1"),
                main_metric="accuracy_and_f1",
                fine_tuning=_LARGE,
                tsv_columns=("question1", "question2", "is_duplicate"),
            ),
            TaskSpec(
                name="stsb",
                title="STS-B",
                kind=TaskKind.REGRESSION,
                text="sentence1",
                text_pair="sentence2",
                label_names=(),
                metrics=("pearson", "spearman"),
                main_metric="pearson_and_spearman",
                fine_tuning=_SMALL,
                tsv_columns=("sentence1", "sentence2", "score"),
            ),
            TaskSpec(
                name="mnli",
                title="MNLI",
                text="premise",
                text_pair="hypothesis",
                label_names=("entailment", "neutral", "contradiction"),
                fine_tuning=_LARGE,
                tsv_columns=("sentence1", "sentence2", "gold_label"),
                dev_splits=("dev_matched", "dev_mismatched"),
            ),
            TaskSpec(
                name="qnli",
                title="QNLI",
                text="question",
                text_pair="sentence",
                label_names=_ENTAILMENT,
                fine_tuning=_LARGE,
            ),
            TaskSpec(
                name="rte",
                title="RTE",
                text="sentence1",
                text_pair="sentence2",
                label_names=_ENTAILMENT,
                max_length=250,
                fine_tuning=_SMALL,
            ),
            TaskSpec(
                name="wnli",
                title="WNLI",
                text="sentence1",
                text_pair="sentence2",
                label_names=("not_entailment", "entailment"),
                fine_tuning=_SMALL,
                remark="WNLI's dev rows repeat sentences of train with the other label, so that what learns from train "
                "scores below the majority there.",
            ),
            TaskSpec(
                name="starter",
                title="Starter",
                label_names=("unacceptable", "acceptable"),
                metrics=("accuracy", "matthews"),
                tsv_columns=(3, None, 1),
                rows_a_group=2,
                source="package",
            ),
            _question_task("squad2", "2.0", "SQuAD 2.0", **_SPAN),
            _question_task("squad1", "1.1", "SQuAD 1.1", **_SPAN),
            _question_task("starter_qa", "2.0", "Starter QA", source="package", **_SPAN),
            _question_task(
                "squad2_answerable",
                "2.0",
                "SQuAD 2.0 answerable",
                label_names=("no_answer", "answer"),
                metrics=("accuracy", "f1"),
            ),
        )
    }
)
GLUE = tuple(name for name, task in TASKS.items() if task.source == "glue")
ALIASES = {"squad": "squad2", "squad20": "squad2", "squad11": "squad1", "squad20answerable": "squad2_answerable"}
ALIASES |= {"msr": "mrpc", "sst": "sst2", "sts": "stsb", "mnlimatched": "mnli", "mnlimismatched": "mnli"}


def get_task(task: "str | TaskSpec") -> TaskSpec:
    """Returns the task of a name, in tensorflow_datasets' or GLUE's spelling; a TaskSpec is returned as it is.

    Raises:
        TaskError: the name is not known.
    """
    if isinstance(task, TaskSpec):
        return task
    name = re.sub("[-_ .]", "", task.lower())
    name = {known.replace("_", ""): known for known in TASKS}.get(name) or ALIASES.get(name, name)
    if name not in TASKS:
        raise TaskError(f"task {task!r} is not known; known: {', '.join(TASKS)}.")
    return TASKS[name]
