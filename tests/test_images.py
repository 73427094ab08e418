import dataclasses
import gc
import itertools
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bertvision_tf.encoders import load_encoder
from bertvision_tf.extraction import extract
from bertvision_tf.images import BatchPlan, images_from_encoder, images_from_store
from bertvision_tf.store import CODECS

TINY = Path(__file__).parent / "checkpoints" / "bert-gelu-eps1e-12-segments2"
LENGTHS = np.random.default_rng(0).integers(3, 60, 1000)


@pytest.fixture(scope="module")
def stores(tiny_encoder, tiny_examples, tmp_path_factory):
    """A store of each codec, in three shards."""
    folder = tmp_path_factory.mktemp("stores")
    # a label that names its example
    examples = dataclasses.replace(tiny_examples, labels=np.arange(40, dtype=np.int32))
    return {codec: extract(tiny_encoder, examples, folder / codec, codec=codec, shard_rows=150) for codec in CODECS}


def read_labels(dataset):
    return [labels.numpy().tolist() for _, labels in dataset]


def flatten(batches):
    return [int(i) for batch in batches for i in batch]


@pytest.mark.parametrize("codec", list(CODECS))
@pytest.mark.parametrize("choices", [{}, {"shuffle": True, "seed": 3}, {"batch_tokens": 64}])
def test_elements_are_the_stores(codec, choices, stores):
    store = stores[codec]
    seen = []
    for images, labels in store.as_dataset(batch_size=7, **choices):
        for place, label in enumerate(labels.numpy()):
            example = store[label]
            length = len(example["token_ids"])
            states = images["hidden_states"][place].numpy()
            np.testing.assert_allclose(states[:, :length], example["hidden_states"], rtol=1e-6, atol=1e-6)
            assert not states[:, length:].any()
            expected_mask = [1] * length + [0] * (states.shape[1] - length)
            assert images["padding_mask"][place].numpy().tolist() == expected_mask
            segments = images["segment_ids"][place].numpy()
            np.testing.assert_array_equal(segments[:length], example["segment_ids"])
            assert not segments[length:].any()
            seen.append(label)
    assert sorted(seen) == list(range(40))


def list_operations(dataset):
    serialized = tf.raw_ops.DatasetToGraphV2(input_dataset=dataset._variant_tensor, external_state_policy=1)
    graph = tf.compat.v1.GraphDef.FromString(serialized.numpy())
    return {node.op for part in (graph.node, *(one.node_def for one in graph.library.function)) for node in part}


@pytest.mark.parametrize("epochs", [None, 2])
def test_no_generator_of_tensorflow_slows_down_the_process(stores, epochs):
    """Its first batch has the C allocator give back all large memory at once, in whatever the process does then."""
    operations = list_operations(stores["int8"].as_dataset(batch_size=8, shuffle=True, seed=0, epochs=epochs))
    assert "PyFunc" in operations and not [name for name in operations if "Generator" in name]


def test_types_and_shapes(stores):
    images, labels = stores["int4"].as_dataset(batch_size=8).element_spec
    assert images["hidden_states"] == tf.TensorSpec((None, 3, None, 8), tf.float32)
    assert images["padding_mask"] == images["segment_ids"] == tf.TensorSpec((None, None), tf.int32)
    assert labels == tf.TensorSpec((None,), tf.int32)


def test_scores_are_floats(tiny_encoder, tiny_examples, tmp_path):
    scores = dataclasses.replace(tiny_examples, labels=np.linspace(0, 5, 40, dtype=np.float32))
    store = extract(tiny_encoder, scores, tmp_path)
    for dataset in (store.as_dataset(), images_from_encoder(tiny_encoder, scores)):
        assert dataset.element_spec[1].dtype == tf.float32
        np.testing.assert_array_equal(flatten_floats(dataset), scores.labels)


def flatten_floats(dataset):
    return np.concatenate([labels.numpy() for _, labels in dataset])


def test_order_without_shuffle_is_the_tasks(stores):
    assert read_labels(stores["int8"].as_dataset(batch_size=16)) == [
        list(range(16)),
        list(range(16, 32)),
        list(range(32, 40)),
    ]


def test_number_of_batches_is_known(stores):
    store = stores["int8"]
    for choices, count in [
        ({"batch_size": 16}, 3),
        ({"batch_size": 40}, 1),
        ({"batch_size": 16, "rows": range(17)}, 2),
        ({"batch_size": 16, "fraction": 0.1}, 1),
        ({"batch_size": 1, "shuffle": True, "seed": 0}, 40),
    ]:
        dataset = store.as_dataset(**choices)
        assert len(dataset) == count == len(list(dataset))
    dataset = store.as_dataset(batch_tokens=64)
    assert len(dataset) == len(list(dataset)) > 5


def test_shuffle(stores):
    store = stores["int8"]
    with pytest.raises(ValueError, match=r"^`shuffle=True` needs a `seed`\.$"):
        store.as_dataset(shuffle=True)
    dataset = store.as_dataset(batch_size=4, shuffle=True, seed=5)
    epochs = [read_labels(dataset) for _ in range(3)]
    again = store.as_dataset(batch_size=4, shuffle=True, seed=5)
    assert [read_labels(again) for _ in range(3)] == epochs
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert all(sorted(flatten(epoch)) == list(range(40)) for epoch in epochs)
    assert read_labels(store.as_dataset(batch_size=4, shuffle=True, seed=6)) != epochs[0]


def test_epochs_in_one_iteration(stores):
    store = stores["int8"]
    once = store.as_dataset(batch_size=16, shuffle=True, seed=5)
    together = store.as_dataset(batch_size=16, shuffle=True, seed=5, epochs=3)
    assert len(together) == 9
    expected = [read_labels(once) for _ in range(3)]
    assert read_labels(together) == read_labels(together) == [batch for epoch in expected for batch in epoch]


@pytest.mark.parametrize(
    ("count", "batch_size", "epoch"), itertools.product((1, 2, 31, 32, 33, 1000), (1, 8, 32), (0, 7))
)
def test_every_example_once_an_epoch(count, batch_size, epoch):
    batches = BatchPlan(LENGTHS[:count], batch_size=batch_size, shuffle=True, seed=1).batches(epoch)
    assert sorted(flatten(batches)) == list(range(count))
    assert len(batches) == -(-count // batch_size)
    assert sorted(map(len, batches))[1:] == [batch_size] * (len(batches) - 1)


def padded_share(batches):
    cells = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    return 1 - LENGTHS.sum() / cells


def test_batches_of_like_length_hold_little_padding():
    shuffled = padded_share(BatchPlan(LENGTHS, shuffle=True, seed=0).batches())
    assert padded_share(BatchPlan(LENGTHS).batches()) > 0.4
    assert shuffled < 0.06
    assert padded_share(BatchPlan(LENGTHS, batch_tokens=1024).batches()) < 0.06


def test_batches_of_like_length_are_new_company_each_epoch():
    plan = BatchPlan(np.random.default_rng(1).integers(3, 60, 5000), batch_size=8, shuffle=True, seed=0)
    company = [next(set(batch) for batch in plan.batches(epoch) if 17 in batch) for epoch in range(2)]
    assert len(company[0] & company[1]) < 5
    lengths = [plan.lengths[batch].mean() for batch in plan.batches()]
    assert abs(np.corrcoef(lengths[1:], lengths[:-1])[0, 1]) < 0.1  # no run from short to long


def test_batch_tokens_is_a_budget():
    batches = BatchPlan(LENGTHS, batch_tokens=200).batches()
    assert all(len(batch) * LENGTHS[batch].max() <= 200 for batch in batches)
    assert sorted(flatten(batches)) == list(range(1000))


def test_rows(stores):
    rows = [31, 2, 2 + 8, 39]
    assert flatten(read_labels(stores["int8"].as_dataset(batch_size=3, rows=rows))) == rows
    shuffled = flatten(read_labels(stores["int8"].as_dataset(rows=np.array(rows), shuffle=True, seed=0)))
    assert sorted(shuffled) == sorted(rows)
    by_length = flatten(read_labels(stores["int8"].as_dataset(rows=rows, batch_tokens=30)))
    assert sorted(by_length) == sorted(rows)
    assert BatchPlan(LENGTHS, rows=[]).batches() == []


@pytest.mark.parametrize("rows", [[40], [-1], np.ones(40, bool), [0.5]])
def test_rows_that_are_none(rows, stores):
    with pytest.raises(ValueError, match=r"^`rows` needs indices from 0 to 39, not a mask of booleans\.$"):
        stores["int8"].as_dataset(rows=rows)


def test_fractions_are_nested():
    rows = np.arange(200, 900)
    parts = [BatchPlan(LENGTHS, rows=rows, fraction=fraction).indices().tolist() for fraction in (0.01, 0.1, 0.5, 1)]
    assert [len(part) for part in parts] == [7, 70, 350, 700]
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller) < set(larger)
    assert all(part == sorted(part) for part in parts)
    assert abs(np.mean(parts[2]) - rows.mean()) < 20  # from all over
    for seed in (1, 2):
        assert BatchPlan(LENGTHS, rows=rows, fraction=0.1, shuffle=True, seed=seed).indices().tolist() == parts[1]
    assert len(BatchPlan(LENGTHS, fraction=1e-9).indices()) == 1


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        ({"fraction": 0}, "`fraction` needs more than 0 and at most 1, got 0."),
        ({"fraction": 1.5}, "`fraction` needs more than 0 and at most 1, got 1.5."),
        ({"batch_size": 0}, "`batch_size` needs 1 or more examples, got 0."),
        ({"shuffle": True, "seed": 0, "batch_tokens": 64}, "`batch_tokens` has an order of its own"),
    ],
)
def test_contradictions(choices, complaint):
    with pytest.raises(ValueError, match=r"^`") as raised:
        BatchPlan(LENGTHS, **choices)
    assert str(raised.value).startswith(complaint)


@pytest.mark.parametrize("codec", ["float32", "int8", "int2"])
@pytest.mark.parametrize("layers", [[-1], [2, 0], [1]])
def test_layers(codec, layers, stores):
    store = stores[codec]
    for images, labels in store.as_dataset(batch_size=9, layers=layers):
        for place, label in enumerate(labels.numpy()):
            expected = store[label]["hidden_states"][layers]
            states = images["hidden_states"][place, :, : expected.shape[1]]
            np.testing.assert_allclose(states, expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"^`layers` needs indices below 3, got \[3\]\.$"):
        store.as_dataset(layers=[3])


def test_cls_stores(tiny_encoder, tiny_examples, tmp_path):
    examples = dataclasses.replace(tiny_examples, labels=np.arange(40, dtype=np.int32))
    store = extract(tiny_encoder, examples, tmp_path, tokens="cls", pooler=True, codec="float32")
    live = images_from_encoder(tiny_encoder, examples, tokens="cls", pooler=True, batch_size=16)
    for (images, labels), (encoded, _) in zip(store.as_dataset(batch_size=16), live, strict=True):
        assert images["hidden_states"].shape == (len(labels), 4, 1, 8)
        assert images["padding_mask"].numpy().tolist() == [[1]] * len(labels)
        for place, label in enumerate(labels.numpy()):
            np.testing.assert_array_equal(images["hidden_states"][place], store[label]["hidden_states"])
        for name in images:
            np.testing.assert_allclose(images[name], encoded[name], atol=1e-5)
    last = next(iter(images_from_store(store, layers=[-1], batch_size=40)))[0]["hidden_states"]
    np.testing.assert_array_equal(last[:, 0], [store[i]["hidden_states"][-1] for i in range(40)])


def test_live_images_are_the_stores_bit_for_bit(tiny_encoder, tiny_examples, tmp_path):
    pairs = dataclasses.replace(tiny_examples, text_pairs=tiny_examples.texts[::-1])
    store = extract(tiny_encoder, pairs, tmp_path, codec="float32", batch_tokens=64)
    assert len(store.manifest.shards) == 1
    live = images_from_encoder(tiny_encoder, pairs, batch_tokens=64)
    count = 0
    for (stored, labels), (encoded, same) in zip(store.as_dataset(batch_tokens=64), live, strict=True):
        for name in stored:
            np.testing.assert_array_equal(stored[name], encoded[name])
        np.testing.assert_array_equal(labels, same)
        count += len(labels)
    assert count == 40


@pytest.mark.parametrize("choices", [{}, {"shuffle": True, "seed": 0}, {"layers": [-1, 0]}, {"rows": [4, 30, 7]}])
def test_live_images_are_close_in_any_batches(choices, tiny_encoder, tiny_examples, stores):
    live = images_from_encoder(tiny_encoder, tiny_examples, batch_size=6, **choices)
    stored = stores["float32"].as_dataset(batch_size=6, **choices)
    assert len(live) == len(stored)
    for (images, _), (encoded, _) in zip(stored, live, strict=True):
        for name in images:
            np.testing.assert_allclose(images[name], encoded[name], atol=1e-5)


def test_a_head_trains_on_it(stores):
    """As Keras takes it: more than one epoch, a known number of steps."""
    import keras

    states = keras.Input((3, None, 8), name="hidden_states")
    output = keras.layers.Dense(1)(keras.ops.mean(states, axis=(1, 2)))
    model = keras.Model({"hidden_states": states}, output)
    model.compile("sgd", "mse")
    dataset = stores["int4"].as_dataset(batch_size=16, shuffle=True, seed=0)
    dataset = dataset.map(lambda images, label: ({"hidden_states": images["hidden_states"]}, label / 40))
    history = model.fit(dataset, epochs=3, shuffle=False, verbose=0)
    assert len(history.history["loss"]) == 3
    assert model.optimizer.iterations.numpy() == 9


def test_a_store_and_an_encoder_live_as_long_as_their_datasets(tiny_examples, tmp_path):
    encoder = load_encoder(str(TINY))
    store = extract(encoder, tiny_examples, tmp_path)
    references = [weakref.ref(store), weakref.ref(encoder)]
    derived = [images.map(lambda batch, label: label) for images in (
        store.as_dataset(), images_from_encoder(encoder, tiny_examples)
    )]  # fmt: skip
    iterators = [iter(dataset) for dataset in derived]
    counts = [[len(label) for label in dataset] for dataset in derived]
    assert counts == [[32, 8]] * 2
    del store, encoder
    gc.collect()
    assert [len(next(iterator)) for iterator in iterators] == [32, 32]
    assert all(reference() is not None for reference in references)
    del derived, iterators
    deadline = time.monotonic() + 10
    while any(reference() for reference in references) and time.monotonic() < deadline:  # a batch is on its way
        gc.collect()
        time.sleep(0.05)
    assert all(reference() is None for reference in references)
