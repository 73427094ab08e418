"""Stores of windows: what a question's windows bring with them, and that a kill changes nothing."""

import numpy as np
import pytest

from bertvision_tf.encoders import load_encoder
from bertvision_tf.errors import StoreError
from bertvision_tf.extraction import estimate, extract
from bertvision_tf.images import images_from_encoder, images_from_store
from bertvision_tf.store import open_store
from bertvision_tf.tasks import Answer, Examples
from tests.conftest import CHECKPOINTS

CHOICES = {"max_length": 20, "stride": 4, "question_length": 5, "codec": "float32", "batch_tokens": 100}
WORDS = "the cat has a dog . she eats the bird . he can run . "


@pytest.fixture(scope="module")
def questions():
    """Twelve questions on contexts of 0 to 55 words; every third has no answer."""
    contexts = [(WORDS * 4)[: 20 * number] for number in range(12)]
    answers = [
        () if number % 3 == 0 else (Answer("dog", context.index("dog")),) for number, context in enumerate(contexts)
    ]
    ids = [f"q{number}" for number in range(12)]
    labels = np.array([bool(one) for one in answers], np.int32)
    return Examples("squad2", "train", ids, ["who eats ?"] * 12, contexts, labels, answers=answers)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(str(CHECKPOINTS / "bert-gelu-eps1e-12-segments2"))


@pytest.fixture(scope="module")
def store(questions, encoder, tmp_path_factory):
    return extract(encoder, questions, tmp_path_factory.mktemp("store") / "s", shard_rows=60, **CHOICES)


def test_all_windows_of_all_questions(store, questions, encoder):
    windows = encoder.tokenize_windows(questions.texts, questions.text_pairs, 20, 4, 5)
    assert len(store) == len(windows) > 12 and len(store.manifest.shards) > 1
    assert np.array_equal(store.questions, windows.questions)
    assert np.array_equal(store.read_char_offsets(range(len(store))), windows.char_offsets)
    assert store.ids == [questions.ids[place] for place in windows.questions]
    assert store.labels.shape == (len(store), 2) and store.labels.dtype == np.int32
    store.verify()


def test_a_window_is_enough_to_train_and_to_decode(store, questions):
    answered = 0
    for place in range(len(store)):
        window = store[place]
        start, end = window["label"]["start"], window["label"]["end"]
        assert len(window["char_offsets"]) == len(window["token_ids"])
        if start:
            answered += 1
            begin, finish = window["char_offsets"][start, 0], window["char_offsets"][end, 1]
            assert questions.text_pairs[window["question"]][begin:finish] == "dog"
    assert answered >= 8


@pytest.mark.parametrize("source", ["store", "encoder"])
def test_labels_of_images_are_starts_and_ends(source, store, questions, encoder):
    if source == "store":
        dataset = images_from_store(store, batch_size=5)
    else:
        live = {name: CHOICES[name] for name in ("max_length", "stride", "question_length")}
        dataset = images_from_encoder(encoder, questions, batch_size=5, **live)
    batches = list(dataset)
    assert dataset.cardinality() == len(batches)
    for name, column in (("start", 0), ("end", 1)):
        found = np.concatenate([label[name].numpy() for _, label in batches])
        assert np.array_equal(found, store.labels[:, column])
    assert all(images["hidden_states"].shape[0] == len(label["start"]) for images, label in batches)


def test_live_images_are_those_of_the_store(store, questions, encoder):
    live = {name: CHOICES[name] for name in ("max_length", "stride", "question_length")}
    for (one, _), (two, _) in zip(
        images_from_store(store, batch_tokens=100),
        images_from_encoder(encoder, questions, batch_tokens=100, **live),
        strict=True,
    ):
        for name in one:
            np.testing.assert_array_equal(one[name].numpy(), two[name].numpy())


def test_what_is_left_of_a_store_is_gone_on_with(questions, encoder, store, tmp_path):
    """The second shard and the manifest's line of it are lost: the same bytes come again."""

    class Stopped(Exception):
        pass

    def stop(done, total):
        if done > total / 2:
            raise Stopped

    with pytest.raises(Stopped):
        extract(encoder, questions, tmp_path / "s", shard_rows=60, progress=stop, **CHOICES)
    assert len(list((tmp_path / "s").glob("*.h5"))) < len(store.manifest.shards)
    again = extract(encoder, questions, tmp_path / "s", shard_rows=60, **CHOICES)
    for entry in store.manifest.shards:
        assert (again.path / entry.name).read_bytes() == (store.path / entry.name).read_bytes()
    assert (again.path / "manifest.json").read_bytes() == (store.path / "manifest.json").read_bytes()


@pytest.mark.parametrize(("choice", "value"), [("stride", 3), ("question_length", 4)])
def test_other_windows_are_another_store(questions, encoder, store, choice, value):
    with pytest.raises(StoreError, match=f"holds states with {choice}"):
        extract(encoder, questions, store.path, **(CHOICES | {choice: value}))


def test_answers_need_all_tokens(questions, encoder, tmp_path):
    with pytest.raises(StoreError, match="windows of questions need `tokens='all'`"):
        extract(encoder, questions, tmp_path / "s", tokens="cls", **CHOICES)


def test_a_store_without_windows_has_no_characters(tiny_examples, encoder, tmp_path):
    store = extract(encoder, tiny_examples, tmp_path / "s")
    assert store.questions is None and "question_length" not in (tmp_path / "s" / "manifest.json").read_text()
    with pytest.raises(StoreError, match="holds no windows"):
        store.read_char_offsets([0])


def test_a_selection_of_layers_keeps_the_windows(store):
    assert np.array_equal(store.select([0, 2]).questions, store.questions)
    assert open_store(store.path)[3]["char_offsets"].shape[1] == 2


def test_what_windows_would_cost_is_counted_in_windows(questions, encoder, store, tmp_path):
    found = estimate(encoder, [questions], tmp_path, max_length=20, seconds=0.1)
    windows = encoder.tokenize_windows(questions.texts, questions.text_pairs, 20)
    assert (found.examples, found.tokens) == (12, len(windows.token_ids))
