"""Fine-tuning steps a second on MRPC, all weights, against PyTorch's transformers on the same batches.

python benchmarks/fine_tune.py --data-dir glue      (needs torch: the `bench` extra)

Each contestant has a process of its own, the same batches in the same order (32 pairs, padded to their longest), AdamW
with clipping, dropout, and the first five steps, which trace or warm up, not counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def run_pytorch(data_dir: Path, rows: int, dtype: str) -> float:
    import torch
    from transformers import AutoModelForSequenceClassification

    from bertvision_tf.encoders.checkpoint import find_checkpoint

    _, _, examples, tokens, batches = plan(data_dir, rows)
    model = AutoModelForSequenceClassification.from_pretrained(str(find_checkpoint("minilm"))).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.01)
    times = [time.perf_counter()]
    for batch in batches:
        padded = {name: torch.tensor(value).long() for name, value in tokens.pad(batch).items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = model(
                input_ids=padded["token_ids"],
                attention_mask=padded["padding_mask"],
                token_type_ids=padded["segment_ids"],
                labels=torch.tensor(examples.labels[batch]).long(),
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
    parser.add_argument("--contestant", choices=CONTESTANTS)
    options = parser.parse_args()
    if options.contestant:
        run = run_pytorch if options.contestant.startswith("PyTorch") else run_ours
        print(json.dumps(run(options.data_dir, options.rows, options.contestant.split()[-1])))
        return
    command = [sys.executable, __file__, "--data-dir", str(options.data_dir), "--rows", str(options.rows)]
    seconds = {}
    for name in CONTESTANTS:
        done = subprocess.run([*command, "--contestant", name], stdout=subprocess.PIPE, text=True, check=True)
        seconds[name] = float(done.stdout.strip().splitlines()[-1])
    for dtype in ("float32", "bfloat16"):
        ours, theirs = seconds[f"this library {dtype}"], seconds[f"PyTorch {dtype}"]
        print(f"{dtype}: {ours:.3f} s a step, PyTorch {theirs:.3f} s: {theirs / ours:.2f} times as fast")


if __name__ == "__main__":
    main()
