"""Whether `bertvision rank` orders encoders and layers as trained heads do, as rank correlations.

python benchmarks/rank.py --data-dir glue [--tasks cola mrpc rte stsb] [--encoders minilm mpnet runs/states/SNAPSHOT]
    [--rows 2000] [--layers 4] [--seeds 2] [--heads heads.csv]

Each candidate is an encoder with all its layers, or one of them. On the same train rows `rank` measures it and the
task's default head is trained on it; the head's score is that on dev, the mean over seeds. Of an encoder `rank`'s
figure is the largest of its layers, or that of the layers' mean. The table has Spearman's correlation of the two
orders: over whole encoders by either figure, over the layers of each encoder (the mean of these correlations), and over
the layers of all encoders together.
"""

import argparse
import csv
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from trials import build_trial

from bertvision_tf import TaskSpec, get_task, load_encoder, rank_encoders
from bertvision_tf.encoders import Encoder


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An encoder, or one layer of it, on a task.

    Attributes:
        task, encoder: names.
        layer: a hidden state's index; "best" and "mean" for all of them, by these figures of `rank`.
        log_me, h_score: by `rank`; no h_score of scores.
        score: of the head on dev, the mean over seeds.
    """

    task: str
    encoder: str
    layer: int | str
    log_me: float
    h_score: float | None
    score: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["cola", "mrpc", "rte", "stsb"])
    parser.add_argument("--encoders", nargs="+", default=["minilm", "mpnet"])
    parser.add_argument("--states", type=Path, default=Path("states"))
    parser.add_argument("--rows", type=int, default=2000, help="the first of train and of dev")
    parser.add_argument("--layers", type=int, default=4, help="of each encoder, evenly spread, the last among them")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--heads", type=Path, help="a CSV file that gets all candidates")
    options = parser.parse_args()
    print("| task | measure | encoders by their best layer | by the mean of layers | layers of one | all layers |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    found: list[Candidate] = []
    for name in options.tasks:
        own = [part for encoder in options.encoders for part in measure(get_task(name), encoder, options)]
        found += own
        show(name, "LogME", own, lambda one: one.log_me)
        if own[0].h_score is not None:
            show(name, "H-score", own, lambda one: one.h_score)
        if options.heads:
            write(options.heads, found)


def measure(task: TaskSpec, name: str, options: argparse.Namespace) -> Iterator[Candidate]:
    """An encoder's candidates."""
    encoder = load_encoder(name)
    given = {"store": options.states, "data_dir": options.data_dir, "limit": options.rows}
    *layers, mean = rank_encoders([encoder], task, **given)
    chosen = np.unique(np.linspace(0, len(layers) - 1, options.layers + 1).round().astype(int)[1:])
    *scores, whole = train_heads(task, encoder, chosen, options)
    h_scores = [rank.h_score for rank in layers if rank.h_score is not None]
    best = max(rank.log_me for rank in layers), max(h_scores, default=None)
    yield Candidate(task.name, name, "best", *best, whole)
    yield Candidate(task.name, name, "mean", mean.log_me, mean.h_score, whole)
    for rank, score in zip((layers[place] for place in chosen), scores, strict=True):
        yield Candidate(task.name, name, rank.layer, rank.log_me, rank.h_score, score)


def train_heads(task: TaskSpec, encoder: Encoder, chosen: Sequence[int], options: argparse.Namespace) -> list[float]:
    """Scores on dev of heads on each of some layers, and on all."""
    whole = build_trial(task, encoder, options.data_dir, options.states, options.rows)
    scores = []
    for layers in [*([layer] for layer in chosen), None]:
        stores = whole.stores if layers is None else [store.select(layers) for store in whole.stores]
        trial = dataclasses.replace(whole, stores=stores)
        gold = trial.dev_golds[0]
        outcomes = trial.run_all(range(options.seeds))
        scores.append(float(np.mean([gold.score(outcome.predictions[0]) for outcome in outcomes])))
    return scores


def show(task: str, measure_name: str, found: list[Candidate], read: Callable[[Candidate], float | None]) -> None:
    """A line of the table."""

    def correlate(some: list[Candidate]) -> float:
        if len(some) < 3:  # of two it is always 1 or -1
            return float("nan")
        return spearmanr([read(one) for one in some], [one.score for one in some]).statistic

    groups = [[one for one in found if one.layer == kind] for kind in ("best", "mean")]
    layers = [one for one in found if isinstance(one.layer, int)]
    each = [
        correlate([one for one in layers if one.encoder == name])
        for name in dict.fromkeys(one.encoder for one in layers)
    ]
    figures = [*map(correlate, groups), np.mean(each), correlate(layers)]
    print(f"| {task} | {measure_name} | {' | '.join(f'{figure:.2f}' for figure in figures)} |", flush=True)


def write(file: Path, found: list[Candidate]) -> None:
    """All candidates as a CSV file."""
    with open(file, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([field.name for field in dataclasses.fields(Candidate)])
        writer.writerows(dataclasses.astuple(one) for one in found)


if __name__ == "__main__":
    main()
