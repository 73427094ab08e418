"""States that nothing keeps, beside a store of the same; and stores that are read while they are written."""

import dataclasses
import multiprocessing
import pickle

import numpy as np
import pytest

import bertvision_tf as bv
from bertvision_tf.errors import RunError, StoreError
from bertvision_tf.extraction import LiveStore, extract, extract_part
from bertvision_tf.store import open_store

OPTIONS = {"batch_tokens": 64, "shard_rows": 100}


@pytest.fixture(scope="module")
def rows():
    return bv.get_task("starter").load("train").take(120)


def assert_alike(live, store):
    """All but the states equal; these within the last place of a code, and nearly all the same code."""
    assert live.ids == store.ids
    assert dataclasses.replace(live.spec, batch_tokens=0) == dataclasses.replace(store.spec, batch_tokens=0)
    for name in ("labels", "lengths", "questions"):
        np.testing.assert_array_equal(getattr(live, name), getattr(store, name))
    some = np.random.default_rng(0).permutation(len(store))[:40]
    found, expected = live.gather(some), store.gather(some)
    for name in ("token_ids", "segment_ids", "padding_mask"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.states.dtype == expected.states.dtype
    if store.spec.codec == "int8":
        difference = np.abs(found.states.astype(int) - expected.states)
        assert difference.max() <= 1
        assert difference.mean() < 0.01
    else:
        np.testing.assert_allclose(live.decode(found.states), store.decode(expected.states), atol=1e-4)


@pytest.mark.parametrize(
    "choices",
    [{}, {"codec": "float32", "layers": [0, -1]}, {"tokens": "cls", "pooler": True}, {"max_length": 8}],
    ids=["usual", "layers", "cls", "cut"],
)
def test_it_reads_as_a_store_does(rows, tiny_encoder, tmp_path, choices):
    store = extract(tiny_encoder, rows, tmp_path / "store", **choices)
    live = LiveStore(tiny_encoder, rows, **choices)
    assert_alike(live, store)
    assert live.manifest.truncated == store.manifest.truncated
    for (images, labels), (others, wanted) in zip(
        *(one.as_dataset(batch_size=32, shuffle=True, seed=1) for one in (live, store)), strict=True
    ):
        np.testing.assert_array_equal(labels, wanted)
        assert images["hidden_states"].shape == others["hidden_states"].shape
    assert len(live.gather(np.zeros(0, int)).states) == 0
    assert (live.bytes, live.rows) == (0, store.rows)
    np.testing.assert_array_equal(live.gather([-3, -1]).states, live.gather([len(live) - 3, len(live) - 1]).states)
    with pytest.raises(StoreError, match="cannot be pickled"):
        pickle.dumps(live)


def test_a_view_of_some_layers(rows, tiny_encoder, tmp_path):
    store = extract(tiny_encoder, rows, tmp_path / "store")
    live = LiveStore(tiny_encoder, rows)
    np.testing.assert_array_equal(live.select([1]).gather([3, 4]).states, live.gather([3, 4]).states[:, [1]])
    assert_alike(live.select([0, 2]), store.select([0, 2]))


def test_windows_of_contexts(tiny_encoder, tmp_path):
    questions = bv.get_task("starter-qa").load("dev").take(20)
    choices = {"max_length": 48, "stride": 16, "question_length": 16}
    store = extract(tiny_encoder, questions, tmp_path / "store", **choices)
    live = LiveStore(tiny_encoder, questions, **choices)
    assert_alike(live, store)
    np.testing.assert_array_equal(live.read_char_offsets([0, 9]), store.read_char_offsets([0, 9]))
    np.testing.assert_array_equal(live.find_images([3]), store.find_images([3]))


def test_a_run_that_keeps_no_states(tiny_encoder, tmp_path):
    common = {"head": "learned_pooling", "seeds": 2, "limit": 200, "fit": {"epochs": 2}, "codec": "float32"}
    kept = bv.train("starter", tiny_encoder, store=tmp_path / "states", output=tmp_path / "kept", **common)
    live = bv.train("starter", tiny_encoder, store="none", output=tmp_path / "live", **common)
    assert live.results["scores"] == kept.results["scores"]
    assert live.results["store"] | {"bytes": 0, "paths": []} == live.results["store"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "live", "states"]
    with pytest.raises(RunError, match=r"live kept no states \(`store` none\): train it with a folder for them"):
        live.open_stores()
    assert live.results["layers"].keys() == kept.results["layers"].keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fine_tune_epochs": 1}, "fine-tuned encoders are kept in the folder of the stores, and `store` is none"),
        ({"baseline_parts": ["all"]}, "fine-tuned encoders are kept in the folder of the stores, and `store` is none"),
        ({"ray": "local"}, "`ray` has a cluster write stores, and `store` is none"),
    ],
)
def test_what_needs_a_folder(tiny_encoder, tmp_path, options, message):
    with pytest.raises(RunError, match=message):
        bv.train("starter", tiny_encoder, store="none", output=tmp_path / "run", **options)


def test_others_cannot_do_without_a_store(tiny_encoder, rows, tmp_path):
    with pytest.raises(StoreError, match="'none' keeps no states, which only `train` and `compare` can do"):
        bv.search("starter", tiny_encoder, store="none", output=tmp_path / "search")
    with pytest.raises(StoreError, match="'none' keeps no states"):
        extract(tiny_encoder, rows, "none")
    with pytest.raises(StoreError, match="'none' keeps no states"):
        open_store("none")


def _read(path, send):
    send.send(open_store(path, unfinished=True).ids)


def test_a_store_is_read_while_it_is_written(rows, tiny_encoder, tmp_path):
    """By this process and by another one; each finds the shards that are there, whole."""
    path, found, other = tmp_path / "store", [], []
    context = multiprocessing.get_context("spawn")

    def look(done, total):
        if done == total or not (path / "manifest.json").exists():
            return
        found.append(open_store(path, unfinished=True))
        if not other and len(found[-1]):
            receive, send = context.Pipe()
            process = context.Process(target=_read, args=(str(path), send))
            process.start()
            other.append((receive.recv(), len(found[-1])))
            process.join()
        with pytest.raises(StoreError, match="is unfinished"):
            open_store(path)

    whole = extract(tiny_encoder, rows, path, progress=look, **OPTIONS)
    sizes = [len(store) for store in found]
    assert sizes == sorted(sizes)
    assert 0 < sizes[-1] < len(whole)
    part = found[-1]
    part.verify()
    places = [whole.ids.index(name) for name in part.ids]
    assert places == sorted(places)
    np.testing.assert_array_equal(part.labels, whole.labels[places])
    np.testing.assert_array_equal(part.gather(range(len(part))).states, whole.gather(places).states)
    assert other[0] == (found[[len(store) for store in found].index(other[0][1])].ids, other[0][1])
    assert open_store(path, unfinished=True).ids == whole.ids


def test_rows_of_an_unfinished_store(rows, tiny_encoder, tmp_path):
    """Of a store that parts of it are written of, and not merged."""
    path = tmp_path / "store"
    extract_part(tiny_encoder, rows, path, 2, 3, **OPTIONS)
    part = open_store(path, unfinished=True)
    assert 0 < len(part) < len(rows)
    there = [rows.ids.index(name) for name in part.ids]
    np.testing.assert_array_equal(part.find_images(there[::-1]), np.arange(len(part))[::-1])
    missing = next(place for place in range(len(rows)) if place not in there)
    with pytest.raises(StoreError, match="is unfinished and lacks 1 of 2 rows"):
        part.find_images([there[0], missing])
    shard = next(iter(sorted(path.glob("shard-*.h5"))))
    content = shard.read_bytes()
    shard.write_bytes(content[:500])
    with pytest.raises(StoreError, match=rf"{shard.name} is not what its entry says: delete it and {shard.stem}.json"):
        open_store(path, unfinished=True)
    shard.unlink()
    with pytest.raises(StoreError, match=rf"{shard.name} is missing: delete {shard.stem}.json"):
        open_store(path, unfinished=True)
    shard.write_bytes(content)
    for number in (1, 3):
        extract_part(tiny_encoder, rows, path, number, 3, **OPTIONS)
    whole = open_store(path, unfinished=True)
    assert whole.ids == list(rows.ids)
    whole.verify()


def test_no_more_runs_at_a_time_than_in_an_extraction(rows, tiny_encoder, monkeypatch):
    """Heads that read [CLS] alone ask for thousands of rows."""
    live, cells = LiveStore(tiny_encoder, rows, tokens="cls", batch_tokens=64), []
    expected = live.gather(range(len(rows))).states
    run = type(live._encoder)._run

    def count(self, tokens, batch, grid=None):
        cells.append(len(batch) * tokens.lengths[batch].max())
        return run(self, tokens, batch, grid)

    monkeypatch.setattr(type(live._encoder), "_run", count)
    places = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(live.gather(places).states, expected[places])
    assert max(cells) <= 64
