"""What each codec costs: bytes, and score on CoLA's dev rows.

python benchmarks/codecs.py --data-dir glue --states states --runs runs/codecs [--seeds 3]

Heads are trained on float32 states, and scored on dev states of each codec ("same heads"); then trained and scored
on each codec's own states ("retrained"), with the same seeds, so that differences are paired by seed.
"""

import argparse
from pathlib import Path

import numpy as np

from bertvision_tf import load_encoder, train
from bertvision_tf.metrics import glue_metrics
from bertvision_tf.store import CODECS
from bertvision_tf.training import predict_logits

PADDED_TOKENS = 128  # the research stored float32, padded to this


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--states", type=Path, default=Path("states"))
    parser.add_argument("--runs", type=Path, default=Path("runs/codecs"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    encoder = load_encoder("minilm")
    print("| codec | bytes | of padded float32 | same heads: difference | equal predictions | retrained | difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    reference = None
    for codec in CODECS:
        run = train(
            "cola", encoder, seeds=options.seeds, codec=codec, store=options.states, data_dir=options.data_dir,
            output=options.runs / codec, baselines=False,
        )  # fmt: skip
        scores = np.array(run.results["scores"])
        train_store, dev_store = run.open_stores()
        if reference is None:
            heads = [run.load_head(seed) for seed in run.results["seeds"]]
            expected = [predict_logits(head, dev_store.as_dataset(64)).argmax(axis=1) for head in heads]
            reference = scores
        found = [predict_logits(head, dev_store.as_dataset(64)).argmax(axis=1) for head in heads]
        same = np.array([glue_metrics("cola", dev_store.labels, one)["matthews"] for one in found])
        equal = np.mean([(one == other).mean() for one, other in zip(found, expected, strict=True)])
        size = train_store.bytes + dev_store.bytes
        row = train_store.num_hidden_states * train_store.spec.hidden_dim * 4
        padded = (len(train_store) + len(dev_store)) * PADDED_TOKENS * row
        differences = [show_difference(values - reference) for values in (same, scores)]
        print(
            f"| {codec} | {size / 2**20:,.0f} MiB | 1/{padded / size:.0f} | {differences[0]} | {equal:.1%} | "
            f"{scores.mean():.3f} ± {scores.std(ddof=1):.3f} | {differences[1]} |",
            flush=True,
        )


def show_difference(values: np.ndarray) -> str:
    """Mean and sample deviation over the seeds."""
    return f"{values.mean():+.3f} ± {values.std(ddof=1):.3f}"


if __name__ == "__main__":
    main()
