"""The options of a run in groups, each once: its type, its default, its unit, a line of help and its check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunError
from .checks import are_indices, check_count, check_range, is_count, is_number
from .fine_tune import FineTuneConfig
from .fit import FitConfig

if TYPE_CHECKING:
    from ..encoders import Encoder
    from ..heads import HeadConfig
    from ..tasks import TaskSpec

MOST_HEADS = 10_000  # of a run
MOST_SEEDS = 2**32  # that numpy and TensorFlow take
CHECKS = ("always", "once", "never")  # of the bytes of stores
BEST, MEAN = PREDICTORS = ("best", "mean")  # of all heads


@dataclasses.dataclass(frozen=True)
class TableSettings:
    """A table of the user's own, as `task_from_table` takes it.

    Attributes:
        train: a .csv, .tsv, .jsonl or .parquet file of your own.
        dev: a file of dev rows. Default: a fifth of the rows of train is set aside.
        text: column of the text. Default: found by its name.
        text_pair: column of the second text of a pair.
        label: column of the label. Give it several times for columns of 0 and 1, one for each class.
        kind: kind of the task: classification, regression, multilabel or span. Default: guessed from the cells.
        name: name of the task. Default: the file's name.
    """

    train: str | Path
    dev: str | Path | None = None
    text: str | None = None
    text_pair: str | None = None
    label: str | Sequence[str] | None = None
    kind: str | None = None
    name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The arguments of `task_from_table` that are given."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclasses.dataclass(frozen=True)
class RowSettings:
    """Which rows are read, and which of them are trained on.

    Attributes:
        data_dir: folder of GLUE's official download, or of SQuAD's files. Default: tensorflow_datasets downloads them.
        limit: read only this many of the first rows of train and of dev.
        train_share: train on this share of the training rows, drawn with each seed; the selection rows do not change.
        shots: train on this many rows of each class, drawn with each seed; the selection rows do not change.
        balance_classes: give every class the same weight in the loss.
        negatives: share of the answerable questions of train, 0 to 1, that are asked once more, each of another
            paragraph of its article that lacks the answer.
    """

    data_dir: str | Path | None = None
    limit: int | None = None
    train_share: float = 1.0
    shots: int | None = None
    balance_classes: bool = False
    negatives: float | None = None

    def __post_init__(self):
        check_count("limit", self.limit)
        if self.negatives is not None and (not is_number(self.negatives) or not 0 <= self.negatives <= 1):
            raise RunError(f"`negatives` needs a share from 0 to 1, got {self.negatives!r}.")
        check_count("shots", self.shots)
        if not is_number(self.train_share) or not 0 < self.train_share <= 1:
            raise RunError(f"`train_share` needs more than 0 and at most 1, got {self.train_share!r}.")
        if self.shots is not None and self.train_share < 1:
            raise RunError("`shots` and `train_share` both say how many rows are trained on: leave one out.")

    @property
    def drawn(self) -> bool:
        """Whether each seed draws rows of its own."""
        return self.shots is not None or self.train_share < 1


@dataclasses.dataclass(frozen=True)
class StateSettings:
    """Which hidden states are kept, and how.

    Attributes:
        dtype: type of the encoder's matrix products, float32 or bfloat16; auto: the faster of the two, measured on
            this machine. Used if the encoder is given by name.
        engine: what runs the encoder: tensorflow; openvino, which is faster on some processors and needs the extra of
            its name; or xla, which compiles it for seconds at each of a few shapes, for a GPU. Used if the encoder is
            given by name.
        max_length: maximum number of tokens of a text, special tokens included. Default: the task's own.
        tokens: tokens whose states are kept: all, or cls for the first of each text.
        pooler: also keep the pooler's output, before the other states; needs tokens cls.
        layers: hidden states to keep, as in 0,3,6; 0 is the embeddings. Default: all. auto: the fewest that score
            about as well as all, chosen on a sample of train before the rest is extracted.
        codec: how states are stored: float32, float16, bfloat16, int8, int4 or int2.
    """

    dtype: str = "float32"
    engine: str = "tensorflow"
    max_length: int | None = None
    tokens: str = "all"
    pooler: bool = False
    layers: Sequence[int] | str | None = None
    codec: str = "int8"

    def __post_init__(self):
        check_count("max_length", self.max_length, least=3)
        if self.layers is not None and not (self.auto or are_indices(self.layers)):
            raise RunError(f"`layers` needs indices, 'auto' or none, got {self.layers!r}.")
        if self.auto and self.pooler:
            raise RunError("`layers='auto'` chooses layers, and the pooler's output is none: leave `pooler` out.")

    @property
    def auto(self) -> bool:
        """Whether the layers are chosen."""
        return isinstance(self.layers, str) and self.layers == "auto"

    def choose(self, encoder: Encoder, usual_length: int) -> dict[str, Any]:
        """What `extract` takes of an encoder, all layers where they are still to be chosen; a task's usual length where
        none is asked for."""
        return {
            "max_length": encoder.choose_length(self.max_length, usual_length),
            "tokens": self.tokens,
            "pooler": self.pooler,
            "layers": None if self.auto else self.layers,
            "codec": self.codec,
        }


@dataclasses.dataclass(frozen=True)
class ClusterSettings:
    """Which machines extract the hidden states.

    Attributes:
        ray: a Ray cluster whose workers extract the hidden states, each a part of them: auto for the cluster that this
            machine belongs to, HOST:PORT for one of several such, or local to start one here. Needs the extra ray, and
            a store folder that all machines share. Default: this process extracts.
        workers: number of workers of the cluster. Default: as many as it has room for.
        gpus_per_worker: GPUs of a worker; 0 extracts on processors.
        cpus_per_worker: processor cores of a worker.
    """

    ray: str | None = None
    workers: int | None = None
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0

    def __post_init__(self):
        check_count("workers", self.workers)
        check_range("gpus_per_worker", self.gpus_per_worker)
        check_range("cpus_per_worker", self.cpus_per_worker, above=0)
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise RunError(f"`gpus_per_worker` above 1 needs a whole number, got {self.gpus_per_worker!r}.")
        if self.ray is None:
            for field in dataclasses.fields(self)[1:]:
                if getattr(self, field.name) != field.default:
                    raise RunError(f"`{field.name}` is of a Ray cluster: give its address as `ray`, or leave it out.")

    @property
    def on_gpu(self) -> bool | None:
        """Whether workers run on GPUs; None where this process extracts, on what it has."""
        return None if self.ray is None else self.gpus_per_worker > 0


@dataclasses.dataclass(frozen=True)
class TuningSettings:
    """How the encoder is fine-tuned first.

    Attributes:
        fine_tune_epochs: passes over the training rows; 0 leaves the encoder frozen. Snapshots are kept in the store
            and used again; a longer fine-tuning continues a shorter one, but not one of `fine_tune_from`.
        fine_tune_seeds: number of fine-tuned encoders; the seeds of the heads use them in turn. Default: one for each
            seed.
        fine_tune_from: folder of a finished run on the frozen encoder. Its heads, one for each seed, are fine-tuned
            together with the encoder's last blocks; the states below the blocks come from the store. The selection rows
            choose an epoch. Defaults then: 3 epochs, top_2, and a learning rate of 2e-4.
        fine_tune: a FineTuneConfig; or only what differs from FineTuneConfig.for_task's.
    """

    fine_tune_epochs: float = 0.0
    fine_tune_seeds: int | None = None
    fine_tune_from: str | Path | None = None
    fine_tune: FineTuneConfig | Mapping[str, Any] | None = None

    def __post_init__(self):
        if not is_number(self.fine_tune_epochs) or not 0 <= self.fine_tune_epochs < math.inf:
            raise RunError(f"`fine_tune_epochs` needs 0 or more, got {self.fine_tune_epochs!r}.")

    def choose(self, task: TaskSpec) -> FineTuneConfig:
        """How an encoder is fine-tuned on a task: as given, and else as `FineTuneConfig.for_task` has it."""
        given = self.fine_tune
        return given if isinstance(given, FineTuneConfig) else FineTuneConfig.for_task(task, **(given or {}))


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """Which heads are trained, and how.

    Attributes:
        head: a preset's name, a HeadConfig, or a JSON file of one, such as a search's best.json. Default: the default
            head for single texts, for pairs, or for questions on a context. auto: that or a linear head, whichever
            scores better on the selection rows.
        seeds: how many heads are trained, from seed 0; or the seeds themselves, as in 0,3.
        folds: train a head on all but one of so many parts of train, for each part, and let that part select its epoch;
            instead of seeds on one split of train.
        predict_with: what predicts: best, the head that its selection rows like best, or mean, all of them together.
            Default: mean with folds, which have no other way; else best.
        fit: a FitConfig; or only what differs from FitConfig.for_head's.
        strategy: where heads and encoders are trained: one_device for the first GPU or the processor, mirrored for all
            GPUs, auto for all GPUs where there are several.
    """

    head: str | HeadConfig | None = None
    seeds: int | Sequence[int] = 5
    folds: int | None = None
    predict_with: str | None = None
    fit: FitConfig | Mapping[str, Any] | None = None
    strategy: str = "one_device"

    def __post_init__(self):
        if isinstance(self.seeds, str) or not (is_count(self.seeds) or are_indices(self.seeds)):
            raise RunError(f"`seeds` needs one seed or more, each once; got {self.seeds!r}.")
        if (self.seeds if isinstance(self.seeds, int) else len(self.seeds)) > MOST_HEADS:
            raise RunError(f"`seeds` needs at most {MOST_HEADS} of them, got {str(self.seeds)[:40]}.")
        check_count("folds", self.folds, least=2)
        if self.folds and self._list_seeds() != list(range(type(self).seeds)):
            raise RunError(f"`folds` trains one head a fold, {self.folds} in all: leave `seeds` out.")
        if self.predict_with not in (None, *PREDICTORS):
            raise RunError(f"`predict_with` needs {' or '.join(PREDICTORS)}, got {self.predict_with!r}.")
        if self.folds and self.predict_with == BEST:
            raise RunError("`folds` select on rows of their own, which tell no best head: predict with mean.")
        if not self.all_seeds or len(set(self.all_seeds)) < len(self.all_seeds):
            raise RunError("`seeds` needs one seed or more, each once.")
        if not all(0 <= seed < MOST_SEEDS for seed in self.all_seeds):
            raise RunError(f"a seed is a whole number from 0 to {MOST_SEEDS - 1}, got {self.seeds!r}.")

    @property
    def auto(self) -> bool:
        """Whether the selection rows choose the head."""
        return isinstance(self.head, str) and self.head == "auto"

    @property
    def all_seeds(self) -> list[int]:
        """One a head; with folds the folds' numbers."""
        return list(range(int(self.folds))) if self.folds else self._list_seeds()

    def _list_seeds(self) -> list[int]:
        return list(range(self.seeds)) if isinstance(self.seeds, int) else [int(seed) for seed in self.seeds]

    @property
    def averages(self) -> bool:
        """Whether all heads together predict."""
        return bool(self.folds) or self.predict_with == MEAN


@dataclasses.dataclass(frozen=True)
class RivalSettings:
    """What the heads are compared with, on the same rows.

    Attributes:
        baselines: also fit simple rivals, such as the majority class and TF-IDF.
        baseline_parts: also fine-tune the encoder with its own head as a rival, once for each of these parts: all for
            full fine-tuning, lora_8, top_2, no_embeddings; as in all,lora_8.
        baseline_epochs: epochs at which fine-tuned rivals are scored; the selection rows choose the best.
        baseline_rates: learning rates of fine-tuned rivals, of which the selection rows choose the best; LoRA has ten
            times as much. Default: that of fine-tuning all weights.
    """

    baselines: bool = True
    baseline_parts: Sequence[str] = ()
    baseline_epochs: Sequence[float] = (1, 2, 3)
    baseline_rates: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class PlaceSettings:
    """Where things go.

    Attributes:
        store: folder of all stores, or its URL in object storage, as s3://BUCKET/states; states that are already in it
            are used again. "none", for train and compare alone, keeps no states: the encoder runs anew
            for each batch of each epoch.
        cache: folder of this machine for the shards of stores in object storage, which are then read whole and once.
            Default: each batch reads its rows alone, each time.
        cache_bytes: that the cache has at most. The shards that were used longest ago go first. Of a store
            that is larger, some shards are kept, and batches read the rows of the others alone.
        check: when the bytes of stores are compared with their checksums, before they are first used: always, in each
            process; once, unless a process of this user has and the file has not changed since; or never.
        output: the run's folder; a run that is already there is replaced. Default: runs/TASK-HEAD, where a run of
            other settings is an error.
        export: also save what predicts as a SavedModel.
        tensorboard: folder for TensorBoard logs of the heads' losses and selection scores, one folder for each seed;
            old logs there are replaced.
        resume: if a finished run of exactly the same settings and versions is at output, return it and train nothing.
    """

    store: str | Path = "states"
    cache: str | Path | None = None
    cache_bytes: int = 20 * 2**30
    check: str = "once"
    output: str | Path | None = None
    export: bool = False
    tensorboard: str | Path | None = None
    resume: bool = False

    def __post_init__(self):
        check_count("cache_bytes", self.cache_bytes, required=True)
        if self.check not in CHECKS:
            raise RunError(f"`check` needs {', '.join(CHECKS[:-1])} or {CHECKS[-1]}, got {self.check!r}.")
