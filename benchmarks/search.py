"""A search for a head on a store of frozen states, against one epoch of fine-tuning in the same run; and what it found
against the default head on dev.

python benchmarks/search.py --data-dir glue --task rte --tuner hyperband --trials 60
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEEDS = 5


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--task", default="rte")
    parser.add_argument("--tuner", default="hyperband")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--train-share", type=float, default=1.0)
    parser.add_argument("--store", type=Path, default=Path("states"))
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("--figures", type=Path, help="write the ratio as JSON to this file too")
    given = parser.parse_args()

    import bertvision_tf as bv
    from bertvision_tf.encoders import choose_dtype
    from bertvision_tf.training import fine_tune
    from bertvision_tf.training.draw import split_task

    task, encoder = bv.get_task(given.task), bv.load_encoder("minilm")
    rows = task.load("train", given.data_dir)
    common = {"data_dir": given.data_dir, "store": given.store}
    default = {"seeds": SEEDS, "baselines": False, "output": given.output / f"{task.name}-default", **common}
    run = bv.train(task, encoder, **default)  # extracts the states, which all find again
    with tempfile.TemporaryDirectory() as folder:
        config = bv.FineTuneConfig.for_task(task, dtype=choose_dtype())
        training, _ = split_task(task, rows)
        length = encoder.choose_length(None, task.max_length)
        epoch, _ = clock(
            lambda: fine_tune(encoder, task, rows, training, folder, epochs=1, seed=0, max_length=length, config=config)
        )
    options = {"tuner": given.tuner, "trials": given.trials, "train_share": given.train_share, **common}
    seconds, found = clock(lambda: bv.search(task, encoder, output=given.output / f"search-{task.name}", **options))
    best = bv.train(
        task, encoder, head=found.head, fit=found.fit, **default | {"output": given.output / f"{task.name}-found"}
    )
    failed = sum(one.score is None for one in found.trials)
    print(
        f"{task.name}: one epoch of fine-tuning ({config.dtype}) {epoch:.0f} s; "
        f"extraction {run.results['seconds']['extract']:.0f} s; "
        f"{len(found.trials)} trials ({failed} failed) {seconds:.0f} s, {seconds / len(found.trials):.1f} s each; "
        f"ratio {seconds / epoch:.1f}"
    )
    for name, one in (("default", run.results), ("found", best.results)):
        selection = sum(one["selection_scores"]) / SEEDS
        print(
            f"{name}: dev {one['mean']:.3f} ± {one['std']:.3f}, selection {selection:.3f}, "
            f"{one['trainable_parameters']:,} weights, {one['seconds']['train'] / SEEDS:.1f} s a seed"
        )
    print(found.head.to_json(), found.fit)
    if given.figures:
        name = f"{task.name}: {len(found.trials)} trials / an epoch of fine-tuning"
        given.figures.write_text(json.dumps({name: seconds / epoch}), encoding="utf-8")


if __name__ == "__main__":
    main()
