import importlib

import numpy as np
import pytest

from bertvision_tf.errors import StoreError
from bertvision_tf.extraction import encode, extract
from bertvision_tf.store import CODECS, open_store
from bertvision_tf.store.codecs import Calibration
from bertvision_tf.store.plan import plan_batches
from bertvision_tf.tasks import Examples

SMALL = {"batch_tokens": 64, "shard_rows": 80}
module = importlib.import_module("bertvision_tf.extraction.extract")


def read_files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture
def calls(tiny_encoder, monkeypatch):
    """What the encoder is run on: one list of lengths for each call."""
    calls, run = [], type(tiny_encoder).hidden_state_rows

    def count(self, tokens, **choices):
        calls.append(tokens["padding_mask"].sum(axis=1).tolist())
        return run(self, tokens, **choices)

    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", count)
    return calls


def test_equal_to_a_loop_over_the_encoder(tiny_encoder, tiny_examples, tmp_path):
    """Bit for bit where the batches are the same, and up to float32's noise with one text at a time."""
    store = extract(tiny_encoder, tiny_examples, tmp_path / "store", codec="float32", **SMALL)
    lengths = [len(tiny_encoder.tokenize([text])["token_ids"][0]) for text in tiny_examples.texts]
    order = sorted(range(40), key=lambda i: -lengths[i])
    while order:
        batch = [i for i in order if order.index(i) < max(64 // lengths[order[0]], 1)]
        order = order[len(batch) :]
        states = tiny_encoder.hidden_states(tiny_encoder.tokenize([tiny_examples.texts[i] for i in batch]))
        for place, i in enumerate(batch):
            np.testing.assert_array_equal(store[i]["hidden_states"], states[place, :, : lengths[i]])
            alone = tiny_encoder.hidden_states(tiny_encoder.tokenize([tiny_examples.texts[i]]))[0]
            np.testing.assert_allclose(store[i]["hidden_states"], alone, atol=1e-5)


def test_every_batch_is_run_once(calls, tiny_encoder, tiny_examples, tmp_path, monkeypatch):
    """The calibration's sample too, whose states are kept until their turn."""
    monkeypatch.setattr(module, "SAMPLE_TOKENS", 100)
    extract(tiny_encoder, tiny_examples, tmp_path / "store", **SMALL)
    lengths = tiny_encoder.tokenize_rows(tiny_examples.texts).lengths
    batches = [lengths[batch].tolist() for batch in plan_batches(lengths, 64)]
    assert sorted(calls) == sorted(batches)


@pytest.mark.parametrize("choices", [{}, {"tokens": "cls", "pooler": True}, {"layers": [0, 2]}])
@pytest.mark.parametrize("codec", list(CODECS))
def test_codes_made_in_the_graph_are_those_of_numpy_byte_for_byte(
    codec, choices, tiny_encoder, tiny_examples, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "SAMPLE_TOKENS", 100)  # most batches lie beyond the calibration's largest values
    kinds, run = set(), type(tiny_encoder).hidden_state_rows

    def watch(self, tokens, **given):
        states = run(self, tokens, **given)
        kinds.add((given["grid"] is not None, states.dtype.name))
        return states

    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", watch)
    monkeypatch.setattr(encode, "rounds_on_device", lambda: False)
    extract(tiny_encoder, tiny_examples, tmp_path / "numpy", codec=codec, **choices, **SMALL)
    monkeypatch.setattr(encode, "rounds_on_device", lambda: True)
    extract(tiny_encoder, tiny_examples, tmp_path / "graph", codec=codec, **choices, **SMALL)
    assert read_files(tmp_path / "graph") == read_files(tmp_path / "numpy")
    assert kinds == {(False, "float32")} | ({(True, "int8")} if codec.startswith("int") else set())


@pytest.mark.parametrize("codec", ["float32", "int4"])
@pytest.mark.parametrize("call", [1, 2, 4, 6])
def test_going_on_after_an_exception(call, codec, tiny_encoder, tiny_examples, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_TOKENS", 60)  # so that most batches run after the calibration
    left_alone = extract(tiny_encoder, tiny_examples, tmp_path / "left alone", codec=codec, **SMALL)
    run, calls = type(tiny_encoder).hidden_state_rows, iter(range(1, 1000))

    def fail(self, tokens, **choices):
        if next(calls) == call:
            raise RuntimeError("the power went")
        return run(self, tokens, **choices)

    path = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(type(tiny_encoder), "hidden_state_rows", fail)
        with pytest.raises(RuntimeError, match="the power went"):
            extract(tiny_encoder, tiny_examples, path, codec=codec, workers=1, **SMALL)
    assert not list(path.glob(".*"))
    assert len(list(path.glob("*.h5"))) < len(left_alone.manifest.shards)
    extract(tiny_encoder, tiny_examples, path, codec=codec, **SMALL)
    assert read_files(path) == read_files(left_alone.path)


def test_finished_shards_are_not_run_again(calls, tiny_encoder, tiny_examples, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_TOKENS", 1)

    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(tiny_encoder, tiny_examples, tmp_path, workers=1, progress=stop, **SMALL)
    finished = len(list(tmp_path.glob("*.h5")))
    assert finished >= 2
    calls.clear()
    store = extract(tiny_encoder, tiny_examples, tmp_path, **SMALL)
    assert sum(map(sum, calls)) == sum(entry.rows for entry in store.manifest.shards[finished:])


@pytest.mark.parametrize("choices", [{}, {"tokens": "cls"}])
def test_progress_ends_at_the_total(choices, tiny_encoder, tiny_examples, tmp_path):
    steps = []
    total = tiny_encoder.tokenize_rows(tiny_examples.texts).lengths.sum()
    extract(tiny_encoder, tiny_examples, tmp_path, progress=lambda *step: steps.append(step), **SMALL, **choices)
    done = [step[0] for step in steps]
    assert {step[1] for step in steps} == {total}
    assert done[0] == 0 and done[-1] == total
    assert done == sorted(done)
    assert len(set(done)) == len(plan_batches(tiny_encoder.tokenize_rows(tiny_examples.texts).lengths, 64)) + 1


def test_progress_of_a_run_that_goes_on(tiny_encoder, tiny_examples, tmp_path):
    steps = []

    def stop(done, total):
        steps.append(done)
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(tiny_encoder, tiny_examples, tmp_path, progress=stop, **SMALL)
    again = []
    extract(tiny_encoder, tiny_examples, tmp_path, progress=lambda done, total: again.append(done), **SMALL)
    assert 0 < again[0] <= steps[-1]
    assert again == sorted(again)
    assert again[-1] == tiny_encoder.tokenize_rows(tiny_examples.texts).lengths.sum()


def test_no_examples(tiny_encoder, tiny_examples, tmp_path):
    steps = []
    none = tiny_examples.take(0)
    store = extract(tiny_encoder, none, tmp_path, progress=lambda *step: steps.append(step))
    assert steps == [(0, 0)]
    assert len(store) == 0 and store.rows == 0 and store.ids == []
    store.verify()
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]
    assert list(open_store(tmp_path).as_dataset()) == []


def test_long_texts_are_cut_and_counted(tiny_encoder, tiny_examples, tmp_path):
    store = extract(tiny_encoder, tiny_examples, tmp_path, max_length=6)
    longer = tiny_encoder.tokenize_rows(tiny_examples.texts).lengths > 6
    assert store.manifest.truncated == longer.sum() > 0
    assert (store.lengths[longer] == 6).all() and store.lengths.max() == 6


def test_calibration_is_that_of_all_rows_when_they_are_few(tiny_encoder, tiny_examples, tmp_path):
    store = extract(tiny_encoder, tiny_examples, tmp_path, codec="float32", **SMALL)
    rows = np.concatenate([store[i]["hidden_states"].transpose(1, 0, 2) for i in range(40)])
    expected = Calibration.of(rows)
    for name in ("mean", "deviation", "largest"):
        np.testing.assert_allclose(
            getattr(store.manifest.calibration, name), getattr(expected, name), rtol=1e-4, atol=1e-5
        )


def test_calibration_is_the_same_each_time(tiny_encoder, tiny_examples, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_TOKENS", 100)
    found = []
    for workers in (1, 3):
        np.random.seed(workers)  # noqa: NPY002
        store = extract(tiny_encoder, tiny_examples, tmp_path / str(workers), workers=workers, **SMALL)
        found.append(store.manifest.calibration)
    for name in ("mean", "deviation", "largest"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


def test_calibration_sees_short_and_long_texts():
    lengths = np.repeat(np.arange(1, 101), 10)
    batches = plan_batches(lengths, 200)
    sample = module._choose_sample(batches, lengths)
    tokens = sum(int(lengths[batch].sum()) for batch in sample)
    assert 3000 < tokens < 5000
    assert lengths[sample[0]].max() > 95 and lengths[sample[-1]].min() < 15
    means = [lengths[batch].mean() for batch in sample]
    assert max(-np.diff(means)) < 15


def test_states_that_are_no_numbers_are_refused(tiny_encoder, tiny_examples, tmp_path, monkeypatch):
    run = type(tiny_encoder).hidden_state_rows
    monkeypatch.setattr(type(tiny_encoder), "hidden_state_rows", lambda *a, **k: run(*a, **k) * np.float32(np.nan))
    with pytest.raises(StoreError, match="not finite"):
        extract(tiny_encoder, tiny_examples, tmp_path / "s")
    assert not list((tmp_path / "s").iterdir())


def test_a_text_of_ten_thousand_words(tiny_encoder, tmp_path):
    texts = ["the cat", "cat " * 10_000]
    examples = Examples("long", "train", ["a", "b"], texts, None, np.array([0, 1], np.int32))
    store = extract(tiny_encoder, examples, tmp_path / "store", max_length=64)
    assert (store.manifest.truncated, store.lengths.tolist()) == (1, [4, 64])
