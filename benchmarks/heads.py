"""What it costs to train heads: one, several side by side, and their bare matrix products.

python benchmarks/heads.py --data-dir glue [--quick] [--tasks cola rte] [--encoder minilm] [--seeds 5]

Seconds of an epoch are the median over all epochs but the first, in which the graph is traced; the selection rows are
predicted after each. The bare products are those of the default head's adapter, forward and backward, on cells that
are in memory: for one head, and for several side by side. A head for pairs of texts spends most of its time elsewhere,
so they are measured for single texts alone. "first step" is what a fresh process needs from the end of
`import tensorflow` to the end of the first training step, on states that are there.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from contenders import describe_processor
from trials import build_trial

from bertvision_tf import get_task, load_encoder
from bertvision_tf.images import BatchPlan
from bertvision_tf.training import passes
from bertvision_tf.training.trial import Trial, fit_trials, plan_passes

REPEATS = 3
FRESH = """
import sys, time, tensorflow
start = time.perf_counter()
sys.path.insert(0, sys.argv[1])
import heads
print(heads.measure_first_step(start, *sys.argv[2:]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["cola", "rte"])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--states", type=Path, default=Path("states"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the first 1,000 rows, and one measurement instead of 3")
    parser.add_argument("--figures", type=Path, help="write the ratios as JSON to this file too")
    options = parser.parse_args()
    figures: dict[str, float] = {}
    print(describe_processor())
    print("| task | an epoch of one head, s | bare products, s | ratio | of several, s | several / one |", end="")
    print(" bare, several / one | first step, s |")
    print("| --- |" + " ---: |" * 7)
    for name in options.tasks:
        trial = make_trial(name, options)
        one, several = (measure_epoch(trial, count, options) for count in (1, options.seeds))
        bare = [measure_products(trial, count) for count in (1, options.seeds)] if not trial.head.comparison else None
        first = measure_fresh_process(name, options)
        products = f"{bare[0]:.2f} | {one / bare[0]:.2f}" if bare else "|"
        both = f"{bare[1] / bare[0]:.2f}" if bare else ""
        cells = [f"{one:.2f}", products, f"{several:.2f}", f"{several / one:.2f}", both, f"{first:.1f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        figures[f"{name}: an epoch of {options.seeds} heads / of one"] = several / one
        if bare:
            figures[f"{name}: an epoch of one head / its bare products"] = one / bare[0]
        figures[f"{name}: first step after `import tensorflow`, seconds"] = first
    if options.figures:
        options.figures.write_text(json.dumps(figures), encoding="utf-8")


def make_trial(name: str, options: argparse.Namespace) -> Trial:
    encoder, rows = load_encoder(options.encoder), 1000 if options.quick else None
    epochs = 3 if options.quick else 5
    return build_trial(get_task(name), encoder, options.data_dir, options.states, rows, epochs=epochs, patience=epochs)


def measure_epoch(trial: Trial, count: int, options: argparse.Namespace) -> float:
    """Seconds of an epoch in which some heads are trained side by side."""
    found = []
    trial.inputs  # noqa: B018  # what a head measures of the stores is measured before
    for _ in range(1 if options.quick else REPEATS):
        ends: list[float] = []
        told = dataclasses.replace(trial, progress=lambda *_, ends=ends: ends.append(time.perf_counter()))
        told.__dict__["inputs"] = trial.inputs
        jobs = [(told, seed) for seed in range(count)]
        assert len(plan_passes(jobs)) == 1, "so many heads do not fit into one pass: ask for fewer --seeds"
        fit_trials(jobs)
        found.append(np.median(np.diff(ends[1:-1])))
    return float(np.median(found))


def measure_products(trial: Trial, count: int) -> float:
    """Seconds of an epoch's products of the adapters of some heads, forward and backward."""
    store, width = trial.stores[0], trial.head.adapter_dim
    rows = store.find_images(trial.draw.rows(0))
    plan = BatchPlan(store.lengths, rows=rows, batch_size=trial.config.batch_size, shuffle=True, seed=0)
    tokens = Counter((len(batch), int(store.lengths[batch].max())) for batch in plan.batches())
    kernel = tf.random.normal((store.spec.hidden_dim, width * count))

    @tf.function(reduce_retracing=True)
    def multiply(cells: tf.Tensor, gradient: tf.Tensor) -> list[tf.Tensor]:
        return [tf.matmul(cells, kernel)[0, 0], tf.matmul(cells, gradient, transpose_a=True)[0, 0]]

    seconds = 0.0
    for (examples, longest), times in tokens.items():
        cells = tf.random.normal((examples * store.num_hidden_states * longest, store.spec.hidden_dim))
        gradient = tf.random.normal((len(cells), width * count))
        multiply(cells, gradient)
        clocks = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            [part.numpy() for part in multiply(cells, gradient)]
            clocks.append(time.perf_counter() - start)
        seconds += times * float(np.median(clocks))
    return seconds


def measure_fresh_process(name: str, options: argparse.Namespace) -> float:
    """Seconds until the first step's end in a process of its own."""
    given = [name, options.encoder, str(options.data_dir), str(options.states), *(["quick"] if options.quick else [])]
    folder = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", FRESH, folder, *given], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure_first_step(start: float, name: str, encoder: str, data_dir: str, states: str, quick: str = "") -> float:
    """Seconds from `start` to the end of the first step of one head; the head is not trained further."""
    run = passes.Passes.run

    def run_once(self: passes.Passes, steps: int) -> np.ndarray:
        run(self, 1)
        raise FirstStep(time.perf_counter() - start)

    passes.Passes.run = run_once  # type: ignore[method-assign]
    given = {"encoder": encoder, "data_dir": Path(data_dir), "states": Path(states), "quick": bool(quick)}
    try:
        fit_trials([(make_trial(name, argparse.Namespace(**given)), 0)])
    except FirstStep as end:
        return float(end.args[0])
    raise AssertionError("no step")


class FirstStep(Exception):
    """Ends a training after its first step."""


if __name__ == "__main__":
    main()
