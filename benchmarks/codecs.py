"""What each codec costs: bytes, and score on dev, task by task.

python benchmarks/codecs.py --data-dir glue --states states --runs runs/codecs [--tasks cola rte] [--seeds 3]

Heads are trained on float32 states, and scored on dev states of each codec ("same heads"); then trained and scored
on each codec's own states ("retrained"), with the same seeds, so that differences are paired by seed.
"""

import argparse
from pathlib import Path

import numpy as np

from bertvision_tf import Run, TaskSpec, get_task, load_encoder, train
from bertvision_tf.encoders import Encoder
from bertvision_tf.metrics.glue import compute_metric
from bertvision_tf.store import CODECS
from bertvision_tf.training import predict_logits

PADDED_TOKENS = 128  # the research stored float32, padded to this


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["cola", "mrpc", "rte", "stsb"])
    parser.add_argument("--states", type=Path, default=Path("states"))
    parser.add_argument("--runs", type=Path, default=Path("runs/codecs"))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    encoder = load_encoder("minilm")
    print("| task | codec | bytes | of padded float32 | same heads: difference | moved | retrained | difference |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in options.tasks:
        measure_task(get_task(name), encoder, options)


def measure_task(task: TaskSpec, encoder: Encoder, options: argparse.Namespace) -> None:
    reference: Run | None = None
    for codec in CODECS:
        run = train(
            task, encoder, seeds=options.seeds, codec=codec, store=options.states, data_dir=options.data_dir,
            output=options.runs / f"{task.name}-{codec}", baselines=False,
        )  # fmt: skip
        train_store, dev_store = run.open_stores()[:2]
        if reference is None:
            reference = run
            heads = [run.load_head(seed) for seed in run.results["seeds"]]
            expected = [task.kind.decode(predict_logits(head, dev_store.as_dataset(64))) for head in heads]
        found = [task.kind.decode(predict_logits(head, dev_store.as_dataset(64))) for head in heads]
        same = np.array([compute_metric(task.main_metric, dev_store.labels, one) for one in found])
        moved = np.mean([measure_change(task, *pair) for pair in zip(expected, found, strict=True)])
        size = train_store.bytes + dev_store.bytes
        row = train_store.num_hidden_states * train_store.spec.hidden_dim * 4
        padded = (len(train_store) + len(dev_store)) * PADDED_TOKENS * row
        scores, before = (np.array(one.results["scores"]) for one in (run, reference))
        differences = [show_difference(values - before) for values in (same, scores)]
        print(
            f"| {task.title} | {codec} | {size / 2**20:,.0f} MiB | 1/{padded / size:.0f} | {differences[0]} | "
            f"{moved:.2%} | {scores.mean():.3f} ± {scores.std(ddof=1):.3f} | {differences[1]} |",
            flush=True,
        )


def measure_change(task: TaskSpec, expected: np.ndarray, found: np.ndarray) -> float:
    """Share of the rows whose class changed; of scores, the root mean square of the change over their deviation."""
    if task.kind.numeric:
        return float(np.sqrt(np.mean((expected - found) ** 2)) / expected.std())
    return float((expected != found).mean())


def show_difference(values: np.ndarray) -> str:
    """Mean and sample deviation over the seeds."""
    return f"{values.mean():+.3f} ± {values.std(ddof=1):.3f}"


if __name__ == "__main__":
    main()
