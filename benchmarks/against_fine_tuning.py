"""A head on the frozen encoder against full fine-tuning: scores on dev, and how many times as long the latter takes.

python benchmarks/against_fine_tuning.py --data-dir glue [--tasks rte stsb cola mrpc] [--seeds 1]

The encoder's own head is scored after one, two and three epochs, and the selection rows choose one of them; its seconds
are those of the fine-tuning up to that epoch. The head's are those of extraction and of its training for one seed.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from contenders import describe_processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["rte", "stsb", "cola", "mrpc"])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--figures", type=Path, help="write the ratios as JSON to this file too")
    options = parser.parse_args()

    import bertvision_tf as bv
    from bertvision_tf.encoders import choose_dtype

    dtype, figures = choose_dtype(), {}
    print(f"{describe_processor()}; {dtype}\n")
    print("| task | full fine-tuning | epochs | seconds | head | seconds | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for task in options.tasks:
        with tempfile.TemporaryDirectory() as folder:
            run = bv.train(
                task,
                options.encoder,
                data_dir=options.data_dir,
                seeds=options.seeds,
                dtype=dtype,
                baseline_parts=("all",),
                fine_tune={"learning_rate": options.learning_rate, "dtype": dtype},
                store=Path(folder) / "states",
                output=Path(folder) / "run",
            )
        found = run.results
        rival = next(one for one in found["baselines"].values() if one.get("epochs"))
        ours = found["seconds"]["extract"] + found["seconds"]["train"] / options.seeds
        figures[f"{task}: full fine-tuning / head, seconds"] = rival["seconds"] / ours
        epochs = statistics.mean(rival["epochs"])
        cells = [f"{rival['mean']:.3f}", f"{epochs:g}", f"{rival['seconds']:.0f}", f"{found['mean']:.3f}"]
        print(f"| {task} | {' | '.join(cells)} | {ours:.0f} | {rival['seconds'] / ours:.1f} |", flush=True)
    if options.figures:
        options.figures.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
