"""Every head as a file, read by a process that has not built one."""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np

import bertvision_tf
from bertvision_tf.heads import build_head, list_presets

SIZES = {"num_hidden_states": 3, "num_tokens": 5, "hidden_dim": 12}
BATCH = {
    "hidden_states": np.random.default_rng(0).normal(size=(2, 3, 5, 12)).astype("float32"),
    "padding_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
    "segment_ids": np.array([[0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]),
}
SPANS = [
    "adapter_386_shared_skip_pooled_branch",
    "learned_pooling_adapter_386_cnn_3x3_206",
    "learned_pooling_adapter_386_xception",
    "learned_pooling_adapter_386_inception",
    "detect_parts",
]
CASES = [*[(name, "classification") for name in list_presets()], *[(name, "span") for name in SPANS]]
LOAD = """
import sys
from pathlib import Path

import keras
import numpy as np

from bertvision_tf.heads import build

folder = Path(sys.argv[1])
batch = dict(np.load(folder / "batch.npz"))
for file in folder.glob("*.keras"):
    outputs = keras.tree.flatten(keras.models.load_model(file, compile=False)(batch))
    np.save(file.with_suffix(".npy"), np.stack([np.asarray(output) for output in outputs]))
"""


def make_head(name, kind):
    """The head of a name, its weights moved from where they start."""
    head = build_head(name, kind=kind, **SIZES)
    rng = np.random.default_rng(1)
    for weight in head.weights:
        if (weight.trainable or "moving" in weight.path) and len(weight.shape) < 4:
            weight.assign(weight + rng.uniform(0, 0.1, weight.shape))
    return head


def compute(head):
    return np.stack([np.asarray(output) for output in keras.tree.flatten(head(BATCH))])


def test_every_preset_gives_the_same_outputs_in_a_fresh_process():
    expected = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for preset, kind in CASES:
            head = make_head(preset, kind)
            head.save(folder / f"{preset}-{kind}.keras")
            expected[f"{preset}-{kind}"] = compute(head)
        np.savez(folder / "batch.npz", **BATCH)
        environment = {**os.environ, "PYTHONPATH": str(Path(bertvision_tf.__file__).parents[1])}
        subprocess.run([sys.executable, "-c", LOAD, name], check=True, env=environment)
        found = {file.stem: np.load(file) for file in folder.glob("*.npy")}
    assert found.keys() == expected.keys()
    for head, outputs in expected.items():
        assert np.isfinite(outputs).all()
        np.testing.assert_allclose(found[head], outputs, rtol=1e-6, atol=1e-6, err_msg=head)
