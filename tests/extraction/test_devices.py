"""Extraction on several devices, in a process of its own: logical devices are fixed when TensorFlow starts."""

import json
import subprocess
import sys

import pytest

import bertvision_tf as bv
from bertvision_tf.encoders import Encoder
from bertvision_tf.extraction import devices

SCRIPT = """
import collections, hashlib, json, sys, threading
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
import bertvision_tf as bv
from bertvision_tf.encoders import encoder as module
from bertvision_tf.extraction import devices

ran = collections.Counter()
run_tensorflow = module.run_tensorflow

def run_watched(function):
    def run(*inputs):
        found = function(*map(tf.constant, inputs))
        ran[found.device] += 1
        return found.numpy()
    return run

module.run_tensorflow = run_watched
names = [device.name for device in tf.config.list_logical_devices("CPU")]
rows = bv.get_task("starter").load("train").take(300)
out = []
for count in (1, 3):
    devices.list_gpus = lambda: names[:count]
    ran.clear()
    path = Path(sys.argv[2]) / str(count)
    encoder = bv.load_encoder(sys.argv[1])
    bv.extract(encoder, rows, path, batch_tokens=64, shard_rows=500)
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.glob("shard-*")}
    out.append({"devices": dict(ran), "digests": digests})
print("RESULT" + json.dumps(out))
"""


def test_a_copy_on_each_gpu_writes_the_same_bytes(tmp_path, tiny_encoder):
    command = [sys.executable, "-c", SCRIPT, tiny_encoder.name, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, three = json.loads(done.stdout.split("RESULT")[1])
    assert one["digests"] == three["digests"]
    assert len(one["digests"]) > 3
    assert len(one["devices"]) == 1
    assert len(three["devices"]) == 3
    assert sum(one["devices"].values()) == sum(three["devices"].values())
    assert min(three["devices"].values()) > 1


@pytest.mark.parametrize(("gpus", "workers"), [(1, 2), (3, 6)])
def test_two_batches_a_gpu_are_in_work(monkeypatch, gpus, workers):
    monkeypatch.setattr(devices, "list_gpus", lambda: [f"/GPU:{place}" for place in range(gpus)])
    assert devices.count_workers() == workers
    assert devices.rounds_on_device()


def test_the_copy_that_is_free_first_takes_a_batch(monkeypatch, tiny_encoder):
    monkeypatch.setattr(devices, "list_gpus", lambda: ["/CPU:0", "/device:CPU:0"])
    copies = devices.Copies(tiny_encoder, 4)
    taken = []

    def run(self, tokens):
        taken.append(self.device)
        if tokens == "slow":
            copies.hidden_state_rows("quick")
            copies.hidden_state_rows("quick")
        return self.device

    monkeypatch.setattr(Encoder, "hidden_state_rows", run)
    copies.hidden_state_rows("slow")
    assert taken == ["/CPU:0", "/device:CPU:0", "/CPU:0"]


def test_one_device_needs_no_copy(monkeypatch, tiny_encoder):
    monkeypatch.setattr(devices, "list_gpus", lambda: ["/GPU:0"])
    monkeypatch.setattr(Encoder, "on_device", lambda self, device: pytest.fail("copied"))
    devices.Copies(tiny_encoder, 2)


def test_a_pickled_copy_runs_where_it_is_opened(tiny_encoder):
    import pickle

    copy = tiny_encoder.on_device("/CPU:0")
    assert pickle.loads(pickle.dumps(copy)).device is None
    tokens = tiny_encoder.tokenize(["the cat can run"])
    assert (copy.hidden_states(tokens) == tiny_encoder.hidden_states(tokens)).all()
    assert isinstance(copy, bv.Encoder)
