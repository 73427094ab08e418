"""Few rows of each class: heads on a frozen encoder against SetFit, on the same rows, scored on dev.

python benchmarks/few_shots.py --data-dir glue [--tasks cola mrpc rte] [--shots 8 16 32 64] [--seeds 5]
    [--encoder minilm] [--setfit PYTHON]

SetFit fine-tunes the encoder on pairs of the rows and fits a logistic regression on its vectors. It runs in a process
of its own with its own defaults, in a Python that has it (`pip install setfit`); a pair of texts is one text for it,
with a space between. Seeds draw the same rows for both. Heads choose their epoch on the selection rows, which SetFit
does not read. Seconds are those of one seed, of a head with the extraction of its rows and of the selection rows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contenders import describe_processor

SHOWN = ("majority", "all layers", "kept layers")  # how the names of rivals begin that are shown
SETFIT = """
import json, sys, time
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
asked = json.load(open(sys.argv[1]))
found = []
for job in asked["jobs"]:
    model = SetFitModel.from_pretrained(asked["encoder"])
    start = time.perf_counter()
    options = TrainingArguments(seed=job["seed"], output_dir=asked["folder"], report_to="none")
    rows = Dataset.from_dict({"text": job["texts"], "label": job["labels"]})
    Trainer(model=model, args=options, train_dataset=rows).train()
    seconds = time.perf_counter() - start
    said = model.predict(asked["dev"], show_progress_bar=False)
    found.append({"predictions": [int(one) for one in said], "seconds": seconds})
json.dump(found, open(sys.argv[2], "w"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["cola", "mrpc", "rte"])
    parser.add_argument("--shots", type=int, nargs="+", default=[8, 16, 32, 64])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--states", type=Path, default=Path("states"))
    parser.add_argument("--setfit", default=sys.executable, metavar="PYTHON", help="an interpreter that has SetFit")
    options = parser.parse_args()
    print(f"{describe_processor()}; {options.encoder}; {options.seeds} seeds\n")
    print("| task | rows a class | model | score | seconds |\n| --- | ---: | --- | ---: | ---: |")
    for name in options.tasks:
        for shots in options.shots:
            for model, scores, seconds in [*run_heads(name, shots, options), run_setfit(name, shots, options)]:
                spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
                print(
                    f"| {name} | {shots} | {model} | {statistics.mean(scores):.3f}{spread} | {seconds:.1f} |",
                    flush=True,
                )


def read_rows(name: str, shots: int, options: argparse.Namespace) -> tuple[Any, list[Any], Any, list[Any]]:
    """The task, train and dev, the selection rows, and the rows that each seed draws."""
    import bertvision_tf as bv
    from bertvision_tf.training.draw import Draw, split_task

    task = bv.get_task(name)
    splits = [task.load(split, options.data_dir) for split in ("train", "dev")]
    training, selection = split_task(task, splits[0])
    draw = Draw(splits[0].labels, training, shots=shots)
    return task, splits, selection, [draw.rows(seed) for seed in range(options.seeds)]


def run_heads(name: str, shots: int, options: argparse.Namespace) -> Iterator[tuple[str, list[float], float]]:
    """Simple rivals and the default head: name, scores, seconds."""
    import numpy as np

    import bertvision_tf as bv

    task, (train, _), selection, drawn = read_rows(name, shots, options)
    encoder = bv.load_encoder(options.encoder)
    with tempfile.TemporaryDirectory() as folder:
        few = train.select(np.union1d(drawn[0], selection))
        length = encoder.choose_length(None, task.max_length)
        start = time.perf_counter()
        bv.extract(encoder, few, Path(folder) / "few", max_length=length)
        extraction = time.perf_counter() - start
        run = bv.train(
            *(task, encoder),
            data_dir=options.data_dir,
            shots=shots,
            seeds=options.seeds,
            store=options.states,
            output=Path(folder) / "run",
        )
    found = run.results
    for rival, one in found["baselines"].items():
        if rival.startswith(SHOWN):
            yield rival, one["scores"], one["seconds"]
    yield "default head", found["scores"], found["seconds"]["train"] / options.seeds + extraction


def run_setfit(name: str, shots: int, options: argparse.Namespace) -> tuple[str, list[float], float]:
    """SetFit on the same rows."""
    import numpy as np

    from bertvision_tf.encoders.find import find_checkpoint
    from bertvision_tf.metrics.glue import compute_metric

    task, (train, dev), _, drawn = read_rows(name, shots, options)
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "asked.json", Path(folder) / "answer.json"
        jobs = [
            {"seed": seed, "texts": join_texts(train.select(rows)), "labels": train.labels[rows].tolist()}
            for seed, rows in enumerate(drawn)
        ]
        encoder = str(find_checkpoint(options.encoder))
        content = {"encoder": encoder, "folder": folder, "dev": join_texts(dev), "jobs": jobs}
        asked.write_text(json.dumps(content), encoding="utf-8")
        subprocess.run([options.setfit, "-c", SETFIT, str(asked), str(answer)], check=True, stdout=sys.stderr)
        found = json.loads(answer.read_text(encoding="utf-8"))
    scores = [compute_metric(task.main_metric, dev.labels, np.array(one["predictions"])) for one in found]
    return "SetFit", scores, statistics.mean(one["seconds"] for one in found)


def join_texts(rows: Any) -> list[str]:
    pairs = rows.text_pairs
    return list(rows.texts) if pairs is None else [f"{one} {two}" for one, two in zip(rows.texts, pairs, strict=True)]


if __name__ == "__main__":
    main()
