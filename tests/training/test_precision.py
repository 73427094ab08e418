"""Heads and encoders that are trained in half the bits: what they come to, and a loss scale where float16 needs one."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import bertvision_tf as bv
from bertvision_tf.errors import RunError
from bertvision_tf.heads import build_head
from bertvision_tf.keras_settings import computing_in
from bertvision_tf.notes import Note
from bertvision_tf.training import optimizer as module
from bertvision_tf.training.optimizer import FIRST_SCALE, ReplicaSafeAdamW, RowAdamW, attach_optimizer

from .test_fine_tuning import BERT, CHECKPOINTS, FAMILIES, assert_close, make_task, moved, no_dropout, tune

SIZES = {"num_hidden_states": 3, "hidden_dim": 8}
DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import bertvision_tf as bv

for strategy in ("one_device", "mirrored"):
    bv.train(
        "starter", sys.argv[1], head="adapter_8_shared", seeds=1, fit={"epochs": 2, "precision": "float16"},
        strategy=strategy, store=sys.argv[2] + "/states", output=sys.argv[2] + "/" + strategy, baselines=False,
        limit=300,
    )
"""


def read_losses(folder):
    """Of all epochs."""
    return [float(line.split(",")[2]) for line in (folder / "curves.csv").read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def runs(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("precision")
    options = {"head": "standardized_adapter_8_shared", "seeds": 2, "limit": 600, "baselines": False}
    options["store"] = folder / "states"
    return {
        precision: bv.train(
            "starter",
            tiny_encoder,
            fit={"epochs": 3, "learning_rate": 0.01, "precision": precision},
            output=folder / str(precision),
            **options,
        )
        for precision in (None, "float32", "bfloat16", "float16")
    }


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_heads_compute_in_it_and_score_as_they_do(runs, precision):
    found, whole = runs[precision], runs["float32"]
    assert found.config["fit"]["precision"] == precision
    head = found.load_head(0)
    policies = {layer.compute_dtype for layer in head.layers}
    assert precision in policies
    assert {weight.dtype for weight in head.weights} == {"float32"}
    assert head.get_layer("logits").compute_dtype == "float32"
    losses = [read_losses(run.path) for run in (found, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]
    assert found.results["mean"] == pytest.approx(whole.results["mean"], abs=0.06)
    found.predict(["She has eaten."])


def test_nothing_said_is_the_policy_of_keras(runs):
    assert runs[None].results["scores"] == runs["float32"].results["scores"]
    assert runs[None].config["fit"]["precision"] is None
    assert keras.config.dtype_policy().name == "float32"  # and stays as it was


def test_it_is_checked():
    with pytest.raises(RunError, match="precision 'half' is not known; known: float32, bfloat16, float16"):
        bv.FitConfig(precision="half")
    with pytest.raises(RunError, match="fine-tuning dtype 'int8' is not known; known: float32, bfloat16, float16"):
        bv.FineTuneConfig(dtype="int8")


def attach(precision, **options):
    with computing_in(precision):
        head = build_head("adapter_4_shared", **SIZES)
    optimizer = ReplicaSafeAdamW(**({"learning_rate": 0.1, "global_clipnorm": 1.0, "weight_decay": 0.1} | options))
    attach_optimizer(head, optimizer)
    return head, optimizer


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_float16_needs_a_scale(precision):
    head, optimizer = attach(precision)
    assert head.optimizer is optimizer
    assert not optimizer.scales
    assert optimizer.scale_loss(tf.constant(3.0)) == 3


def test_a_scaled_step_is_the_step_of_the_loss_itself():
    (first, one), (second, two) = attach("float16"), attach("float32")
    second.set_weights(first.get_weights())
    random = np.random.default_rng(0)
    for _ in range(3):
        grads = [random.normal(size=weight.shape).astype("float32") for weight in first.trainable_variables]
        one.apply([tf.constant(grad * one.loss_scale.numpy()) for grad in grads])
        two.apply([tf.constant(grad) for grad in grads])
    for own, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)
    assert one.scale_loss(tf.constant(2.0)) == 2 * FIRST_SCALE
    assert one.finite_steps == 3


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_step_that_overflows_changes_no_weight_and_halves_the_scale(monkeypatch, bad):
    monkeypatch.setattr(module, "GROWTH_STEPS", 2)
    head, optimizer = attach("float16")
    good = [tf.ones(weight.shape) for weight in head.trainable_variables]
    optimizer.apply(good)
    before = head.get_weights()
    optimizer.apply([tf.fill(grad.shape, bad) if place == 1 else grad for place, grad in enumerate(good)])
    for own, other in zip(head.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, other)
    assert optimizer.loss_scale == FIRST_SCALE / 2
    optimizer.apply(good)
    assert not np.array_equal(head.get_weights()[0], before[0])
    assert all(np.isfinite(weight).all() for weight in head.get_weights())
    optimizer.apply(good)
    assert optimizer.loss_scale == FIRST_SCALE  # two steps without an overflow


def test_rows_of_an_embedding_are_unscaled_too():
    tables = [keras.Variable(np.ones((6, 2), "float32"), name="embedding") for _ in range(2)]
    scaled, plain = RowAdamW(learning_rate=0.1, global_clipnorm=1.0), RowAdamW(learning_rate=0.1, global_clipnorm=1.0)
    scaled.scales = True
    scaled.build(tables[:1])
    plain.build(tables[1:])
    rows = tf.constant([4, 1, 4])
    values = tf.constant([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
    scaled.apply([tf.IndexedSlices(values * FIRST_SCALE, rows, (6, 2))])
    plain.apply([tf.IndexedSlices(values, rows, (6, 2))])
    np.testing.assert_allclose(tables[0].numpy(), tables[1].numpy(), rtol=1e-6)
    assert not np.array_equal(tables[0].numpy()[4], np.ones(2))
    before = tables[0].numpy()
    scaled.apply([tf.IndexedSlices(values * np.inf, rows, (6, 2))])
    np.testing.assert_array_equal(tables[0].numpy(), before)


def test_an_encoder_is_fine_tuned_in_float16(tmp_path):
    with no_dropout():
        half, whole = (
            tune(make_task(), tmp_path, epochs=1, learning_rate=1e-4, dtype=dtype) for dtype in ("float16", "float32")
        )
    assert_close(half, whole, 2e-3)
    assert moved(bv.load_encoder(str(CHECKPOINTS / BERT)), half)
    assert half.path.parent != whole.path.parent
    state = half.path.parent / "state.safetensors"
    assert state.is_file()
    more = tune(make_task(), tmp_path, epochs=2, learning_rate=1e-4, dtype="float16")  # goes on, with its scale
    assert more.facts["epochs"] == 2


def test_two_devices_share_one_scale(tmp_path, tiny_encoder):
    command = [sys.executable, "-c", DEVICES, tiny_encoder.name, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (json.loads(Path(tmp_path / name / "results.json").read_text()) for name in ("one_device", "mirrored"))
    assert two["selection_scores"] == pytest.approx(one["selection_scores"], abs=0.1)
    curves = [read_losses(tmp_path / name) for name in ("one_device", "mirrored")]
    assert curves[0] == pytest.approx(curves[1], rel=0.05)  # dropout draws differ


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_fine_tuned_in_it(name, dtype, tmp_path):
    with no_dropout():
        half, whole = (
            tune(make_task(), tmp_path, epochs=0.2, encoder=name, learning_rate=1e-4, dtype=one)
            for one in (dtype, "float32")
        )
    assert_close(half, whole, 2e-3)
    assert moved(bv.load_encoder(str(CHECKPOINTS / name)), half)


def test_two_masks_added_are_a_number_in_float16():
    from bertvision_tf.encoders.blocks import mask_out

    masks = mask_out(tf.constant([True, False]), tf.float16) * 2
    np.testing.assert_array_equal(masks, [0, -(2.0**15)])
    assert tf.nn.softmax(masks + tf.constant([-500, 500], tf.float16))[1] == 0


def test_a_training_whose_steps_all_overflow_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "FIRST_SCALE", 2.0**24)
    with pytest.raises(RunError, match="the gradients of all 1 steps overflow in float16: take bfloat16 or float32"):
        tune(make_task(), tmp_path, epochs=0.1, dtype="float16")
    head, optimizer = attach("float16")
    bad = [tf.fill(weight.shape, np.inf) for weight in head.trainable_variables]
    for _ in range(40):
        optimizer.apply(bad)
    assert optimizer.loss_scale == 1  # and no less
    assert optimizer.skipped == 40
    optimizer.apply([tf.ones(weight.shape) for weight in head.trainable_variables])
    with pytest.warns(Note, match="40 of 41 steps were left out"):
        module.check_skipped(optimizer)


def test_heads_that_are_fitted_at_once_are_fitted_exactly(tiny_encoder, tmp_path):
    options = {"head": "kernel_all_layers", "seeds": 1, "limit": 300, "baselines": False, "store": tmp_path / "states"}
    found, half = (
        bv.train("starter", tiny_encoder, fit={"precision": one}, output=tmp_path / str(one), **options)
        for one in (None, "float16")
    )
    assert found.results["selection_scores"] == half.results["selection_scores"]
    assert found.results["scores"] == half.results["scores"]
