"""The tasks that the library knows, one row each: GLUE, SQuAD and the starter tasks."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import TaskError
from ..kinds import REGRESSION, SPAN
from .spec import FineTuning, TaskSpec

_ENTAILMENT = ("entailment", "not_entailment")
_LARGE = FineTuning(1e-5, 32)
_SMALL = FineTuning(2e-5, 16)


def _question_task(name: str, version: str, title: str, **fields) -> TaskSpec:
    """A task in SQuAD's format: rate and batch are BERT's own for SQuAD."""
    shared: dict[str, Any] = {"text": "question", "text_pair": "context", "label": "answers", "source": "squad"}
    return TaskSpec(
        *(name, title), version=version, max_length=384, fine_tuning=FineTuning(3e-5, 16), **(shared | fields)
    )


_SPAN: dict[str, Any] = {"kind": SPAN, "label_names": (), "metrics": SPAN.metrics, "main_metric": SPAN.main_metric}

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
                kind=REGRESSION,
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


def get_task(task: str | TaskSpec) -> TaskSpec:
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
