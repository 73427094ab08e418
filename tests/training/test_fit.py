import keras
import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf.errors import RunError
from bertvision_tf.heads import HeadConfig, build_head, get_preset
from bertvision_tf.training import FitConfig, fit_head, predict_logits
from bertvision_tf.training.optimizer import build_optimizer

ROWS, STATES, TOKENS, HIDDEN = 96, 3, 4, 6


def build():
    return build_head("adapter_8_shared", num_hidden_states=STATES, hidden_dim=HIDDEN)


@pytest.fixture(scope="module")
def rows():
    """Images whose label is the sign of one channel's mean in the middle layer."""
    random = np.random.default_rng(0)
    images = random.normal(size=(ROWS, STATES, TOKENS, HIDDEN)).astype(np.float32)
    labels = (images[:, 1, :, 2].mean(axis=1) > 0).astype(np.int32)
    return {"hidden_states": images, "padding_mask": np.ones((ROWS, TOKENS), np.int32)}, labels


def as_datasets(rows, epochs):
    whole = tf.data.Dataset.from_tensor_slices(rows)
    return whole.batch(16).repeat(epochs), whole.batch(32)


def fit(rows, config, seed=0, score=None):
    labels = rows[1]
    training, selection = as_datasets(rows, config.epochs)
    score = score or (lambda logits: float((logits.argmax(axis=1) == labels).mean()))
    return fit_head(build, training, selection, score, config=config, seed=seed)


def test_it_learns_and_one_seed_gives_one_result(rows):
    config = FitConfig(epochs=15, learning_rate=3e-2, patience=15)
    first, again, other = fit(rows, config), fit(rows, config), fit(rows, config, seed=1)
    assert first.selection_score > 0.9
    assert first.history["loss"][-1] < 0.5 * first.history["loss"][0]
    assert again.history == first.history
    assert other.history["loss"] != first.history["loss"]
    for one, two in zip(first.head.get_weights(), again.head.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_best_epoch_is_kept_and_training_stops(rows):
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.3, 0.9])
    seen = []

    def score(logits):
        seen.append(logits)
        return next(scores)

    result = fit(rows, FitConfig(epochs=6, patience=3), score=score)
    assert (result.best_epoch, result.selection_score) == (2, 0.5)
    assert result.history["selection_score"] == [0.1, 0.5, 0.4, 0.5, 0.3]
    np.testing.assert_allclose(predict_logits(result.head, as_datasets(rows, 1)[1]), seen[1], atol=1e-6)


def test_progress_ends_at_all_epochs(rows):
    seen = []
    training, selection = as_datasets(rows, 3)
    config = FitConfig(epochs=3, patience=1)
    progress = lambda done, total: seen.append((done, total))  # noqa: E731
    fit_head(build, training, selection, lambda logits: 0.0, config=config, progress=progress)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]  # the second epoch was no better: stopped


def test_a_loss_that_is_no_number(rows):
    images = rows[0] | {"hidden_states": rows[0]["hidden_states"] * np.float32(np.inf)}
    with pytest.raises(RunError, match="loss of epoch 1 is nan: try a lower learning rate"):
        fit((images, rows[1]), FitConfig(epochs=1))


def test_optimizer_rises_and_falls_and_clips():
    optimizer = build_optimizer(steps=100, learning_rate=0.5, warmup=0.1, weight_decay=0.0, clip_norm=1.0)
    rates = [float(optimizer._learning_rate(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(rates, [0, 0.25, 0.5, 0.25, 0], atol=1e-6)
    clipped = optimizer._clip_gradients([tf.constant([3.0]), tf.constant([4.0])])
    np.testing.assert_allclose(np.concatenate([g.numpy() for g in clipped]), [0.6, 0.8], rtol=1e-6)


def test_biases_and_layer_weights_do_not_decay():
    head = build_head("learned_pooling", num_hidden_states=STATES, hidden_dim=HIDDEN)
    optimizer = build_optimizer(steps=10, learning_rate=0.1, warmup=0.0, weight_decay=0.5, clip_norm=1.0)
    optimizer.build(head.trainable_variables)
    decaying = {variable.path for variable in head.trainable_variables if optimizer._use_weight_decay(variable)}
    assert decaying == {"logits/kernel"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"epochs": 0}, "1 or more"), ({"learning_rate": 0.0}, "more than 0"), ({"warmup": 1.0}, "less than 1")],
)
def test_wrong_settings(changes, message):
    with pytest.raises(RunError, match=message):
        FitConfig(**changes)


def test_each_head_has_its_learning_rate():
    assert FitConfig.for_head(HeadConfig(pooling="learned")).learning_rate == 1e-2
    assert FitConfig.for_head(HeadConfig(adapter_dim=8)).learning_rate == 1e-3
    assert FitConfig.for_head(HeadConfig(adapter_dim=8), learning_rate=0.2).learning_rate == 0.2
    assert FitConfig.for_head(get_preset("comparison_adapter_64")).learning_rate == 3e-3
    assert FitConfig.for_head(get_preset("detect_parts")).learning_rate == 1e-3
    assert FitConfig.for_head(get_preset("cnn_1x5_64")).learning_rate == 1e-3
    keras.backend.clear_session()


def test_tensorboard_gets_losses_and_selection_scores(rows, tmp_path):
    """The logs of the last fit alone, the same numbers as its history."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config, labels = FitConfig(epochs=3), rows[1]
    for seed in (0, 1):
        training, selection = as_datasets(rows, config.epochs)
        score = lambda logits: float((logits.argmax(axis=1) == labels).mean())  # noqa: E731
        result = fit_head(build, training, selection, score, config=config, seed=seed, logs=tmp_path / "logs")
    (file,) = (tmp_path / "logs").rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file.parent)).Reload()
    for name, values in result.history.items():
        logged = [float(tf.make_ndarray(one.tensor_proto)) for one in events.Tensors(f"epoch_{name}")]
        assert logged == pytest.approx(values) and len(logged) == 3
    assert set(result.history) == {"loss", "selection_score"}
