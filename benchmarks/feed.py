"""Batches a second from a store on disk, against the same states in memory.

python benchmarks/feed.py --data-dir glue [--repeats 5]

An epoch of CoLA's training rows (MiniLM, 32 texts a batch, shuffled) goes through `store.as_dataset`, once from the
mapped shards and once from the same arrays copied into memory; the two take turns, medians count. "float32 in
memory" is the dearest rival: padded float32 images, decoded beforehand, gathered by numpy.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from bertvision_tf import extract, get_task, load_encoder, open_store
from bertvision_tf.images import BatchPlan


def time_epoch(dataset) -> float:
    start = time.perf_counter()
    batches = sum(1 for _ in dataset)
    return batches / (time.perf_counter() - start)


def load_into_memory(store):
    shards = [
        {name: np.array(values) for name, values in store._map(shard).items()}
        for shard in range(len(store.manifest.shards))
    ]
    store._map = shards.__getitem__
    return store


def build_decoded(store) -> tf.data.Dataset:
    images = [store[index]["hidden_states"] for index in range(len(store))]

    def gather(number):
        batch = plan[number]
        longest = max(images[index].shape[1] for index in batch)
        padded = np.zeros((len(batch), images[0].shape[0], longest, images[0].shape[2]), np.float32)
        for place, index in enumerate(batch):
            padded[place, :, : images[index].shape[1]] = images[index]
        return padded

    plan = BatchPlan(store.lengths, shuffle=True, seed=0).batches()
    dataset = tf.data.Dataset.range(len(plan))
    return dataset.map(lambda number: tf.numpy_function(gather, [number], tf.float32), num_parallel_calls=2).prefetch(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of GLUE's official download")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    encoder = load_encoder("minilm", "bfloat16")
    rows = get_task("cola").load("train", options.data_dir)
    print("| codec | disk, batches/s | memory, batches/s | disk / memory | disk / float32 in memory |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for codec in ("float16", "int8", "int4", "int2"):
            path = Path(folder) / codec
            extract(encoder, rows, path, codec=codec)
            stores = {"disk": open_store(path), "memory": load_into_memory(open_store(path))}
            feeds = {name: store.as_dataset(32, shuffle=True, seed=0) for name, store in stores.items()}
            feeds["float32"] = build_decoded(stores["disk"])
            rates = {name: [] for name in feeds}
            for repeat in range(options.repeats + 1):
                for name, dataset in feeds.items():
                    rate = time_epoch(dataset)
                    if repeat:  # the first round warms up
                        rates[name].append(rate)
            disk, memory, float32 = (statistics.median(rates[name]) for name in ("disk", "memory", "float32"))
            print(f"| {codec} | {disk:.0f} | {memory:.0f} | {disk / memory:.2f} | {disk / float32:.2f} |", flush=True)


if __name__ == "__main__":
    main()
