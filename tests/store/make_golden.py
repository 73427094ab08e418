"""Writes the golden stores: small ones of every codec, without an encoder, and the numbers they must give back.

They hold what format version 1 looked like when it was fixed. Run it only for a new format version:
`python tests/store/make_golden.py`.
"""

import shutil
from pathlib import Path

import numpy as np

from bertvision_tf.store import CODECS, StoreSpec, StoreWriter, open_store
from bertvision_tf.store.codecs import Calibration
from bertvision_tf.store.writer import ShardRows

GOLDEN = Path(__file__).parent / "golden"
LENGTHS = np.array([3, 1, 4, 2])
SHARDS = [[2, 0], [3, 1]]  # examples of each shard


def write_store(path: Path, codec: str, states: np.ndarray) -> None:
    """Writes four examples, (rows, 2 states, 5 channels), in the task's order, as a store of two shards."""
    starts = np.cumsum(LENGTHS) - LENGTHS
    spec = StoreSpec(
        encoder="none",
        encoder_fingerprint="0" * 32,
        task="golden",
        split="train",
        examples=len(LENGTHS),
        examples_fingerprint="1" * 32,
        max_length=8,
        tokens="all",
        pooler=False,
        layers=(0, 3),
        hidden_dim=5,
        codec=codec,
        batch_tokens=8,
        shard_rows=8,
    )
    writer = StoreWriter(
        path,
        spec,
        made_with={"by": "make_golden.py"},
        truncated=1,
        num_shards=len(SHARDS),
        total_rows=len(states),
        calibrate=lambda: Calibration.of(states),
    )
    for examples in SHARDS:
        rows = np.concatenate([np.arange(starts[i], starts[i] + LENGTHS[i]) for i in examples])
        content = ShardRows(
            token_ids=(100 + rows).astype(np.int32),
            segment_ids=(rows % 2).astype(np.uint8),
            lengths=LENGTHS[examples].astype(np.int32),
            example_index=np.array(examples, np.int64),
            labels=np.array(examples, np.int32) % 3,
            ids=np.array([f"é-{i}".encode() for i in examples], "S"),
        )
        writer.write_shard(content, iter([writer.codec.encode(states[rows], writer.calibration)]))
    writer.close()


def main() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    states = np.random.default_rng(0).normal(1, 2, (LENGTHS.sum(), 2, 5)).astype(np.float32)
    decoded = {}
    for codec in CODECS:
        write_store(GOLDEN / codec, codec, states)
        store = open_store(GOLDEN / codec)
        decoded[codec] = np.concatenate([store[i]["hidden_states"].transpose(1, 0, 2) for i in range(len(store))])
    np.savez_compressed(GOLDEN / "numbers.npz", states=states, **decoded)


if __name__ == "__main__":
    main()
