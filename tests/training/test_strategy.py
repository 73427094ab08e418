"""Training over several devices, in a process of its own: logical devices are fixed when TensorFlow starts."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from bertvision_tf.errors import RunError
from bertvision_tf.training import get_strategy
from bertvision_tf.training.strategy import choose_strategy

SCRIPT = """
import json, sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import bertvision_tf as bv
from bertvision_tf.training import fit_head, get_strategy, predict_logits
from bertvision_tf.heads import build_head
from bertvision_tf.metrics.glue import compute_metric

encoder = bv.load_encoder(sys.argv[1])
rows = bv.get_task("starter").load("train").take(500)
store = bv.extract(encoder, rows, sys.argv[2], codec="float32")
out = {}
size, steps = int(sys.argv[3]), 2 * -(-400 // int(sys.argv[3]))
for name in ("one_device", "mirrored"):
    strategy = get_strategy(name)
    training = store.as_dataset(size, shuffle=True, seed=1, rows=range(400), epochs=2)
    assert int(training.cardinality()) == steps
    fitted = fit_head(
        lambda: build_head("adapter_8_shared_skip", num_hidden_states=3, hidden_dim=8),
        training,
        store.as_dataset(64, rows=range(400, 500)),
        lambda logits: compute_metric("accuracy", store.labels[400:], logits.argmax(axis=1)),
        config=bv.FitConfig(epochs=2, patience=9),  # 2 epochs of 25 steps
        seed=3,
        strategy=strategy,
    )
    out[name] = {
        "replicas": strategy.num_replicas_in_sync,
        "steps": int(fitted.head.optimizer.iterations.numpy()),
        "loss": fitted.history["loss"],
        "weights": [w.tolist() for w in fitted.head.get_weights()],
        "logits": predict_logits(fitted.head, store.as_dataset(64, rows=range(400, 500))).tolist(),
    }
print("RESULT" + json.dumps(out))
"""
PAIRS = """
import sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import bertvision_tf as bv

random = np.random.default_rng(0)
words = "the a cat cats dog dogs bird has have eat is can not run".split()
first, second = ([" ".join(random.choice(words, random.integers(1, 7))) for _ in range(300)] for _ in range(2))
labels = [int(bool({*one.split()} & {*two.split()})) for one, two in zip(first, second)]
task = bv.task_from_table({"one": first, "two": second, "y": labels}, text="one", text_pair="two", label="y")
encoder = bv.load_encoder(sys.argv[1])
for strategy in ("one_device", "mirrored"):
    run = bv.train(
        task, encoder, head="comparison_adapter_4", seeds=1, fit={"epochs": 2, "mixup": 0.4}, strategy=strategy,
        store=sys.argv[2] + "/states", output=sys.argv[2] + "/" + strategy, baselines=False,
    )
    run = bv.train(
        task, encoder, head="adapter_4_shared", seeds=2, fit={"epochs": 2}, strategy=strategy, train_share=0.5,
        store=sys.argv[2] + "/states", output=sys.argv[2] + "/shares_" + strategy, baselines=False,
    )
"""


def test_a_run_on_measurements_and_mixed_examples_with_two_devices(tmp_path, tiny_encoder):
    import bertvision_tf as bv

    done = subprocess.run(
        [sys.executable, "-c", PAIRS, tiny_encoder.name, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for prefix, seeds in (("", 1), ("shares_", 2)):
        one, two = (bv.load_run(tmp_path / f"{prefix}{name}") for name in ("one_device", "mirrored"))
        assert two.config["strategy"] == "mirrored"
        assert len(two.results["scores"]) == len(one.results["scores"]) == seeds
        with open(one.path / "curves.csv") as first, open(two.path / "curves.csv") as second:
            losses = [[float(line.split(",")[2]) for line in list(file)[1:]] for file in (first, second)]
        assert losses[0] == pytest.approx(losses[1], rel=0.05)  # dropout draws differ, examples do not


@pytest.mark.parametrize("size", [16, 19, 133, 1])  # last batches of 16, 1 and 1 row; batches of one row
def test_mirrored_equals_one_device(tmp_path, tiny_encoder, size):
    import numpy as np

    command = [sys.executable, "-c", SCRIPT, tiny_encoder.name, str(tmp_path / "store"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads(done.stdout.split("RESULT")[1])
    one, two = out["one_device"], out["mirrored"]
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert one["steps"] == two["steps"] == 2 * -(-400 // size)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=1e-4)
    for first, second in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(second, first, atol=1e-4)
    np.testing.assert_allclose(two["logits"], one["logits"], atol=1e-4)
    assert np.std(one["logits"]) > 1e-3  # something was learned at all


def test_unknown_strategy():
    with pytest.raises(RunError, match=r"'tpu' is not known; known: auto, one_device, mirrored\."):
        get_strategy("tpu")


@pytest.mark.parametrize(("gpus", "name"), [(0, "one_device"), (1, "one_device"), (2, "mirrored"), (8, "mirrored")])
def test_several_gpus_are_all_used(monkeypatch, gpus, name):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * (gpus if kind == "GPU" else 1))
    assert choose_strategy("auto") == name
    assert choose_strategy("one_device") == "one_device"
    assert choose_strategy("mirrored") == "mirrored"


def test_a_head_that_normalizes_over_its_batch_is_refused_on_several_devices():
    import types

    from bertvision_tf.heads import build_head
    from bertvision_tf.training.strategy import check_replicas

    sizes = {"num_hidden_states": 13, "hidden_dim": 96}
    bodies, plain = (build_head(name, **sizes) for name in ("xception_abbreviated", "adapter_8_shared"))
    two, one = (types.SimpleNamespace(num_replicas_in_sync=count) for count in (2, 1))
    with pytest.raises(RunError, match="xception_abbreviated normalizes over its batch, and 2 devices would"):
        check_replicas(bodies, two)
    check_replicas(plain, two)
    check_replicas(bodies, one)
