"""One encoder with K heads against K fine-tuned encoders, in one run: requests a second, and memory.

python benchmarks/serve.py --data-dir glue --head standardized_adapter_64_shared

Each contender is a process of its own that loads SavedModels and answers the same requests; the contenders take turns.
Heads have random weights, all different: what they cost does not depend on these.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (1, 4, 16)
ROUNDS = 9


def build(folder: Path, count: int, head: str, alone: bool) -> None:
    """Writes a SavedModel: an encoder with heads; alone with a linear head on its last layer, as fine-tuning leaves."""
    import numpy as np
    import tensorflow as tf

    import bertvision_tf as bv
    from bertvision_tf.kinds import CLASSIFICATION
    from bertvision_tf.serving import Servable, ServedHead

    encoder, random = bv.load_encoder("minilm"), np.random.default_rng(0)
    layers = [encoder.num_hidden_states - 1] if alone else list(range(encoder.num_hidden_states))
    heads = []
    for place in range(count):
        model = bv.build_head(
            "last_layer" if alone else head, num_hidden_states=len(layers), hidden_dim=encoder.hidden_dim
        )
        model.set_weights([value + random.normal(0, 0.05, value.shape) for value in model.get_weights()])
        heads.append(ServedHead(f"head_{place}", model, CLASSIFICATION, ("no", "yes")))
    options = {"tokens": "all", "pooler": False, "pairs": False, "max_length": 128, "dtype": "float32"}
    servable = Servable(encoder, heads, layers=layers, **options)
    signatures = {"serving_default": servable.build_signatures(["serving_default"])["serving_default"]}
    tf.saved_model.save(servable, str(folder), signatures=signatures)


def answer(models: list[str], data_dir: Path) -> None:
    """A contender: reads batch sizes from standard input, answers requests of that size, and says how long it took."""
    import time

    import psutil
    import tensorflow as tf
    import tensorflow_text as _registers_an_operation  # noqa: F401

    import bertvision_tf as bv

    texts = bv.get_task("cola").load("dev", data_dir).texts
    loaded = [tf.saved_model.load(model) for model in models]
    signatures = [model.signatures["serving_default"] for model in loaded]
    for line in sys.stdin:
        size, count = map(int, line.split())
        requests = [
            tf.constant([texts[(place * size + row) % len(texts)] for row in range(size)]) for place in range(count)
        ]
        start = time.perf_counter()
        for request in requests:
            for signature in signatures:
                for tensor in signature(text=request).values():
                    tensor.numpy()
        seconds = time.perf_counter() - start
        print(json.dumps([count / seconds, psutil.Process().memory_info().rss]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--head", default="standardized_adapter_64_shared")
    parser.add_argument("--answer", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answer:
        answer(given.answer, given.data_dir)
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = {(count, False): Path(folder) / f"{count}-heads" for count in COUNTS}
        paths[1, True] = Path(folder) / "alone"
        for (count, alone), path in paths.items():
            build(path, count, given.head, alone)
        contenders = {f"1 encoder, {count} heads": [paths[count, False]] for count in COUNTS}
        contenders |= {f"{count} fine-tuned encoders": [paths[1, True]] * count for count in COUNTS}
        command = [sys.executable, __file__, "--data-dir", str(given.data_dir), "--answer"]
        running = {
            name: subprocess.Popen(
                [*command, *map(str, models)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for name, models in contenders.items()
        }

        def ask(name: str, size: int, count: int) -> tuple[float, int]:
            process = running[name]
            process.stdin.write(f"{size} {count}\n")
            process.stdin.flush()
            return tuple(json.loads(process.stdout.readline()))

        print(f"heads {given.head}; requests a second, to those of one head; memory")
        for size, count in ((1, 100), (16, 20)):
            rates = {name: [] for name in running}
            memory = {}
            for turn in range(ROUNDS + 1):
                for name in running:
                    rate, memory[name] = ask(name, size, count)
                    if turn:  # the first warms up
                        rates[name].append(rate)
            first = statistics.median(rates["1 encoder, 1 heads"])
            for name, found in rates.items():
                rate = statistics.median(found)
                print(f"batch {size:2}, {name:24} {rate:8.1f}/s {rate / first:5.2f} {memory[name] / 2**20:8,.0f} MiB")
        for process in running.values():
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    main()
