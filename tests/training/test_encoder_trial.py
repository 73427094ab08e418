"""An encoder fine-tuned seed by seed: which epoch is chosen, on which rows, and what its row in the table says."""

import dataclasses
import types
from pathlib import Path

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf import kinds
from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import LossError
from bertvision_tf.notes import Note
from bertvision_tf.tasks import split_selection
from bertvision_tf.training import FineTuneConfig, encoder_trial
from bertvision_tf.training.draw import Draw
from bertvision_tf.training.encoder_trial import EncoderTrial, name_fine_tuning

TINY = Path(__file__).parents[1] / "checkpoints" / "bert-gelu-eps1e-12-segments2"
WORDS = "the a cat cats dog dogs bird has have eat is can not run".split()
LENGTH = 12


def make_trial(root, encoder, rows=160, share=1.0, **options):
    source = np.random.default_rng(0)
    texts = [" ".join(source.choice(WORDS, source.integers(2, 7))) for _ in range(rows)]
    task = bv.task_from_table({"text": texts, "label": ["with" if "cat" in text else "no" for text in texts]}, name="t")
    splits = [task.load(split) for split in ("train", "dev")]
    training, selection = split_selection(splits[0].labels, splits[0].groups)
    draw = Draw(splits[0].labels, training, share)
    config = FineTuneConfig(learning_rate=3e-3, batch_size=8)
    return EncoderTrial(encoder, task, splits, selection, draw, root, LENGTH, **({"config": config} | options))


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    return make_trial(tmp_path_factory.mktemp("trial"), load_encoder(str(TINY)))


@pytest.fixture(scope="module")
def found(trial):
    return trial.fit_best_epoch(1, [2, 0.5, 4])


def fake_snapshots(trial, monkeypatch, answers):
    """Snapshots that say the same of each split whatever is asked; by epochs (selection rows', dev's)."""
    asked = []

    def fine_tune(self, seed, epochs):
        asked.append((seed, epochs))
        selection, dev = answers[epochs]
        facts = {"trainable_parameters": 7, "seconds": 10.0 * epochs, "memory_bytes": 100, "epochs": epochs}
        return types.SimpleNamespace(
            facts=facts,
            bytes=1000 + int(epochs),
            predict=lambda rows, length: selection if len(rows) == len(trial.selection) else dev,
        )

    monkeypatch.setattr(EncoderTrial, "fine_tune", fine_tune)
    return asked


def test_the_rate_is_chosen_on_the_selection_rows(trial, monkeypatch):
    selected, dev = trial.splits[0].labels[trial.selection], trial.splits[1].labels
    wrong = {(1e-3, 1): 9, (1e-3, 2): 8, (3e-3, 1): 3, (3e-3, 2): 7, (1e-2, 1): 3, (1e-2, 2): 6}
    asked = []

    def fine_tune(self, seed, epochs):
        asked.append((self.config.learning_rate, epochs))
        facts = {"trainable_parameters": 7, "seconds": 10.0 * epochs, "memory_bytes": 100, "epochs": epochs}
        found = answer(selected, wrong[asked[-1]]), answer(dev, 0)
        predict = lambda rows, length: found[len(rows) != len(trial.selection)]  # noqa: E731
        return types.SimpleNamespace(facts=facts, bytes=1000, predict=predict)

    monkeypatch.setattr(EncoderTrial, "fine_tune", fine_tune)
    found = trial.fit_best_epoch(5, [1, 2], [3e-3, 1e-2, 1e-3])
    assert asked == list(wrong)
    assert (found.learning_rate, found.epochs) == (3e-3, 1)  # the lowest of equals
    assert found.seconds == 10
    assert trial.fit_best_epoch(5, [1, 2], [1e-3]).epochs == 2


def test_a_rate_that_diverges_loses(trial, monkeypatch):
    selected, dev = trial.splits[0].labels[trial.selection], trial.splits[1].labels

    def fine_tune(self, seed, epochs):
        if self.config.learning_rate > 1e-2:
            raise LossError("the loss of step 3 is nan: try a lower learning rate.")
        found = answer(selected, 3), answer(dev, 0)
        facts = {"trainable_parameters": 7, "seconds": 10.0, "memory_bytes": 100, "epochs": epochs}
        predict = lambda rows, length: found[len(rows) != len(trial.selection)]  # noqa: E731
        return types.SimpleNamespace(facts=facts, bytes=1000, predict=predict)

    monkeypatch.setattr(EncoderTrial, "fine_tune", fine_tune)
    with pytest.warns(Note, match="full fine-tuning, best epoch with a rate of 0.1: the loss of step 3 is nan"):
        assert trial.fit_best_epoch(5, [1], [1e-3, 0.1]).learning_rate == 1e-3
    with pytest.warns(Note), pytest.raises(LossError):
        trial.fit_best_epoch(5, [1], [0.1, 0.2])


def answer(labels, wrong):
    """Logits of two classes that are right but for the first rows."""
    logits = np.eye(2, dtype=np.float32)[labels]
    logits[:wrong] = logits[:wrong, ::-1]
    return logits


def test_the_epoch_is_chosen_on_the_selection_rows(trial, monkeypatch):
    """Not on dev, where another is better."""
    selected, dev = trial.splits[0].labels[trial.selection], trial.splits[1].labels
    answers = {
        epochs: (answer(selected, wrong), answer(dev, dev_wrong))
        for epochs, wrong, dev_wrong in ((0.5, 30, 3), (1, 9, 4), (2, 5, 10), (3, 8, 0))
    }
    asked = fake_snapshots(trial, monkeypatch, answers)
    found = trial.fit_best_epoch(5, [3, 0.5, 2, 1])
    assert asked == [(5, 0.5), (5, 1), (5, 2), (5, 3)]  # each goes on from the one before
    assert found.epochs == 2
    assert found.selection_score == pytest.approx(1 - 5 / len(selected))
    assert len(found.predictions) == 1
    np.testing.assert_array_equal(found.predictions[0], answers[2][1].argmax(axis=1))
    assert (found.seconds, found.trainable_parameters, found.disk_bytes, found.memory_bytes) == (20.0, 7, 1002, 100)


def test_the_fewest_of_equal_epochs_are_taken(trial, monkeypatch):
    selected, dev = trial.splits[0].labels[trial.selection], trial.splits[1].labels
    answers = {epochs: (answer(selected, wrong), answer(dev, 0)) for epochs, wrong in ((1, 6), (2, 4), (3, 4), (4, 4))}
    fake_snapshots(trial, monkeypatch, answers)
    assert trial.fit_best_epoch(0, [4, 3, 2, 1]).epochs == 2


def test_the_best_scores_of_texts(trial, monkeypatch):
    """Correlation: the better one is not the nearer one."""
    scores = np.linspace(0, 5, len(trial.selection)).astype(np.float32)
    labels = np.zeros(len(trial.splits[0]), np.float32)
    labels[trial.selection] = scores
    dev = np.arange(len(trial.splits[1]), dtype=np.float32)[:, None]
    splits = [dataclasses.replace(trial.splits[0], labels=labels), trial.splits[1]]
    task = dataclasses.replace(trial.task, kind=kinds.REGRESSION, main_metric="pearson", metrics=("pearson",))
    near = scores + np.where(np.arange(len(scores)) % 2, 0.5, -0.5)
    fake_snapshots(trial, monkeypatch, {1: (near[:, None], -dev), 2: (scores[:, None] * 9 + 50, dev)})
    found = dataclasses.replace(trial, splits=splits, task=task).fit_best_epoch(0, [1, 2])
    assert (found.epochs, found.selection_score) == (2, pytest.approx(1.0))
    np.testing.assert_array_equal(found.predictions[0], dev[:, 0])


def test_the_row_is_that_of_its_snapshot(trial, found, monkeypatch):
    monkeypatch.setattr("bertvision_tf.training.fine_tuning._FineTuning", lambda *a: pytest.fail("it was fine-tuned"))
    snapshots = {epochs: trial.fine_tune(1, epochs) for epochs in (0.5, 2, 4)}
    selected = trial.splits[0].select(trial.selection)
    scores = {
        epochs: (snapshot.predict(selected, LENGTH).argmax(axis=1) == selected.labels).mean()
        for epochs, snapshot in snapshots.items()
    }
    assert len(set(scores.values())) > 1  # or there is nothing to choose
    best = max(scores, key=lambda epochs: (scores[epochs], -epochs))
    assert found.epochs == best
    assert found.selection_score == pytest.approx(scores[best])
    np.testing.assert_array_equal(found.predictions[0], snapshots[best].predict(trial.splits[1], LENGTH).argmax(axis=1))
    facts = snapshots[best].facts
    assert (found.seconds, found.memory_bytes) == (facts["seconds"], facts["memory_bytes"])
    assert found.memory_bytes > 2**20
    assert found.disk_bytes == sum(file.stat().st_size for file in snapshots[best].path.iterdir())
    assert facts["seed"] == 1


def test_all_weights_and_low_ranks(trial, found):
    """Of rank 2: for each of four kernels (8, 2 heads, 4) tables (8, 2, 2) and (2, 4), and its biases."""
    head = 8 * 2 + 2
    assert found.name == "full fine-tuning, best epoch"
    assert found.trainable_parameters == trial.encoder.num_parameters + head
    low = dataclasses.replace(trial, config=trial.config.for_parts("lora_2"))
    row = low.fit_best_epoch(0, [0.5])
    assert row.name == "LoRA of rank 2, best epoch"
    assert row.trainable_parameters == 4 * (8 * 2 * 2 + 2 * 4 + 8) + (8 * 8 + 8) + head
    facts = low.fine_tune(0, 0.5).facts
    assert facts["config"]["parts"] == "lora_2"
    assert facts["config"]["learning_rate"] == pytest.approx(10 * trial.config.learning_rate)


def test_what_is_fine_tuned_on_which_rows(tmp_path, trial, monkeypatch):
    calls = []
    monkeypatch.setattr(encoder_trial, "fine_tune", lambda *args, **options: calls.append((args, options)))
    told = []
    one = make_trial(tmp_path, trial.encoder, share=0.5, strategy="mirrored", progress=lambda *said: told.append(said))
    one.fine_tune(3, 0.25)
    dataclasses.replace(one, config=one.config.for_parts("lora_2"), balance_classes=True).fine_tune(4, 2)
    for (args, options), seed, epochs in zip(calls, (3, 4), (0.25, 2), strict=True):
        encoder, task, examples, rows, root = args
        assert (encoder, task, examples, root) == (one.encoder, one.task, one.splits[0], tmp_path)
        np.testing.assert_array_equal(rows, one.draw.rows(seed))
        assert not set(rows) & set(one.selection)
        assert (options["seed"], options["epochs"], options["max_length"]) == (seed, epochs, LENGTH)
        assert options["strategy"] == "mirrored"
        options["progress"](1, 2)
    assert told == [("fine-tune seed 3", 1, 2), ("fine-tune lora_2 seed 4", 1, 2)]
    assert calls[0][1]["class_weights"] is None
    rows = calls[1][0][3]
    counts = np.bincount(one.splits[0].labels[rows])
    assert counts[0] != counts[1]
    assert calls[1][1]["class_weights"] == pytest.approx({place: len(rows) / 2 / counts[place] for place in (0, 1)})


def test_balanced_classes_are_trained_as_such(trial):
    balanced = dataclasses.replace(trial, balance_classes=True)
    one, other = trial.fine_tune(1, 0.5), balanced.fine_tune(1, 0.5)
    assert one.path != other.path
    assert one.facts["class_weights"] is None
    counts = np.bincount(trial.splits[0].labels[trial.draw.training])
    assert dict(other.facts["class_weights"]) == pytest.approx({i: counts.sum() / 2 / counts[i] for i in (0, 1)})
    assert not np.allclose(one.classifier.output_kernel, other.classifier.output_kernel)


def test_seeds_take_encoders_in_turn(trial, monkeypatch):
    monkeypatch.setattr(EncoderTrial, "fine_tune", lambda self, seed, epochs: (seed, epochs))
    assert trial.fine_tune_each([4, 7, 9], None, 0.3) == {4: (4, 0.3), 7: (7, 0.3), 9: (9, 0.3)}
    assert trial.fine_tune_each([4, 7, 9], 2, 1) == {4: (4, 1), 7: (7, 1), 9: (4, 1)}


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ("all", "full fine-tuning, best epoch"),
        ("no_embeddings", "fine-tuning without embeddings, best epoch"),
        ("top_3", "fine-tuning of the top 3, best epoch"),
        ("lora_16", "LoRA of rank 16, best epoch"),
    ],
)
def test_names(parts, name):
    assert name_fine_tuning(parts) == name


def test_the_rate_of_low_ranks_is_ten_times_that_of_weights():
    config = FineTuneConfig(learning_rate=2e-5, batch_size=16, schedule="each", warmup=0.2)
    low = config.for_parts("lora_8")
    assert low == dataclasses.replace(config, parts="lora_8", learning_rate=low.learning_rate)
    assert low.learning_rate == pytest.approx(2e-4)
    assert low.for_parts("lora_2").learning_rate == pytest.approx(2e-4)
    assert low.for_parts("lora_2", 1e-3).learning_rate == pytest.approx(1e-2)
    assert low.for_parts("all", 1e-3).learning_rate == config.for_parts("all", 1e-3).learning_rate == 1e-3
    assert low.for_parts("all").learning_rate == pytest.approx(2e-5)
    assert low.for_parts("top_1").learning_rate == pytest.approx(2e-5)
    assert config.for_parts("no_embeddings").learning_rate == 2e-5
    assert FineTuneConfig.for_task(bv.get_task("starter")).for_parts("lora_8").learning_rate == pytest.approx(
        FineTuneConfig.for_task(bv.get_task("starter"), parts="lora_8").learning_rate
    )


def test_a_smaller_fraction_leaves_the_state_of_a_bigger_one(trial):
    path = trial.fine_tune(5, 1).path.parent / "state.safetensors"
    before = path.read_bytes()
    trial.fine_tune(5, 0.5)
    assert path.read_bytes() == before
