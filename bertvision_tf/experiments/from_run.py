"""Runs that begin with the heads of another: the last blocks of the encoder are fine-tuned under them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from ..checksums import check_file
from ..errors import RunError
from ..extraction import extract_once
from ..heads import HeadConfig
from ..heads.config import Solver
from ..heads.describe import count_trainable
from ..heads.scale import unscale_head
from ..runs import Run, load_run
from ..runs.folder import CURVES
from ..settings import RunSettings
from ..settings.groups import MEAN
from ..tasks import TaskSpec
from ..training import FitResult, Snapshot
from ..training.baselines import Baseline
from ..training.top_tuning import TopTuning
from ..training.trial import Outcome, Trial

if TYPE_CHECKING:
    from .preparation import Preparation

EPOCHS = 3  # where none are asked for
USUAL = {"parts": "top_2", "learning_rate": 2e-4}  # where nothing is said; a few blocks bear a higher rate than all do
CODECS = ("float32", "float16", "bfloat16", "int8")  # close enough to what the blocks below say
SAME = (  # entries of config.json in which the two runs may not differ; the first that does is named
    *("examples", "encoder_fingerprint", "max_length", "tokens", "pooler", "layers", "codec"),
    *("train_share", "shots", "balance_classes", "selection_rows"),
)
ROWS = ("limit", "negatives")  # options that decide which rows are read


@dataclasses.dataclass(frozen=True, eq=False)
class Beginning:
    """The finished run whose heads another begins with.

    Attributes:
        run: of a frozen encoder.
        head: which heads it has.
        name: of the head.
    """

    run: Run
    head: HeadConfig
    name: str

    @property
    def facts(self) -> dict[str, str]:
        """What config.json says of it. Heads that were trained in another way are other heads."""
        check_file(self.run.path / CURVES, RunError)
        curves = (self.run.path / CURVES).read_bytes()
        return {"fine_tune_from": str(self.run.path), "first_heads": hashlib.sha256(curves).hexdigest()[:32]}

    @property
    def seconds(self) -> float:
        """Seconds of extraction, of the choice of a kind of head, and of one head's training."""
        seconds = self.run.results["seconds"]
        return seconds["extract"] + seconds.get("choose_head", 0) + seconds["train"] / len(self.run.results["seeds"])

    def choose_seed(self, seed: int) -> int:
        """The seed of the head that a seed begins with: its own, or that of the only one."""
        seeds = self.run.results["seeds"]
        return seeds[0] if len(seeds) == 1 else seed

    def load_head(self, seed: int) -> keras.Model:
        """The head that a seed begins with; its logits as they were trained."""
        return unscale_head(self.run.load_head(self.choose_seed(seed)))


def open_beginning(settings: RunSettings, task: TaskSpec) -> Beginning | None:
    """The run that another begins with; None where it begins with none.

    Raises:
        RunError: there is no such run, or none whose heads another can begin with.
    """
    tuning, head = settings.tuning, settings.head
    if tuning.fine_tune_from is None:
        return None
    run = load_run(tuning.fine_tune_from)
    config, what, seeds = run.config, f"`fine_tune_from`: {run.path}", run.results["seeds"]
    if config["task"] != task.name:
        raise RunError(f"{what} is of {config['task']}, not of {task.name}.")
    if config.get("snapshots"):
        raise RunError(f"{what} has a fine-tuned encoder: name a run on a frozen one.")
    if run.results.get("folds"):
        raise RunError(f"{what} has heads of folds, which were trained on each other's selection rows: name another.")
    if config["tokens"] != "all":
        raise RunError(f"{what} has kept the first token's states alone: blocks need those of all tokens.")
    if config["codec"] not in CODECS:
        raise RunError(f"{what} has states in {config['codec']}, too coarse for blocks: {', '.join(CODECS)} are not.")
    if config["head"].get("solver") == Solver.KERNEL:
        raise RunError(f"{what} has kernel heads, which keep features of the frozen encoder: begin with other heads.")
    if settings.states.auto:
        raise RunError(f"{what} has chosen its states: leave `layers` out.")
    if tuning.fine_tune_seeds is not None:
        raise RunError(f"{what}: blocks are fine-tuned under each head: leave `fine_tune_seeds` out.")
    if head.predict_with == MEAN and len(head.all_seeds) > 1:
        raise RunError(f"{what}: `predict_with` mean needs heads on one encoder, and each has blocks of its own.")
    lacking = [seed for seed in head.all_seeds if seed not in seeds]
    if lacking and (len(seeds) > 1 or settings.rows.drawn):
        raise RunError(f"{what} has no head of seed {lacking[0]}: give `seeds` of {', '.join(map(str, seeds))}.")
    return Beginning(run, HeadConfig.from_dict(config["head"]), config["head_name"])


def complete(settings: RunSettings) -> RunSettings:
    """The settings of a run that begins with another, with epochs, parts and rate where nothing is said of them."""
    tuning = settings.tuning
    epochs, given = tuning.fine_tune_epochs or EPOCHS, tuning.fine_tune
    if given is None or isinstance(given, Mapping):
        given = {**USUAL, **(given or {})}
    check_whole(epochs)
    return settings.change(fine_tune_epochs=epochs, fine_tune=given)


def check_whole(epochs: float) -> None:
    """Raises RunError where an encoder cannot be fine-tuned so under heads, whose selection rows choose an epoch."""
    if epochs != int(epochs) or epochs < 1:
        raise RunError(f"under a run's heads an encoder is fine-tuned for whole epochs, got {epochs:g}.")


def check_same(beginning: Beginning, asked: Mapping[str, Any], num_hidden_states: int) -> None:
    """Raises RunError where rows, encoder or states are not those of the first run."""
    config, path = beginning.run.config, beginning.run.path
    for name in SAME:
        if config.get(name) == asked[name]:
            continue
        shown = next((one for one in ROWS if config.get(one) != asked[one]), name) if name == "examples" else name
        raise RunError(
            f"`fine_tune_from`: {path} was trained with {shown} {config.get(shown)}, now it is {asked[shown]}: both "
            "runs need the same."
        )
    if config["layers"] != [*range(num_hidden_states)]:
        raise RunError(
            f"`fine_tune_from`: blocks are fine-tuned under heads on all layers, {path} keeps {config['layers']}."
        )


def fine_tune_top(work: Preparation, beginning: Beginning) -> dict[int, Snapshot]:
    """The encoder of each seed, its last blocks fine-tuned under the seed's head of the first run."""
    plan, settings, train = work.plan, work.settings, work.splits[0]
    store = extract_once(work.encoder, train, plan.store, work.progress, settings.cluster, **work.states)
    tuning = TopTuning(
        *(work.encoder, plan.task, train, store, work.roles[1], plan.snapshots),
        epochs=int(settings.tuning.fine_tune_epochs),
        config=plan.fine_tune,
        strategy=settings.head.strategy,
    )
    found = {}
    for seed in settings.head.all_seeds:
        rows = work.draw.rows(seed)
        found[seed] = tuning.run(
            *(beginning.load_head(seed), rows, seed),
            class_weights=work.tuning.weigh_classes(rows),
            logs=plan.logs and plan.logs / f"seed-{seed}",
            progress=functools.partial(work.progress, f"fine-tune {plan.fine_tune.parts} seed {seed}"),
        )
    return found


def take_tuned(trial: Trial, snapshot: Snapshot) -> list[Outcome]:
    """What came of the head that was fine-tuned with an encoder.

    Args:
        trial: of the encoder's states.
        snapshot: the encoder.
    """
    facts = snapshot.facts
    return trial.conclude([_score(trial, snapshot.load_head(), facts["best_epoch"], facts["history"])])


def _score(trial: Trial, head: keras.Model, epoch: int, history: Mapping[str, Sequence[float]]) -> FitResult:
    logits = trial.predict(head, 0, trial.selection)
    score = trial.selection_gold.score(trial.selection_gold.read(logits))
    return FitResult(head, score, logits, epoch, {name: list(values) for name, values in history.items()})


def open_frozen(work: Preparation) -> Trial:
    """Heads on the states of the frozen encoder, as those of the first run."""
    stores = [
        extract_once(work.encoder, rows, work.plan.store, work.progress, work.settings.cluster, **work.states)
        for rows in work.splits
    ]
    return work.new_trial(stores, examples=work.splits, selection=work.roles[1])


def score_beginning(trial: Trial, beginning: Beginning, seeds: Sequence[int]) -> list[Baseline]:
    """The heads as they were before, as rivals; each once.

    Args:
        trial: of the states of the frozen encoder.
        beginning: whose heads.
        seeds: of the run that begins with them.
    """
    own = dict.fromkeys(beginning.choose_seed(seed) for seed in seeds)
    name = f"{beginning.name}, frozen encoder"
    return [
        Baseline(
            name,
            one.predictions,
            one.fit.selection_score,
            count_trainable(one.head),
            beginning.seconds,
            disk_bytes=beginning.run.results["store"]["bytes"],
        )
        for one in trial.conclude([_score(trial, beginning.load_head(seed), 0, {}) for seed in own])
    ]
