"""Tokens a second from text to every hidden state: this library, PyTorch transformers, and the research's way.

python benchmarks/extract.py --data-dir glue [--tasks CoLA RTE] [--rows 2000] [--repeats 3]

Each contender runs in a process of its own on the same texts and the same encoder (MiniLM), warmed up; contenders take
turns, and the median of the repeats counts. Tokens are real ones, without padding.

    states      this library, bfloat16: all states of each batch as float32 arrays in memory
    pytorch     transformers' AutoModel, bfloat16, the same batches sorted by length, all states stacked as float32;
                the better of its eager and sdpa attention
    store       this library, bfloat16: texts to a finished int8 store, tokenizing, checksums and flushing included
    research    float32, padded to 128 tokens, 16 texts a batch, one HDF5 file an example
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH_TOKENS = 2048
MAX_LENGTH = 128
RESEARCH_ROWS = 160  # its rate does not depend on their number, its patience does


def read_texts(folder: Path, task: str, rows: int) -> tuple[list[str], list[str] | None]:
    lines = (folder / task / "train.tsv").read_text(encoding="utf-8").splitlines()
    if task == "CoLA":
        return [line.split("\t")[3] for line in lines[:rows]], None
    columns = [line.split("\t") for line in lines[1 : rows + 1]]
    return [row[1] for row in columns], [row[2] for row in columns]


def time_calls(run, tokens: int) -> float:
    run()
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return tokens / statistics.median(seconds)


def build_examples(texts, pairs):
    import numpy as np

    from bertvision_tf import Examples

    ids = [str(row) for row in range(len(texts))]
    return Examples("benchmark", "train", ids, texts, pairs, np.zeros(len(texts), np.int32))


def run_states(texts, pairs):
    from bertvision_tf import load_encoder
    from bertvision_tf.extraction.extract import map_in_order
    from bertvision_tf.store.plan import plan_batches

    encoder = load_encoder("minilm", "bfloat16")
    tokens = encoder.tokenize_rows(texts, pairs, MAX_LENGTH)
    batches = plan_batches(tokens.lengths, BATCH_TOKENS)

    def run():
        for states in map_in_order(lambda batch: encoder.hidden_state_rows(tokens.pad(batch)), batches, 2):
            assert states.shape[1:] == (7, 384)

    return time_calls(run, tokens.lengths.sum())


def run_store(texts, pairs):
    from bertvision_tf import extract, load_encoder

    encoder = load_encoder("minilm", "bfloat16")
    examples = build_examples(texts, pairs)
    tokens = encoder.tokenize_rows(texts, pairs, MAX_LENGTH).lengths.sum()
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        return time_calls(lambda: extract(encoder, examples, Path(folder) / str(next(numbers))), tokens)


def run_pytorch(texts, pairs):
    import torch
    from transformers import AutoModel

    from bertvision_tf import load_encoder
    from bertvision_tf.encoders.checkpoint import find_checkpoint
    from bertvision_tf.store.plan import plan_batches

    tokens = load_encoder("minilm").tokenize_rows(texts, pairs, MAX_LENGTH)
    batches = plan_batches(tokens.lengths, BATCH_TOKENS)
    names = {"token_ids": "input_ids", "segment_ids": "token_type_ids", "padding_mask": "attention_mask"}
    best = 0.0
    for attention in ("eager", "sdpa"):
        model = AutoModel.from_pretrained(
            find_checkpoint("minilm"), dtype=torch.bfloat16, attn_implementation=attention
        ).eval()

        def run(model=model):
            with torch.inference_mode():
                for batch in batches:
                    inputs = {names[name]: torch.from_numpy(value).long() for name, value in tokens.pad(batch).items()}
                    states = model(**inputs, output_hidden_states=True).hidden_states
                    assert torch.stack([state.float() for state in states], 1).shape[1] == 7

        best = max(best, time_calls(run, tokens.lengths.sum()))
    return best


def run_research(texts, pairs):
    import h5py
    import numpy as np

    from bertvision_tf import load_encoder
    from bertvision_tf.encoders.backbone import build_states_model

    encoder = load_encoder("minilm")
    model = build_states_model(encoder.backbone)
    model.compile(jit_compile=False)
    texts, pairs = texts[:RESEARCH_ROWS], pairs and pairs[:RESEARCH_ROWS]
    tokens = encoder.tokenize(texts, pairs, MAX_LENGTH)
    missing = MAX_LENGTH - tokens["token_ids"].shape[1]
    padded = {name: np.pad(value, [(0, 0), (0, missing)]) for name, value in tokens.items()}
    with tempfile.TemporaryDirectory() as folder:

        def run():
            for start in range(0, len(texts), 16):
                batch = {name: value[start : start + 16] for name, value in padded.items()}
                states = np.stack(model.predict_on_batch(batch), axis=1)
                for place, image in enumerate(states):
                    with h5py.File(f"{folder}/{start + place}.h5", "w") as file:
                        file["hidden_states"] = image

        return time_calls(run, tokens["padding_mask"].sum())


CONTENDERS = {"states": run_states, "pytorch": run_pytorch, "store": run_store, "research": run_research}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--tasks", nargs="+", default=["CoLA", "RTE"], choices=["CoLA", "RTE"])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        texts, pairs = read_texts(options.data_dir, options.tasks[0], options.rows)
        print(json.dumps(CONTENDERS[options.contender](texts, pairs)))
        return
    print("| texts | " + " | ".join(CONTENDERS) + " | states / pytorch | store / research |")
    print("| --- |" + " ---: |" * (len(CONTENDERS) + 2))
    for task in options.tasks:
        rates = {name: [] for name in CONTENDERS}
        for _ in range(options.repeats):
            for name in CONTENDERS:
                command = [sys.executable, __file__, "--data-dir", options.data_dir, "--tasks", task]
                command += ["--rows", str(options.rows), "--contender", name]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(f"{name} failed: {done.stderr.strip().splitlines()[-1]}")
                rates[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        cells = [f"{medians[name]:,.0f}" for name in CONTENDERS]
        ratios = medians["states"] / medians["pytorch"], medians["store"] / medians["research"]
        print(f"| {task} | " + " | ".join(cells) + f" | {ratios[0]:.2f} | {ratios[1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
