"""Encoders that are fine-tuned seed by seed, and the epoch at which one is stopped."""

import dataclasses

import numpy as np
import pytest

from bertvision_tf.errors import RunError
from bertvision_tf.metrics import glue_metrics
from bertvision_tf.tasks import get_task
from bertvision_tf.training import FineTuneConfig
from bertvision_tf.training.draw import Draw
from bertvision_tf.training.encoder_trial import EncoderTrial, name_fine_tuning
from bertvision_tf.training.trial import split_task


@pytest.fixture(scope="module")
def trial(tiny_encoder, tmp_path_factory):
    task = get_task("starter")
    splits = [task.load(split).take(300) for split in ("train", "dev")]
    training, selection = split_task(task, splits[0].labels, splits[0].groups)
    config = FineTuneConfig.for_task(task, learning_rate=1e-3)
    root = tmp_path_factory.mktemp("trial")
    return EncoderTrial(tiny_encoder, task, splits, selection, Draw(splits[0].labels, training), root, 128, config)


def test_the_epoch_that_is_best_on_the_selection_rows_is_kept(trial):
    found = trial.fit_best_epoch(0, [2, 0.5, 1])
    rows, dev = trial.splits[0].select(trial.selection), trial.splits[1]
    scores = {}
    for epochs in (0.5, 1, 2):
        predictions = trial.fine_tune(0, epochs).predict(rows, 128).argmax(axis=1)
        scores[epochs] = glue_metrics("starter", rows.labels, predictions)["accuracy"]
    assert found.selection_score == max(scores.values())
    assert found.epochs == min(epochs for epochs, score in scores.items() if score == found.selection_score)
    snapshot = trial.fine_tune(0, found.epochs)
    np.testing.assert_array_equal(found.predictions[0], snapshot.predict(dev, 128).argmax(axis=1))
    assert (found.seconds, found.disk_bytes) == (snapshot.facts["seconds"], snapshot.bytes)
    assert found.memory_bytes > 2**20


def test_seeds_take_the_encoders_in_turn(trial):
    snapshots = trial.fine_tune_each([0, 1, 2], 2, 0.5)
    assert snapshots[0] is snapshots[2] is not snapshots[1]
    assert [snapshots[seed].facts["seed"] for seed in range(3)] == [0, 1, 0]


def test_low_rank_changes_have_ten_times_the_rate(trial):
    low_rank = trial.config.for_parts("lora_2")
    assert low_rank == dataclasses.replace(trial.config, parts="lora_2", learning_rate=1e-2)
    assert low_rank.for_parts("lora_4").learning_rate == 1e-2
    assert low_rank.for_parts("all") == trial.config
    with pytest.raises(RunError, match="not known"):
        trial.config.for_parts("heads")


def test_a_smaller_fraction_leaves_the_state_of_a_bigger_one(trial):
    path = trial.fine_tune(5, 1).path.parent / "state.safetensors"
    before = path.read_bytes()
    trial.fine_tune(5, 0.5)
    assert path.read_bytes() == before


def test_names():
    assert name_fine_tuning("all") == "full fine-tuning, best epoch"
    assert name_fine_tuning("lora_8") == "LoRA of rank 8, best epoch"
