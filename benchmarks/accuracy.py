"""Accuracy per cost: frozen heads, the last blocks fine-tuned under them, full fine-tuning and LoRA, on the same rows.

python benchmarks/accuracy.py --data-dir glue [--tasks cola mrpc rte stsb] [--encoder minilm] [--seeds 5]
    [--blocks 1 2 3] [--epochs 3] [--rivals all lora_8] [--rates 2e-5 5e-5 1e-4]

Of each task one table: score on the selection rows, which choose epoch and rate; mean and deviation on dev; seconds;
and those divided by the seconds of full fine-tuning. Seconds are of one seed: of a rival those up to the epoch that was
chosen, with the rate that was; of last blocks those of all epochs, and of the frozen heads that they begin with; of
heads extraction and their share of a training side by side. Runs and states that are there are found again, so that the
same command goes on where it was stopped; an extraction that was found counts as nothing.
"""

import argparse
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from contenders import describe_processor

FULL = "full fine-tuning"  # how the name of that rival begins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["cola", "mrpc", "rte", "stsb"])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--blocks", type=int, nargs="*", default=[1, 2, 3], help="how many last blocks to fine-tune")
    parser.add_argument("--epochs", type=int, default=3, help="of the last blocks, at most")
    parser.add_argument(
        "--rivals", nargs="*", default=["all", "lora_8"], help="parts of the encoder to fine-tune alone"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-5], help="of rivals; LoRA has ten times as much")
    parser.add_argument("--store", type=Path, default=Path("states"))
    parser.add_argument("--output", type=Path, default=Path("runs"))
    options = parser.parse_args()
    print(f"{describe_processor()}; {options.encoder}")
    for task in options.tasks:
        measure(task, options)


def measure(task: str, options: argparse.Namespace) -> None:
    """Runs all models of a task and prints their table."""
    import bertvision_tf as bv
    from bertvision_tf.encoders import choose_dtype

    dtype = choose_dtype()
    common = {"data_dir": options.data_dir, "store": options.store, "seeds": options.seeds, "resume": True}
    rates = options.rates if options.rivals else []  # which are of rivals alone
    against = {"baseline_parts": options.rivals, "baseline_rates": rates, "baselines": False}
    encoder = bv.load_encoder(options.encoder, dtype)
    first = options.output / f"{task}-{options.encoder}"
    frozen = bv.train(task, encoder, output=first, **common)
    rows, words = [*list_rivals(frozen.results), list_head(frozen.results)], []
    if options.rivals:
        run = bv.train(task, encoder, fine_tune={"dtype": dtype}, output=f"{first}-rivals", **against, **common)
        rows += list_rivals(run.results)
        words += [one["words"] for one in run.results["significance"]]
    for blocks in options.blocks:
        run = bv.train(
            *(task, encoder),
            fine_tune_from=first,
            fine_tune_epochs=options.epochs,
            fine_tune={"parts": f"top_{blocks}", "dtype": dtype},
            output=f"{first}-top-{blocks}",
            **against,
            **common,
        )
        rows.append(list_head(run.results))
        words += [one["words"] for one in run.results["significance"]]
    full = next((row["seconds"] for row in rows if row["name"].startswith(FULL)), None)
    print(f"\n| {task} | selection | dev | seconds | of full fine-tuning |\n| --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        spread = f" ± {statistics.stdev(row['scores']):.3f}" if len(row["scores"]) > 1 else ""
        share = f"{row['seconds'] / full:.2f}" if full else ""
        score = f"{statistics.mean(row['scores']):.3f}{spread}"
        print(f"| {row['name']} | {row['selection']:.3f} | {score} | {row['seconds']:.0f} | {share} |", flush=True)
    print("", *words, sep="\n", flush=True)


def list_rivals(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of what a run's heads are compared with."""
    for name, one in results["baselines"].items():
        rates = one.get("learning_rates")
        called = f"{name}, rate {', '.join(f'{rate:g}' for rate in dict.fromkeys(rates))}" if rates else name
        yield {"name": called, "selection": one["selection_score"], "scores": one["scores"], "seconds": one["seconds"]}


def list_head(results: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a run's heads."""
    from bertvision_tf.reports.table import build_rows

    row = build_rows([results])[-1]
    selection = statistics.mean(results["selection_scores"])
    return {"name": row.name, "selection": selection, "scores": results["scores"], "seconds": row.seconds}


if __name__ == "__main__":
    main()
