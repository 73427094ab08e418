"""Encoders fine-tuned on questions: what they learn, what a snapshot says, what a kill leaves."""

import json
from pathlib import Path

import numpy as np
import pytest

from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import RunError
from bertvision_tf.spans import decode_answers, read_texts
from bertvision_tf.tasks import Answer, Examples, get_task
from bertvision_tf.training import FineTuneConfig, fine_tune
from bertvision_tf.training.encoder_model import EncoderModel
from bertvision_tf.training.snapshot import read_snapshot

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
BERT = "bert-gelu_new-eps0.001-segments2"
FAMILIES = [BERT, "roberta", "xlm-roberta", "distilbert", "albert", "electra"]
FAMILIES += ["mpnet", "modernbert", "deberta-v3", "deberta-v2-keys", "nomic", "gte"]
WORDS = "the a cat cats dog dogs has have eat eats is can not run she he".split()


def make_questions(count=60):
    """Contexts of 20 words, with a bird in three of four: where is it?"""
    random = np.random.default_rng(0)
    contexts, answers = [], []
    for number in range(count):
        words = random.choice(WORDS, 20).tolist()
        if number % 4:
            words[random.integers(20)] = "bird"
        context = " ".join(words)
        contexts.append(context)
        answers.append((Answer("bird", context.index("bird")),) if number % 4 else ())
    labels = np.array([bool(one) for one in answers], np.int32)
    return Examples(
        "squad2", "train", [str(row) for row in range(count)], ["what ?"] * count, contexts, labels, answers=answers
    )


def tune(root, questions, encoder=BERT, rows=None, **options):
    settings = {"learning_rate": 1e-2, "batch_size": 8} | options.pop("config", {})
    rows = np.arange(len(questions)) if rows is None else rows
    task = get_task("squad2")
    return fine_tune(
        *(load_encoder(str(CHECKPOINTS / encoder)), task, questions, rows, root),
        config=FineTuneConfig.for_task(task, **settings),
        **({"epochs": 1, "max_length": 24} | options),
    )


def answer(snapshot, questions, max_length=24):
    windows = snapshot.encoder.tokenize_windows(questions.texts, questions.text_pairs, max_length)
    logits = snapshot.predict(questions, max_length)
    assert logits.shape == (len(windows.token_ids), 2) and logits.dtype == np.float32
    contexts = questions.text_pairs
    found = decode_answers(logits, windows.offsets, windows.questions, windows.char_offsets, contexts)
    return ["" if one.null_odds > 0 else text for one, text in zip(found, read_texts(found, contexts), strict=True)]


def test_it_learns_where_the_answer_is_and_that_there_is_none(tmp_path):
    questions = make_questions()
    found = answer(tune(tmp_path, questions, epochs=12, config={"dtype": "float32"}), questions)
    wanted = [own[0].text if own else "" for own in questions.answers]
    assert np.mean([one == two for one, two in zip(found, wanted, strict=True)]) > 0.9


@pytest.mark.parametrize("family", FAMILIES)
def test_a_snapshot_says_what_the_model_says(family, tmp_path, monkeypatch):
    questions, models = make_questions(12), []
    build = EncoderModel.__init__

    def keep(self, *args, **options):
        build(self, *args, **options)
        models.append(self)

    monkeypatch.setattr(EncoderModel, "__init__", keep)
    snapshot = tune(tmp_path, questions, family)
    assert json.loads((snapshot.path / "config.json").read_text())["architectures"][0].endswith("ForQuestionAnswering")
    windows = snapshot.encoder.tokenize_windows(questions.texts, questions.text_pairs, 24)
    padded = windows.pad()
    found = models[0].model({name: padded[name] for name in models[0].model.input}, training=False)
    found = np.stack([found["start_logits"], found["end_logits"]], axis=-1)[padded["padding_mask"] > 0]
    logits, open_ = snapshot.predict(questions, 24), found[:, 0] > -1e8
    np.testing.assert_allclose(logits[open_], found[open_], atol=2e-4)
    inside = windows.char_offsets[:, 0] >= 0
    inside[windows.offsets[:-1]] = True
    assert np.array_equal(open_, inside)


@pytest.mark.parametrize("parts", ["no_embeddings", "top_1", "lora_2"])
def test_parts_of_it(parts, tmp_path):
    snapshot = tune(tmp_path, make_questions(16), config={"parts": parts})
    whole = tune(tmp_path / "all", make_questions(16))
    assert 0 < snapshot.facts["trainable_parameters"] < whole.facts["trainable_parameters"]


def test_only_the_windows_of_the_rows_are_trained_on(tmp_path):
    questions, rows = make_questions(), np.arange(0, 60, 2)
    windows = load_encoder(str(CHECKPOINTS / BERT)).tokenize_windows(questions.texts, questions.text_pairs, 24)
    count = int(np.isin(windows.questions, rows).sum())
    assert count > len(rows)  # a context has several windows
    assert tune(tmp_path, questions, rows=rows).facts["steps"] == -(-count // 8)


def test_more_epochs_go_on_from_fewer_and_are_found_again(tmp_path):
    questions = make_questions(24)
    first = tune(tmp_path / "a", questions, epochs=1)
    steps = []
    second = tune(tmp_path / "a", questions, epochs=2, progress=lambda done, total: steps.append(done))
    assert steps[0] == first.facts["steps"] and steps[-1] == second.facts["steps"]
    at_once = tune(tmp_path / "b", questions, epochs=2)
    assert np.array_equal(at_once.predict(questions, 24), second.predict(questions, 24))
    assert read_snapshot(second.path).classifier.output_kernel.shape == (8, 2)
    assert tune(tmp_path / "a", questions, epochs=1).path == first.path


def test_spans_have_no_classes_to_balance(tmp_path):
    with pytest.raises(RunError, match="only single classes can be balanced, squad2 is a span"):
        tune(tmp_path, make_questions(8), class_weights={0: 1.0, 1: 2.0})
