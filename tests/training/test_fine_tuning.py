"""Encoders fine-tuned by fractions of an epoch: what is trained, what is kept, and what a kill leaves."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import bertvision_tf as bv
from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import RunError
from bertvision_tf.training import FineTuneConfig, fine_tune
from bertvision_tf.training.encoder_model import EncoderModel
from bertvision_tf.training.optimizer import RowAdamW, WarmUp
from bertvision_tf.training.snapshot import read_snapshot
from bertvision_tf.training.state import read_state, write_state

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
BERT = "bert-gelu_new-eps0.001-segments2"
FAMILIES = [BERT, "roberta", "xlm-roberta", "distilbert", "albert", "electra"]
FAMILIES += ["mpnet", "modernbert", "deberta-v3", "deberta-v2-keys", "nomic", "gte"]
WORDS = "the a cat cats dog dogs bird has have eat is can not run".split()
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[3])
from test_fine_tuning import make_task, tune
from bertvision_tf.training import fine_tuning
fine_tuning.SAVING_SECONDS, fine_tuning.SAVING_SHARE = 0.0, 1e9  # after every step
tune(make_task(), sys.argv[1], epochs=4, encoder=sys.argv[2], progress=lambda done, total: print(done, flush=True))
"""
DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[2])
from test_fine_tuning import SHARES, make_task, no_dropout, tune
from bertvision_tf.training import get_strategy
print("replicas", get_strategy("mirrored").num_replicas_in_sync)
with no_dropout():
    tune(make_task(), sys.argv[1], epochs=1, strategy="mirrored")
    for rows, size in SHARES:
        tune(make_task(), f"{sys.argv[1]}-{rows}-{size}", epochs=1, rows=rows, batch_size=size, strategy="mirrored")
"""
SHARES = [(21, 8), (17, 8), (3, 8), (3, 1)]  # last batches of 5 rows and of 1, one step alone, fewer rows than devices


@contextlib.contextmanager
def no_dropout():
    """Devices draw their own dropout: without it they do the same."""
    call = keras.layers.Dropout.call
    keras.layers.Dropout.call = lambda self, inputs, training=False: inputs
    try:
        yield
    finally:
        keras.layers.Dropout.call = call


def make_task(pair=False):
    source = np.random.default_rng(0)
    texts = [" ".join(source.choice(WORDS, source.integers(2, 7))) for _ in range(120)]
    table = {"text": texts, "label": [int("cat" in text) for text in texts]}
    if pair:
        return bv.task_from_table(table | {"other": texts[::-1]}, text="text", text_pair="other", label="label")
    return bv.task_from_table(table)


def tune(
    task,
    root,
    *,
    epochs,
    rows=None,
    encoder=BERT,
    seed=0,
    progress=lambda done, total: None,
    strategy="one_device",
    **config,
):
    train = task.load("train")
    settings = FineTuneConfig.for_task(task, **({"learning_rate": 1e-3, "batch_size": 8} | config))
    return fine_tune(
        *(load_encoder(str(CHECKPOINTS / encoder)), task, train, np.arange(rows or len(train)), root),
        **{"epochs": epochs, "seed": seed, "max_length": 16, "config": settings},
        **{"progress": progress, "strategy": strategy},
    )


def assert_close(one, two, tolerance):
    for name, value in one.encoder.weights.items():
        np.testing.assert_allclose(value, two.encoder.weights[name], atol=tolerance, err_msg=name)
    np.testing.assert_allclose(one.classifier.output_kernel, two.classifier.output_kernel, atol=tolerance)


def moved(base, snapshot):
    return {
        name
        for name, value in base.weights.items()
        if not np.allclose(value, snapshot.encoder.weights[name], atol=1e-7)
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_trained_and_says_what_its_model_says(name, tmp_path):
    task, base = make_task(), load_encoder(str(CHECKPOINTS / name))
    snapshot = tune(task, tmp_path, epochs=1, encoder=name)
    assert {"token_embedding", "block_0.query.kernel", "embeddings_norm.gamma"} <= moved(base, snapshot)
    dev = task.load("dev")
    again = EncoderModel(snapshot.encoder, 2)
    for layer, part in ((again._dense or again._backbone.pooled_dense, "dense"), (again._output, "output")):
        layer.set_weights([getattr(snapshot.classifier, f"{part}_{end}") for end in ("kernel", "bias")])
    if again._norm:
        again._norm.set_weights([snapshot.classifier.norm_gamma])
    tokens = snapshot.encoder.tokenize(dev.texts, dev.text_pairs, 16)
    expected = again.model({tensor.name: tokens[tensor.name] for tensor in again.model.inputs}, training=False)
    np.testing.assert_allclose(snapshot.predict(dev, 16), expected, atol=1e-4)


def test_pairs_too(tmp_path):
    task = make_task(pair=True)
    assert tune(task, tmp_path, epochs=0.5).predict(task.load("dev"), 16).shape == (len(task.load("dev")), 2)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ("no_embeddings", lambda name: name.startswith(("block_", "pooler"))),
        ("top_1", lambda name: name.startswith(("block_1.", "pooler"))),
        ("lora_2", lambda name: ".query." in name or ".value." in name or name.startswith("pooler")),
    ],
)
def test_only_the_chosen_parts_move(parts, wanted, tmp_path):
    base = load_encoder(str(CHECKPOINTS / BERT))
    snapshot = tune(make_task(), tmp_path, epochs=2, parts=parts, learning_rate=1e-2)
    assert moved(base, snapshot) == {name for name in base.weights if wanted(name) and "key.bias" not in name} | {
        name for name in moved(base, snapshot) if "key.bias" in name and wanted(name)
    }  # a key's bias has no gradient: softmax forgets it
    sizes = {name: value.size for name, value in base.weights.items()}
    trained = sum(size for name, size in sizes.items() if wanted(name))
    if parts == "lora_2":  # instead of four kernels (8, 2 heads, 4) two tables each, (8, 2, rank 2) and (2, 4)
        trained -= 4 * (8 * 8 - 8 * 2 * 2 - 2 * 4)
    assert snapshot.facts["trainable_parameters"] == trained + 8 * 2 + 2


@pytest.mark.parametrize("name", ["mpnet", "modernbert", "deberta-v2-keys"])
@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ("top_1", lambda name: name.startswith(("block_2.", "final_norm"))),
        ("lora_2", lambda name: ".query." in name or ".value." in name),
    ],
)
def test_only_the_chosen_parts_of_other_backbones_move(name, parts, wanted, tmp_path):
    base = load_encoder(str(CHECKPOINTS / name))
    found = moved(base, tune(make_task(), tmp_path, epochs=2, parts=parts, learning_rate=1e-2, encoder=name))
    assert found and all(map(wanted, found))
    assert {part for part in base.weights if wanted(part) and part.endswith(".kernel")} - found <= {
        part for part in base.weights if "distance_" in part
    }


@pytest.mark.parametrize("name", ["mpnet", "modernbert", "deberta-v2-keys", "deberta-v3", "nomic", "gte"])
def test_other_backbones_in_bfloat16_and_again_from_their_snapshot(name, tmp_path):
    snapshot = tune(make_task(), tmp_path / "one", epochs=0.2, encoder=name, dtype="bfloat16")
    again = tune(make_task(), tmp_path / "two", epochs=0.2, encoder=snapshot.path.resolve(), dtype="bfloat16")
    assert load_encoder(str(again.path)).fingerprint == again.encoder.fingerprint
    assert moved(snapshot.encoder, again)


@pytest.mark.parametrize("parts", ["half", "top_0", "top_3", "lora_0"])
def test_unknown_parts_are_one_line(parts, tmp_path):
    with pytest.raises(RunError) as caught:
        tune(make_task(), tmp_path, epochs=1, parts=parts)
    assert "\n" not in str(caught.value)


def test_rates():
    stays, falls = WarmUp(2.0, rising=4), WarmUp(2.0, rising=4, end=12)
    assert [float(stays(step)) for step in (0, 1, 3, 4, 99)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    assert [float(falls(step)) for step in (0, 3, 4, 8, 11, 12)] == [0.5, 2.0, 2.0, 1.0, 0.25, 0.0]


def test_a_fraction_goes_on_from_the_one_before(tmp_path):
    task = make_task()
    half = tune(task, tmp_path / "one", epochs=0.5)
    steps = []
    whole = tune(task, tmp_path / "one", epochs=1, progress=lambda done, total: steps.append(done))
    assert steps[0] == half.facts["steps"] == 6
    assert_close(whole, tune(task, tmp_path / "two", epochs=1), 1e-6)
    state = whole.path.parent / "state.safetensors"
    before = state.stat().st_mtime_ns
    assert tune(task, tmp_path / "one", epochs=1).facts == whole.facts
    assert state.stat().st_mtime_ns == before
    assert_close(tune(task, tmp_path / "one", epochs=0.25), tune(task, tmp_path / "three", epochs=0.25), 1e-6)


def test_what_is_not_the_same_has_its_own_folder(tmp_path):
    task = make_task()
    first = tune(task, tmp_path, epochs=0.5)
    assert tune(task, tmp_path, epochs=1).path.parent == first.path.parent
    others = [
        tune(task, tmp_path, epochs=0.5, seed=1),
        tune(task, tmp_path, epochs=0.5, schedule="each"),
        tune(task, tmp_path, epochs=1, schedule="each"),
        tune(task, tmp_path, epochs=0.5, dtype="bfloat16"),
    ]
    assert len({snapshot.path.parent for snapshot in [first, *others]}) == 5


def test_nothing_is_begun_on_a_damaged_state(tmp_path):
    task = make_task()
    state = tune(task, tmp_path, epochs=0.5).path.parent / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"state\.safetensors cannot be read") as caught:
        tune(task, tmp_path, epochs=1)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunError, match="more than 0 epochs"):
        tune(task, tmp_path, epochs=0)


def test_no_flipped_bit_of_a_state_is_gone_on_from(tmp_path):
    file, drawn = tmp_path / "state.safetensors", np.random.default_rng(0)
    assert read_state(file) is None
    values = [drawn.normal(size=shape).astype(np.float32) for shape in ((4, 5), (), (7,))]
    write_state(file, values, 3, 1.5)
    found, step, seconds = read_state(file)
    assert (step, seconds) == (3, 1.5) and all(map(np.array_equal, found, values))
    content = file.read_bytes()
    for place in range(len(content)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        if not content[place : place + 1].isspace():  # between the header and the tensors
            with pytest.raises(RunError, match=r"state\.safetensors cannot be read \(") as caught:
                read_state(file)
            assert "\n" not in str(caught.value)


def test_a_killed_one_ends_as_one_that_was_not(tmp_path):
    command = [sys.executable, "-c", SCRIPT, tmp_path / "killed", BERT, Path(__file__).parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        last = random.randint(3, 30)
        for line in process.stdout:
            if int(line) >= last:
                os.kill(process.pid, signal.SIGKILL)
                break
    steps = []
    resumed = tune(make_task(), tmp_path / "killed", epochs=4, progress=lambda done, total: steps.append(done))
    assert last - 1 <= steps[0] < 48
    assert_close(resumed, tune(make_task(), tmp_path / "whole", epochs=4), 1e-5)


def test_bfloat16_keeps_weights_in_float32(tmp_path):
    base = load_encoder(str(CHECKPOINTS / BERT))
    trained = EncoderModel(base, 2, dtype="bfloat16")
    assert trained._backbone.token_embedding.compute_dtype == "float32"
    assert trained._backbone.transformer_layers[0].compute_dtype == "bfloat16"
    assert {variable.dtype for variable in trained.model.trainable_variables} == {"float32"}
    near = [tune(make_task(), tmp_path, epochs=1, learning_rate=1e-4, dtype=dtype) for dtype in ("float32", "bfloat16")]
    assert_close(*near, 5e-3)


def test_two_devices_train_what_one_does(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, tmp_path / "two", Path(__file__).parent], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "replicas 2" in done.stdout
    two = read_snapshot(next((tmp_path / "two").rglob("epochs-1")))
    with no_dropout():
        assert_close(two, tune(make_task(), tmp_path / "one", epochs=1), 1e-4)
        for rows, size in SHARES:
            (path,) = (tmp_path / f"two-{rows}-{size}").rglob("epochs-1")
            one = tune(make_task(), tmp_path / f"one-{rows}-{size}", epochs=1, rows=rows, batch_size=size)
            assert_close(read_snapshot(path), one, 1e-4)
            assert one.facts["steps"] == read_snapshot(path).facts["steps"] == -(-rows // size)
            assert moved(load_encoder(str(CHECKPOINTS / BERT)), one)


def test_rows_that_were_not_read_rest_and_the_others_are_adam():
    table = keras.Variable(np.ones((6, 2), "float32"), name="embedding")
    dense = keras.Variable(np.ones((3, 2), "float32"), name="kernel")
    twin = keras.Variable(np.ones((3, 2), "float32"), name="kernel")
    options = {"learning_rate": 0.1, "weight_decay": 0.1, "global_clipnorm": 1.0}
    ours, kerass = RowAdamW(**options), keras.optimizers.AdamW(**options)
    ours.exclude_from_weight_decay(var_names=["embedding"])
    ours.build([table, dense])
    kerass.build([twin])
    first = second = np.zeros(2)
    expected = np.ones(2)
    for step in range(1, 4):
        values = tf.constant([[1.0, 2.0], [3.0, -1.0]])  # of row 4, read twice: (4, 1) together
        slices = tf.IndexedSlices(values, tf.constant([4, 4]), tf.constant([6, 2]))
        ours.apply([slices, tf.zeros((3, 2))])
        gradient = np.array([4.0, 1.0]) / np.sqrt(17)  # clipped to a norm of 1
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        expected = expected - rate * first / (np.sqrt(second) + 1e-7)
        kerass.apply([tf.zeros((3, 2))])
    np.testing.assert_allclose(table[4], expected, rtol=1e-4)
    np.testing.assert_array_equal(np.delete(np.array(table), 4, axis=0), 1)
    np.testing.assert_allclose(dense, twin, rtol=1e-6)
    assert np.count_nonzero(np.array(ours._momentums[0])) == 2
