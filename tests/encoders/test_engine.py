"""OpenVINO and XLA as an encoder's engines: what they may and may not run, and what is said."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import bertvision_tf
from bertvision_tf.encoders import engine, load_encoder
from bertvision_tf.errors import EncoderError
from bertvision_tf.extraction import extract

TINY = str(Path(__file__).parents[1] / "checkpoints" / "bert-gelu-eps1e-12-segments2")
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
TEXTS = ["the cat has eaten .", "she can not run", "who is running , the dogs or the cat ?"]


def test_an_unknown_engine_is_refused():
    with pytest.raises(EncoderError, match="engine 'onnx' is not known; known: tensorflow, openvino"):
        load_encoder(TINY, engine="onnx")


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match=r"pip install 'bertvision-tf\[openvino\]'"):
        load_encoder(TINY, engine="openvino")


@needs_openvino
def test_bfloat16_that_is_only_imitated_is_refused(monkeypatch):
    import openvino

    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    with pytest.raises(EncoderError, match="does not multiply bfloat16 on this processor: take dtype float32"):
        load_encoder(TINY, "bfloat16", "openvino")


@needs_openvino
def test_a_machine_with_a_gpu_is_told_so(monkeypatch):
    monkeypatch.setattr(engine.tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    with pytest.raises(EncoderError, match="TensorFlow sees a GPU: take engine tensorflow"):
        load_encoder(TINY, engine="openvino")


@needs_openvino
def test_long_texts_keep_the_dtype(monkeypatch):
    """TensorFlow runs them, in bfloat16 where that is asked."""
    monkeypatch.setattr("bertvision_tf.encoders.encoder.check_engine", lambda *_: None)
    encoder = load_encoder(TINY).change(dtype="bfloat16", engine="openvino")
    tokens = encoder.tokenize(["the cat " * 30], max_length=40)
    plain = encoder.change(engine="tensorflow").hidden_states(tokens)
    monkeypatch.setattr("bertvision_tf.encoders.encoder.LONG", 8)
    assert np.abs(encoder.hidden_states(tokens) - plain).max() < 0.05
    assert encoder._forward.parts.dtype == "bfloat16"


@needs_openvino
def test_states_that_differ_are_refused(monkeypatch):
    """Were the graph read wrongly, the first batch would say so, and not a score."""
    encoder = load_encoder(TINY, engine="openvino")
    right, tokens = engine.run_openvino, encoder.tokenize(TEXTS)
    for wrong, said in (
        (lambda states: states * 1.01, r"are 0\.0\d+ standard deviations from TensorFlow's: take engine tensorflow"),
        (lambda states: states[1:], r"are of shape \(29, 3, 8\), TensorFlow's \(30, 3, 8\): take engine tensorflow"),
    ):

        def run_wrongly(*given, wrong=wrong):
            run = right(*given)
            return lambda *inputs: wrong(run(*inputs))

        monkeypatch.setattr("bertvision_tf.encoders.encoder.run_openvino", run_wrongly)
        with pytest.raises(EncoderError, match=said):
            encoder.hidden_states(tokens)


@needs_openvino
def test_results_of_several_threads_are_their_own(minilm, monkeypatch):
    encoder = minilm.change(engine="openvino")
    assert encoder.weights is minilm.weights and encoder.fingerprint == minilm.fingerprint
    batches = [minilm.tokenize([text] * count) for count in range(1, 9) for text in TEXTS]
    built = []
    build = encoder._build_graph
    monkeypatch.setattr(encoder, "_build_graph", lambda *choice: built.append(choice) or build(*choice))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoder.hidden_states, batches))
    for states, tokens in zip(found, batches, strict=True):
        np.testing.assert_allclose(states, minilm.hidden_states(tokens), atol=1e-4)
    assert len(built) == 1  # and not one for each thread


@needs_openvino
def test_the_engine_is_pickled_and_in_the_manifest(tmp_path, tiny_examples):
    encoder = pickle.loads(pickle.dumps(load_encoder(TINY, engine="openvino")))
    assert encoder.engine == "openvino"
    store = extract(encoder, tiny_examples, tmp_path / "store", max_length=16)
    made_with = store.manifest.made_with
    assert made_with["openvino"] and made_with["tensorflow"]
    plain = extract(encoder.change(engine="tensorflow"), tiny_examples, tmp_path / "plain", max_length=16)
    assert "openvino" not in plain.manifest.made_with
    np.testing.assert_array_equal(store.lengths, plain.lengths)


@pytest.mark.parametrize(
    ("texts", "tokens", "padded"),
    [
        (1, 1, (1, 8)),
        (3, 8, (3, 8)),
        (9, 9, (10, 16)),
        (33, 70, (40, 80)),
        (1000, 129, (1024, 160)),
        (5, 495, (5, 500)),
    ],
)
def test_batches_are_padded_to_few_shapes(texts, tokens, padded):
    ids = np.ones((texts, tokens), np.int32)
    found = engine.pad_to_bucket(ids, ids, np.full(texts, tokens, np.int32), longest=500)
    assert found[0].shape == found[1].shape == padded and found[2].shape == padded[:1]
    assert found[0].numpy().sum() == texts * tokens and (found[2].numpy()[texts:] == 0).all()


def test_there_are_few_shapes():
    """What XLA compiles for texts of 1 to 128 tokens in batches of 32,768."""
    shapes = set()
    for tokens in range(1, 129):
        ids = np.ones((32768 // tokens, tokens), np.int32)
        shapes.add(tuple(engine.pad_to_bucket(ids, ids, ids[:, 0], longest=512)[0].shape))
    assert len(shapes) == 35


@pytest.mark.parametrize("options", [{}, {"mode": "cls", "pooler": True, "layers": (0, 2)}, {"layers": (1,)}])
def test_what_xla_keeps_is_what_tensorflow_keeps(options):
    encoder = load_encoder(TINY)
    tokens = encoder.tokenize([*TEXTS, "she", "the cat"])  # padded to five texts of 16 tokens
    found = encoder.change(engine="xla").hidden_state_rows(tokens, **options)
    np.testing.assert_allclose(found, encoder.hidden_state_rows(tokens, **options), atol=1e-5)


def test_xla_rounds_in_the_graph():
    encoder = load_encoder(TINY)
    tokens = encoder.tokenize(TEXTS)
    grid = np.full((3, 8), 20.0, np.float32), np.full((3, 8), -3.0, np.float32)
    states = encoder.change(engine="xla").hidden_state_rows(tokens, grid=grid)
    assert states.dtype == np.int8
    steps = np.abs(states - encoder.hidden_state_rows(tokens, grid=grid).astype(int))
    assert steps.max() <= 1 and steps.mean() < 0.01  # a state that lies between two steps may go to either


@pytest.mark.parametrize("name", ["xla", pytest.param("openvino", marks=needs_openvino)])
def test_a_run_says_its_engine_and_predicts_without_it(tmp_path, name):
    options = {"limit": 60, "seeds": 1, "baselines": False, "fit": {"epochs": 1}, "head": "adapter_4_shared"}
    options |= {"output": tmp_path / "run", "store": tmp_path / "states"}
    run = bertvision_tf.train("starter", TINY, engine=name, **options)
    assert run.config["engine"] == run.results["engine"] == name
    assert run.load_encoder().engine == "tensorflow"
    assert len(run.predict(TEXTS).labels) == len(TEXTS)
    again = bertvision_tf.train("starter", TINY, resume=True, **options)
    assert again.config["engine"] == name  # the finished run: its states are the same
