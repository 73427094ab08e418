"""Fine-tuning on ~50 short texts: weights that move, snapshots that say what the model says, kills and devices."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import bertvision_tf as bv
from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import RunError
from bertvision_tf.training import FineTuneConfig, fine_tune
from bertvision_tf.training.encoder_model import EncoderModel
from bertvision_tf.training.fine_tuning import WarmUp

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
BERT = "bert-gelu_new-eps0.001-segments2"
FAMILIES = [BERT, "roberta", "xlm-roberta", "distilbert", "albert", "electra"]
EMBEDDINGS = {
    "token_embedding",
    "position_embedding",
    "segment_embedding",
    "embeddings_norm.gamma",
    "embeddings_norm.beta",
}
WORDS = "the a cat cats dog dogs bird has have eat is can not run".split()

KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from test_fine_tune import make_task, tune
from bertvision_tf.training import fine_tuning
fine_tuning.SAVING_SECONDS, fine_tuning.SAVING_SHARE = 0, 1e9  # the state is kept after each step
tune(make_task(), sys.argv[1], epochs=5, progress=lambda done, total: print(done, total, flush=True))
"""
DEVICES = """
import json, sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[2])
import keras
from test_fine_tune import make_task, tune
from bertvision_tf.training import encoder_model, get_strategy
from bertvision_tf.training.optimizer import RowAdamW

encoder_model.DROPOUT = 0
build = encoder_model.build_backbone
def build_without_dropout(*args):
    backbone = build(*args)
    for layer in backbone._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    return backbone
encoder_model.build_backbone = build_without_dropout
sparse, update = set(), RowAdamW.update_step
def update_step(self, gradient, variable, rate):
    if isinstance(gradient, tf.IndexedSlices):
        sparse.add(variable.name.split("/")[0])
    update(self, gradient, variable, rate)
RowAdamW.update_step = update_step
losses = {}
fit = keras.Model.fit
def keep_losses(self, *args, callbacks, **options):
    kept = []
    log = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: kept.append(logs["loss"]))
    fit(self, *args, callbacks=[*callbacks, log], **options)
    losses[strategy] = kept
keras.Model.fit = keep_losses
out = {}
for strategy in ("one_device", "mirrored"):
    sparse.clear()
    snapshot = tune(make_task(), sys.argv[1] + strategy, epochs=2, strategy=strategy)
    weights = {name: value.tolist() for name, value in snapshot.encoder.weights.items()}
    weights["output"] = snapshot.classifier.output_kernel.tolist()
    replicas = get_strategy(strategy).num_replicas_in_sync
    out[strategy] = {"weights": weights, "sparse": sorted(sparse), "losses": losses[strategy], "replicas": replicas}
print("RESULT" + json.dumps(out))
"""


def make_task(kind="classes"):
    """Sixty texts, of which task_from_table keeps 48 for training; the label is whether there is a cat."""
    source = np.random.default_rng(5)
    texts = [" ".join(source.choice(WORDS, source.integers(2, 9))) for _ in range(60)]
    if kind == "scores":  # 100 and more
        return bv.task_from_table({"text": texts, "label": [120.5 + 4 * text.count("a") for text in texts]})
    table = {"text": texts, "label": ["yes" if "cat" in text else "no" for text in texts]}
    if kind == "pairs":
        return bv.task_from_table(table | {"other": texts[::-1]}, text="text", text_pair="other", label="label")
    return bv.task_from_table(table)


def tune(task, root, *, epochs, encoder=BERT, seed=0, strategy="one_device", progress=None, **config):
    train = task.load("train")
    return fine_tune(
        load_encoder(str(CHECKPOINTS / encoder)),
        task,
        train,
        np.arange(len(train)),
        root,
        epochs=epochs,
        seed=seed,
        max_length=16,
        config=FineTuneConfig(**({"learning_rate": 2e-3, "batch_size": 8} | config)),
        strategy=strategy,
        progress=progress or (lambda done, total: None),
    )


def find_moved(base, snapshot):
    assert set(base.weights) == set(snapshot.encoder.weights)
    return {name for name, value in base.weights.items() if np.abs(value - snapshot.encoder.weights[name]).max() > 0}


def find_still(base, snapshot, tolerance=1e-7):
    return {
        name
        for name, value in base.weights.items()
        if np.abs(value - snapshot.encoder.weights[name]).max() <= tolerance
    }


def assert_equal_weights(one, two, tolerance):
    for name, value in one.encoder.weights.items():
        np.testing.assert_allclose(value, two.encoder.weights[name], atol=tolerance, rtol=0, err_msg=name)
    for part in ("dense_kernel", "dense_bias", "output_kernel", "output_bias"):
        first, second = getattr(one.classifier, part), getattr(two.classifier, part)
        np.testing.assert_allclose(first, second, atol=tolerance, rtol=0, err_msg=part)


def predict_in_keras(snapshot, examples):
    """The logits of KerasHub's backbone and Keras's layers with the snapshot's weights."""
    classifier = snapshot.classifier
    twin = EncoderModel(snapshot.encoder, len(classifier.output_bias))
    dense = twin._dense if twin._dense is not None else twin._backbone.pooled_dense
    dense.set_weights([classifier.dense_kernel, classifier.dense_bias])
    twin._output.set_weights([classifier.output_kernel, classifier.output_bias])
    tokens = snapshot.encoder.tokenize(examples.texts, examples.text_pairs, 16)
    return twin.model({tensor.name: tokens[tensor.name] for tensor in twin.model.inputs}, training=False).numpy()


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_trained_and_kept_as_it_is(name, tmp_path):
    task, base = make_task(), load_encoder(str(CHECKPOINTS / name))
    snapshot = tune(task, tmp_path, epochs=1, encoder=name)
    assert snapshot.facts["steps"] == 6
    assert snapshot.encoder.fingerprint != base.fingerprint
    assert load_encoder(str(snapshot.path)).fingerprint == snapshot.encoder.fingerprint
    train = task.load("train")
    logits = snapshot.predict(train, 16)
    assert logits.shape == (48, 2)
    assert logits.std() > 1e-3
    np.testing.assert_allclose(logits, predict_in_keras(snapshot, train), atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_of_words_that_no_text_has_stay(name, tmp_path):
    task, base = make_task(), load_encoder(str(CHECKPOINTS / name))
    train = task.load("train")
    tokens = base.tokenize(train.texts, None, 16)["token_ids"]
    read = np.unique(tokens)
    change = np.abs(tune(task, tmp_path, epochs=1, encoder=name).encoder.weights["token_embedding"])
    change = np.abs(change - np.abs(base.weights["token_embedding"])).max(axis=1)
    assert 0 < len(read) < len(change)
    assert np.delete(change, read).max() == 0
    assert (change[read] > 0).sum() >= len(read) - 1  # the padding may have no gradient


def test_without_embeddings_the_blocks_move(tmp_path):
    base = load_encoder(str(CHECKPOINTS / BERT))
    snapshot = tune(make_task(), tmp_path, epochs=1, parts="no_embeddings")
    moved = find_moved(base, snapshot)
    assert find_moved(base, snapshot) & EMBEDDINGS == set()
    for block in (0, 1):
        assert {f"block_{block}.{part}.kernel" for part in ("query", "key", "value")} <= moved
    assert "pooler.kernel" in moved
    kept = sum(base.weights[name].size for name in EMBEDDINGS)
    everything = sum(value.size for value in base.weights.values()) + 8 * 2 + 2
    assert snapshot.facts["trainable_parameters"] == everything - kept


def test_all_is_every_weight(tmp_path):
    base = load_encoder(str(CHECKPOINTS / BERT))
    trained = EncoderModel(base, 3)
    assert trained.trainable_parameters == sum(value.size for value in base.weights.values()) + 8 * 3 + 3


def test_the_top_block_alone_moves(tmp_path):
    base = load_encoder(str(CHECKPOINTS / BERT))
    snapshot = tune(make_task(), tmp_path, epochs=1, parts="top_1")
    top = {name for name in base.weights if name.startswith(("block_1.", "pooler."))}
    moved = find_moved(base, snapshot)
    assert moved <= top
    assert top - moved <= {"block_1.key.bias"}  # softmax forgets it
    assert snapshot.facts["trainable_parameters"] == sum(base.weights[name].size for name in top) + 8 * 2 + 2


def test_low_rank_changes_are_those_of_queries_and_values(tmp_path):
    base = load_encoder(str(CHECKPOINTS / BERT))
    snapshot = tune(make_task(), tmp_path, epochs=1, parts="lora_2", learning_rate=1e-2)
    moved = find_moved(base, snapshot)
    ends = ("kernel", "bias")
    projections = {f"block_{block}.{part}.{end}" for block in (0, 1) for part in ("query", "value") for end in ends}
    assert moved == projections | {"pooler.kernel", "pooler.bias"}
    for block in (0, 1):
        for part in ("query", "value"):
            name = f"block_{block}.{part}.kernel"
            change = snapshot.encoder.weights[name] - base.weights[name]
            values = np.linalg.svd(change)[1]
            assert values[0] > 1e-5
            assert values[4:].max() < 1e-6  # of rank 2 in each of 2 heads
            for head in (change[:, :4], change[:, 4:]):
                assert np.linalg.svd(head)[1][2:].max() < 1e-6
    # In each of 4 projections (8, heads, 2), (2, 4) and 8 biases, then the pooler and the logits.
    assert snapshot.facts["trainable_parameters"] == 4 * (32 + 8 + 8) + (64 + 8) + (8 * 2 + 2)


def test_low_rank_training_goes_on_too(tmp_path):
    task = make_task()
    tune(task, tmp_path / "parted", epochs=0.5, parts="lora_2", learning_rate=1e-2)
    parted = tune(task, tmp_path / "parted", epochs=1, parts="lora_2", learning_rate=1e-2)
    assert_equal_weights(parted, tune(task, tmp_path / "once", epochs=1, parts="lora_2", learning_rate=1e-2), 1e-6)


@pytest.mark.parametrize("parts", ["everything", "top_99", "top_0", "lora_0", "top_", "lora_2x", ""])
def test_unknown_parts_are_an_error_of_one_line(parts, tmp_path):
    with pytest.raises(RunError) as caught:
        tune(make_task(), tmp_path, epochs=1, parts=parts)
    assert "\n" not in str(caught.value)
    assert (f"{parts} is more than the 2 blocks" if parts == "top_99" else repr(parts)) in str(caught.value)


def test_rates_rise_and_stay_or_fall():
    constant, falling = WarmUp(3.0, rising=3), WarmUp(3.0, rising=2, end=6)
    np.testing.assert_allclose([constant(step) for step in (0, 1, 2, 3, 1000)], [1, 2, 3, 3, 3], rtol=1e-6)
    np.testing.assert_allclose([falling(step) for step in range(7)], [1.5, 3, 3, 2.25, 1.5, 0.75, 0], rtol=1e-6)
    np.testing.assert_allclose([WarmUp(3.0, rising=0)(step) for step in (0, 9)], [3, 3])
    np.testing.assert_allclose([WarmUp(4.0, 0, 4)(tf.constant(step)) for step in range(4)], [4, 3, 2, 1])


def test_fractions_go_on_and_are_asked_for_again_for_nothing(tmp_path):
    task, steps = make_task(), []
    half = tune(task, tmp_path / "parted", epochs=0.5)
    whole = tune(task, tmp_path / "parted", epochs=1, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert half.path.parent == whole.path.parent
    assert_equal_weights(whole, tune(task, tmp_path / "once", epochs=1), 1e-6)
    assert whole.facts["seconds"] > half.facts["seconds"] > 0
    state, asked = whole.path.parent / "state.safetensors", []
    before = state.stat().st_mtime_ns
    again = tune(task, tmp_path / "parted", epochs=1, progress=lambda *step: asked.append(step))
    assert asked == []
    assert state.stat().st_mtime_ns == before
    assert again.facts == whole.facts
    assert_equal_weights(again, whole, 0)


def test_a_smaller_fraction_after_a_bigger_one(tmp_path):
    task = make_task()
    big = tune(task, tmp_path / "down", epochs=1)
    small = tune(task, tmp_path / "down", epochs=0.5)
    assert (big.facts["steps"], small.facts["steps"]) == (6, 3)
    assert_equal_weights(small, tune(task, tmp_path / "alone", epochs=0.5), 1e-6)
    two = tune(task, tmp_path / "down", epochs=2)
    assert_equal_weights(two, tune(task, tmp_path / "alone", epochs=2), 1e-6)


def test_other_settings_have_other_folders(tmp_path):
    task = make_task()
    constant = [tune(task, tmp_path, epochs=epochs) for epochs in (0.5, 1)]
    each = [tune(task, tmp_path, epochs=epochs, schedule="each") for epochs in (0.5, 1)]
    other = tune(task, tmp_path, epochs=0.5, seed=1)
    assert constant[0].path.parent == constant[1].path.parent
    folders = {snapshot.path.parent for snapshot in (constant[0], *each, other)}
    assert len(folders) == 4
    assert [snapshot.path.name for snapshot in each] == ["epochs-0.5", "epochs-1"]
    assert find_moved(constant[0].encoder, other)  # another order, another head


@pytest.mark.parametrize("epochs", [0, -1, float("nan")])
def test_no_epochs_are_an_error(epochs, tmp_path):
    with pytest.raises(RunError, match="more than 0 epochs"):
        tune(make_task(), tmp_path, epochs=epochs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [0, 5, 200, 0.9])
def test_a_truncated_state_is_an_error_that_names_it(left, tmp_path):
    task = make_task()
    state = tune(task, tmp_path, epochs=0.5).path.parent / "state.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[: left if left == 0 or left >= 1 else int(left * len(whole))])
    with pytest.raises(RunError) as caught:
        tune(task, tmp_path, epochs=1)
    assert str(state) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_killed_one_goes_on_to_the_same_weights(tmp_path):
    last = random.randint(2, 25)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed"), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line.split()[0]) >= last:
                process.kill()
                break
        errors = process.stderr.read()
    assert process.returncode == -signal.SIGKILL, errors[-2000:]
    assert not list((tmp_path / "killed").rglob("config.json"))  # no snapshot yet
    steps, task = [], make_task()
    resumed = tune(task, tmp_path / "killed", epochs=5, progress=lambda done, total: steps.append(done))
    assert last - 1 <= steps[0] < 30, (last, steps)
    assert steps[0] > 0
    assert steps == list(range(steps[0], 31))
    assert_equal_weights(resumed, tune(task, tmp_path / "alone", epochs=5), 1e-5)


def test_scores_are_on_the_labels_own_scale(tmp_path):
    task = make_task("scores")
    train = task.load("train")
    snapshot = tune(task, tmp_path, epochs=8, learning_rate=1e-2)
    scores = snapshot.predict(train, 16)
    assert scores.shape == (48, 1)
    labels = np.asarray(train.labels, np.float64)
    assert abs(scores.mean() - labels.mean()) < labels.std()
    assert np.corrcoef(scores[:, 0], labels)[0, 1] > 0.3
    assert np.abs(scores[:, 0] - labels).mean() < labels.std()
    np.testing.assert_allclose(scores, predict_in_keras(snapshot, train), rtol=1e-5)


def test_equal_scores_are_no_division_by_zero(tmp_path):
    texts = [" ".join(np.random.default_rng(row).choice(WORDS, 4)) for row in range(40)]
    task = bv.task_from_table({"text": texts, "label": [7.5] * 40})
    assert np.abs(tune(task, tmp_path, epochs=2).predict(task.load("train"), 16) - 7.5).max() < 3


def test_pairs_are_read_with_their_segments(tmp_path):
    task = make_task("pairs")
    train = task.load("train")
    snapshot = tune(task, tmp_path, epochs=1)
    moved = np.abs(
        snapshot.encoder.weights["segment_embedding"]
        - load_encoder(str(CHECKPOINTS / BERT)).weights["segment_embedding"]
    )
    assert (moved.max(axis=1) > 0).all()  # both
    np.testing.assert_allclose(snapshot.predict(train, 16), predict_in_keras(snapshot, train), atol=1e-4)


def test_several_classes_at_once(tmp_path):
    texts = [" ".join(np.random.default_rng(row).choice(WORDS, 4)) for row in range(40)]
    labels = [";".join(word for word in ("cat", "dog", "run") if word in text) for text in texts]
    task = bv.task_from_table({"text": texts, "label": labels}, kind="multilabel")
    assert tune(task, tmp_path, epochs=0.5).predict(task.load("train"), 16).shape == (len(task.load("train")), 3)


def test_two_devices_train_what_one_does(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, str(tmp_path / "in"), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    out = json.loads(done.stdout.split("RESULT")[1])
    one, two = out["one_device"], out["mirrored"]
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert one["sparse"] == two["sparse"]
    assert "token_embedding" in one["sparse"]
    assert len(one["losses"]) == len(two["losses"]) == 12
    np.testing.assert_allclose(two["losses"], one["losses"], atol=1e-4)
    assert one["losses"][-1] < one["losses"][0]
    for name, value in one["weights"].items():
        np.testing.assert_allclose(two["weights"][name], value, atol=1e-4, err_msg=name)


def test_bfloat16_is_near_float32_and_keeps_weights_in_it(tmp_path):
    task = make_task()
    base = load_encoder(str(CHECKPOINTS / BERT))
    trained = EncoderModel(base, 2, dtype="bfloat16")
    table = trained._backbone.token_embedding
    assert (table.compute_dtype, table.variable_dtype) == ("float32", "float32")
    assert trained._backbone.transformer_layers[0].compute_dtype == "bfloat16"
    assert {variable.dtype for variable in trained.model.trainable_variables} == {"float32"}
    near, exact = (tune(task, tmp_path, epochs=1, learning_rate=5e-4, dtype=dtype) for dtype in ("bfloat16", "float32"))
    assert near.path.parent != exact.path.parent
    assert {value.dtype for value in near.encoder.weights.values()} == {np.dtype(np.float32)}
    assert_equal_weights(near, exact, 6e-3)
    train = task.load("train")
    assert np.abs(near.predict(train, 16) - exact.predict(train, 16)).max() < 0.05
