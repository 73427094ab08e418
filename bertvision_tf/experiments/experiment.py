"""One run, from a task to results.json: the story of the whole library.

Text is tokenized, an encoder, frozen or fine-tuned for a fraction of an epoch, runs over it once, every hidden state is
kept in a store, and a very small head is trained on these images, several times with several seeds. Selection rows, set
aside from train, choose each head's epoch and the head that predicts; dev is read once, at the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..encoders import Encoder
from ..extraction import extract_once
from ..progress import Progress, ignore
from ..random_states import keeps_random_states
from ..reports.table import name_head, name_together
from ..runs import Run, load_run, write_run, writing_to
from ..settings import RunSettings, takes_options
from ..store import Store, checking
from ..tasks import TaskSpec
from ..training import Snapshot
from ..training.averaging import Together, average_outcomes
from ..training.baselines import Baseline
from ..training.cost import Cost
from ..training.draw import Draw, draw_sample
from ..training.head_choice import choose_head
from ..training.layer_use import LayerChoice, choose_layers
from ..training.trial import Outcome, Trial
from .calibration import describe_calibration
from .describe import (
    describe_fine_tuning,
    describe_layers,
    describe_rivals,
    describe_scores,
    describe_significance,
    describe_together,
    fit_simple_rivals,
    predict_fine_tuned,
)
from .from_run import fine_tune_top, open_frozen, score_beginning, take_tuned
from .preparation import Preparation, make_logs, plan_run, prepare
from .run_config import describe_settings, describe_sources, find_finished
from .run_files import write_contents

LAYER_ROWS = 10_000  # of train, on which layers are chosen
TRIED = 2  # seeds of each kind of head, where one is chosen


@takes_options()
@keeps_random_states
def train(
    task: str | TaskSpec | None = None,
    encoder: str | Encoder | None = None,
    *,
    settings: RunSettings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Trains a head on every hidden state of an encoder, frozen or a little fine-tuned, and scores it on dev.

    Args:
        task: a name of TASKS, or a TaskSpec; the settings' with None.
        encoder: what `load_encoder` takes, or an Encoder; the settings' with None.
        settings: all options; the defaults of RunSettings with None.
        progress: called with what is being done, how much of it is done, and how much there is.
        **options: single options by their names, before those of `settings`: see the groups of RunSettings.

    Returns:
        the finished run; `run.results` is its results.json.

    Raises:
        BertvisionError: one of its kinds, with one line, for whatever the caller can mend.

    Example:
        >>> run = train("starter", "minilm", head="learned_pooling", seeds=2, output="runs/starter")
        >>> run.results["mean"]
    """
    settings = (settings or RunSettings()).change(**options)
    plan = plan_run(settings, task)
    with write_run(plan.output) as folder, checking(settings.places.check):
        work = prepare(plan, encoder or settings.encoder, progress or ignore)
        asked = describe_settings(work)
        finished = find_finished(work, asked)
        if finished is not None:
            return finished
        make_logs(plan)
        tuned = fine_tune(work)
        states = extract_states(work, list(dict.fromkeys(tuned.values())))
        work = pick_head(work, states)
        heads = train_heads(work, states)
        rivals = fit_rivals(work, states, heads)
        results = describe_results(work, states, heads, rivals)
        asked |= describe_sources(work) | {"layers": states.layers or asked["layers"], "snapshots": _name(tuned)}
        dev = list(zip(work.splits[1:], heads.trials[0].dev_golds, strict=True))
        with writing_to(plan.output):
            found = heads.outcomes, heads.predictor, dev
            write_contents(folder, plan.task, results, asked, *found, export=settings.places.export)
    return load_run(plan.output)


def fine_tune(work: Preparation) -> dict[int, Snapshot]:
    """The fine-tuned encoder of each seed; none where it stays frozen."""
    tuning = work.settings.tuning
    if not tuning.fine_tune_epochs:
        return {}
    if work.plan.beginning is not None:
        return fine_tune_top(work, work.plan.beginning)
    return work.tuning.fine_tune_each(work.settings.head.all_seeds, tuning.fine_tune_seeds, tuning.fine_tune_epochs)


@dataclasses.dataclass(frozen=True, eq=False)
class States:
    """The hidden states of a run.

    Attributes:
        tuned: the fine-tuned encoders, each once.
        stores: of each encoder, a store for each split that is read.
        measured: what heads have measured of each encoder's stores, by what measures it.
        choice: why these layers, where they were chosen.
        choosing, extracting: what it cost.
    """

    tuned: list[Snapshot]
    stores: list[list[Store]]
    measured: list[dict[str, Any]]
    choice: LayerChoice | None
    choosing: Cost
    extracting: Cost

    @property
    def layers(self) -> list[int] | None:
        """Those that were chosen."""
        return None if self.choice is None else list(self.choice.kept)


def extract_states(work: Preparation, tuned: list[Snapshot]) -> States:
    """Runs each encoder once over all rows that are read, after layers have been chosen if they are to be."""
    plan, choice = work.plan, None
    encoders = [snapshot.encoder for snapshot in tuned] or [work.encoder]
    with Cost() as choosing:
        if work.settings.states.auto:
            choice = _choose_layers(work, encoders[0])
    kept = dict(work.states) | ({} if choice is None else {"layers": list(choice.kept)})
    with Cost() as extracting:
        stores = [
            [extract_once(one, rows, plan.store, work.progress, work.settings.cluster, **kept) for rows in work.read]
            for one in encoders
        ]
    return States(tuned, stores, [{} for _ in stores], choice, choosing, extracting)


def _choose_layers(work: Preparation, encoder: Encoder) -> LayerChoice:
    """The few layers that matter, found on a sample of train."""
    places, roles = draw_sample(work.roles, LAYER_ROWS)
    sample = work.splits[0].select(places)
    store = extract_once(encoder, sample, work.plan.store, work.progress, work.settings.cluster, **work.states)
    draw = Draw(sample.labels, roles[0], work.draw.share, work.draw.shots)
    return choose_layers(work.new_trial([store], examples=[sample], draw=draw, selection=roles[1]))


def pick_head(work: Preparation, states: States) -> Preparation:
    """The same work with the head that the selection rows choose, where they are to choose one."""
    if not work.plan.candidates:
        return work
    measured, seeds = states.measured[0], work.settings.head.all_seeds[:: len(states.stores)]  # of the first encoder
    trials = {
        name: work.change_head(name).new_trial(states.stores[0], measured=measured, logs=None)
        for name in work.plan.candidates
    }
    choice = choose_head(trials, seeds[:TRIED])
    kept = trials[choice.taken].inputs[0]
    for what in [what for what, (first, *_) in measured.items() if first is not kept]:
        del measured[what]  # of the others
    return work.pick_head(choice)


@dataclasses.dataclass(frozen=True, eq=False)
class Heads:
    """The heads of a run, one a seed or a fold.

    Attributes:
        trials: what each was trained on; seeds that share an encoder share one.
        outcomes: what came of each.
        together: what they say together, where they predict so.
        training: what it cost.
    """

    trials: list[Trial]
    outcomes: list[Outcome]
    together: Together | None
    training: Cost

    @property
    def best(self) -> Outcome:
        """Of the head that its selection rows like best."""
        return max(self.outcomes, key=lambda outcome: outcome.fit.selection_score)

    @property
    def predictor(self) -> Outcome | Together:
        """The best head, or all as one model: whichever predicts."""
        return self.together or self.best


def train_heads(work: Preparation, states: States) -> Heads:
    """Trains a head with each seed, on the states of the encoders in turn, or on each fold of train; or takes those
    that were fine-tuned with the encoders."""
    settings, seeds = work.settings.head, work.settings.head.all_seeds
    with Cost() as training:
        distinct = [
            work.new_trial(
                own,
                draw=dataclasses.replace(work.draw, training=rows),
                selection=work.find_read(selection),
                measured=found,
            )
            for own, found in zip(states.stores, states.measured, strict=True)
            for rows, selection in work.folds
        ]
        trials = [distinct[place % len(distinct)] for place in range(len(seeds))]
        if work.plan.beginning is not None:
            shared = [take_tuned(*pair) for pair in zip(distinct, states.tuned, strict=True)]
        else:
            shared = [trial.run_all(seeds[place :: len(distinct)]) for place, trial in enumerate(distinct)]
        outcomes = [shared[place % len(distinct)][place // len(distinct)] for place in range(len(seeds))]
        together = average_outcomes(trials[0], outcomes, bool(settings.folds)) if settings.averages else None
    return Heads(trials, outcomes, together, training)


def fit_rivals(work: Preparation, states: States, heads: Heads) -> list[Baseline]:
    """What the heads are compared with: simple models, and the encoder's own head after its best epoch."""
    settings, seeds, beginning = work.settings, work.settings.head.all_seeds, work.plan.beginning
    rivals: list[Baseline] = []
    trial = work.new_trial(states.stores[0]) if settings.head.folds else heads.trials[0]  # on one split of train
    if beginning is not None:
        trial = open_frozen(work)
        rivals += score_beginning(trial, beginning, seeds)
    if settings.rivals.baselines:
        rivals += fit_simple_rivals(trial, work.encoder, work.splits, seeds)
    for parts in settings.rivals.baseline_parts:
        rates = [work.plan.rival.for_parts(parts, rate).learning_rate for rate in settings.rivals.baseline_rates]
        rival = dataclasses.replace(work.tuning, config=work.plan.rival.for_parts(parts))
        fitted = seeds[: settings.tuning.fine_tune_seeds]
        rivals += [rival.fit_best_epoch(seed, settings.rivals.baseline_epochs, rates) for seed in fitted]
    return rivals


def describe_results(work: Preparation, states: States, heads: Heads, rivals: Sequence[Baseline]) -> dict[str, Any]:
    """results.json."""
    name, trials, outcomes, tuned = work.plan.head_name, heads.trials, heads.outcomes, states.tuned
    gold, beginning = trials[0].dev_golds[0], work.plan.beginning
    has_own = bool(tuned) and beginning is None
    own_heads, ensembles = predict_fine_tuned(trials, tuned, work.splits, outcomes) if has_own else ([], [])
    parts = work.plan.fine_tune.parts if beginning else "all"
    called = name_head(name, work.settings.tuning.fine_tune_epochs, parts)
    chosen = name_together(called, len(outcomes)) if heads.together else called, heads.predictor.predictions[0]
    results = {
        **describe_scores(trials, work.encoder, name, work.settings.head.all_seeds, outcomes),
        "together": describe_together(trials[0], heads.together, len(outcomes)) if heads.together else None,
        "folds": work.settings.head.folds,
        "head_choice": dataclasses.asdict(work.choice) if work.choice else None,
        "calibration": describe_calibration(trials[0], heads.predictor),
        "fine_tune": describe_fine_tuning(gold, tuned, own_heads, ensembles) if tuned else None,
        "seconds": {
            "fine_tune": sum(snapshot.facts["seconds"] for snapshot in tuned),
            **({"choose_layers": states.choosing.seconds} if states.choice else {}),
            "extract": states.extracting.seconds,
            **({"choose_head": work.choice.seconds} if work.choice else {}),
            "train": heads.training.seconds,
        },
        "memory_bytes": {
            "extract": states.extracting.memory_bytes,
            **({"choose_head": work.choice.memory_bytes} if work.choice else {}),
            "train": heads.training.memory_bytes,
        },
        "baselines": describe_rivals(gold, rivals),
        "significance": describe_significance(gold, chosen, [*rivals, *own_heads, *ensembles]),
        "layers": describe_layers(trials, outcomes, states.choice),
    }
    if has_own:
        results["encoder_scores"] = results["fine_tune"]["scores"]
    if beginning is not None:
        results["fine_tune"] |= {"parts": parts, "from": str(beginning.run.path), "seconds_before": beginning.seconds}
    results["rows"]["skipped"] = sum(rows.skipped for rows in work.splits)
    return results


def _name(snapshots: Mapping[int, Snapshot]) -> dict[str, dict[str, str]]:
    """The fine-tuned encoder of each seed, as config.json names it."""
    return {
        str(seed): {"path": str(snapshot.path.resolve()), "fingerprint": snapshot.encoder.fingerprint}
        for seed, snapshot in snapshots.items()
    }
