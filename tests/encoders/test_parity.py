"""Every hidden state against PyTorch's, for each variant of checkpoint."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bertvision_tf.encoders import load_encoder
from bertvision_tf.encoders.backbone import build_states_model, read_backbone
from bertvision_tf.errors import EncoderError

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
VARIANTS = sorted(path.parent for path in CHECKPOINTS.glob("*/golden.npz"))
LONG = sorted(path.parent for path in CHECKPOINTS.glob("*/long.npz"))


needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
in_each_engine = pytest.mark.parametrize(
    "engine", ["tensorflow", "xla", pytest.param("openvino", marks=needs_openvino)]
)

SENTENCES = ["the cat has eaten .", "she can not run", "who is running , the dogs or the cat ?"]
PAIRS = ["a dog eats", "he is a bird .", "the"]


def read_golden(path):
    golden = dict(np.load(path))
    tokens = {name: golden[name] for name in ("token_ids", "segment_ids", "padding_mask")}
    return tokens, golden["hidden_states"], golden.get("pooler_output")


def largest_difference(states, expected, mask):
    """Over real cells; relative to a standard deviation, which layer normalisation makes about 1."""
    return np.abs((states - expected) * mask[:, None, :, None]).max()


def test_every_variant_is_there():
    assert len(VARIANTS) == 25
    assert len(LONG) == 6


@in_each_engine
@pytest.mark.parametrize("folder", VARIANTS, ids=lambda path: path.name)
def test_states_equal_pytorch(folder, engine):
    encoder = load_encoder(str(folder), engine=engine)
    tokens, expected, pooled = read_golden(folder / "golden.npz")
    states = encoder.hidden_states(tokens)
    assert states.shape == expected.shape == (3, encoder.num_hidden_states, tokens["token_ids"].shape[1], 8)
    assert largest_difference(states, expected, tokens["padding_mask"]) < 1e-4
    if pooled is None:
        with pytest.raises(EncoderError, match="has no pooler"):
            encoder.hidden_state_rows(tokens, mode="cls", pooler=True)
        return
    rows = encoder.hidden_state_rows(tokens, mode="cls", pooler=True)
    np.testing.assert_allclose(rows[:, 0], pooled, atol=1e-4)
    np.testing.assert_allclose(rows[:, 1:], expected[:, :, 0], atol=1e-4)


def test_the_layer_norm_of_a_gpu_is_that_of_a_processor(monkeypatch):
    tokens, expected, _ = read_golden(VARIANTS[0] / "golden.npz")
    here = load_encoder(str(VARIANTS[0])).hidden_states(tokens)
    encoder = load_encoder(str(VARIANTS[0]))
    monkeypatch.setattr(encoder._forward.parts, "_plain_norm", True)
    there = encoder.hidden_states(tokens)
    assert largest_difference(there, expected, tokens["padding_mask"]) < 1e-4
    np.testing.assert_allclose(there, here, atol=1e-5)


@pytest.mark.parametrize("folder", VARIANTS, ids=lambda path: path.name)
def test_backbone_equals_pytorch(folder):
    encoder = load_encoder(str(folder))
    tokens, expected, _ = read_golden(folder / "golden.npz")
    if encoder.architecture.num_segments == 1:
        assert not tokens["segment_ids"].any()
    model = build_states_model(encoder.backbone)
    states = np.stack([np.asarray(s) for s in model({name: tokens[name] for name in model.input})], axis=1)
    assert largest_difference(states, expected, tokens["padding_mask"]) < 1e-4


@pytest.mark.parametrize("folder", VARIANTS, ids=lambda path: path.name)
def test_backbone_holds_the_weights(folder):
    encoder = load_encoder(str(folder))
    read = read_backbone(encoder.backbone)
    folded = {"position_embedding", "segment_embedding"} if encoder.family.pads_positions else set()
    assert set(encoder.weights) - set(read) <= {"segment_embedding", "pooler.kernel", "pooler.bias"}
    for name in set(read) - folded:
        np.testing.assert_array_equal(read[name], encoder.weights[name])


@pytest.mark.parametrize("folder", LONG, ids=lambda path: path.name)
@pytest.mark.parametrize("model", ["states", "backbone", pytest.param("openvino", marks=needs_openvino)])
def test_states_of_long_texts_equal_pytorch(folder, model):
    """Texts beyond a local window, the farthest bucket of distances, and the length from which on queries are split."""
    encoder = load_encoder(str(folder), engine="openvino" if model == "openvino" else "tensorflow")
    tokens, expected, _ = read_golden(folder / "long.npz")
    if model != "backbone":
        states = encoder.hidden_states(tokens)
    else:
        found = build_states_model(encoder.backbone)({name: tokens[name] for name in encoder.backbone.input})
        states = np.stack([np.asarray(state) for state in found], axis=1)
    assert largest_difference(states, expected, tokens["padding_mask"]) < 1e-4


@pytest.mark.parametrize("folder", VARIANTS, ids=lambda path: path.name)
def test_tokens_equal_pytorchs(folder):
    encoder = load_encoder(str(folder))
    golden, _, _ = read_golden(folder / "golden.npz")
    pairs = None if folder.name.endswith("segments1") else PAIRS
    tokens = encoder.tokenize(SENTENCES, pairs, max_length=64)
    mask = golden["padding_mask"]
    np.testing.assert_array_equal(tokens["padding_mask"], mask)
    np.testing.assert_array_equal(tokens["token_ids"] * mask, golden["token_ids"] * mask)


def test_pairs_of_a_family_without_segments_are_told_apart():
    encoder = load_encoder(str(CHECKPOINTS / "roberta"))
    tokens = encoder.tokenize(["the cat"], ["a dog eats"])
    words = encoder.tokenizer.to_words(tokens["token_ids"][0])
    second = [word for word, segment in zip(words, tokens["segment_ids"][0], strict=True) if segment]
    assert words[0] == "<s>" and words.count("</s>") == 3
    assert second == words[len(words) - len(second) :]
    assert second[-1] == "</s>" and "".join(second[:-1]).replace("Ġ", " ").strip() == "a dog eats"


@pytest.mark.parametrize(("key", "value", "least"), [("hidden_act", "gelu_new", 1e-4), ("layer_norm_eps", 1e-3, 1e-4)])
def test_the_golden_states_tell_variants_apart(tmp_path, key, value, least):
    """Had the config's activation or epsilon no effect, the parity tests above would prove nothing."""
    source = CHECKPOINTS / "bert-gelu-eps1e-12-segments2"
    folder = shutil.copytree(source, tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    tokens, expected, _ = read_golden(source / "golden.npz")
    states = load_encoder(str(folder)).hidden_states(tokens)
    assert largest_difference(states, expected, tokens["padding_mask"]) > least


def test_minilm_equals_pytorch(minilm):
    tokens, expected, pooled = read_golden(CHECKPOINTS / "minilm.npz")
    sentences = ["the cat has eaten .", "she can not run", "who is running , the dogs or the cat ?"]
    ours = minilm.tokenize(sentences, ["a dog eats", "he is a bird .", "the"], max_length=64)
    for name, value in tokens.items():
        np.testing.assert_array_equal(ours[name], value)
    states = minilm.hidden_states(ours)
    assert states.shape[1:] == (7, tokens["token_ids"].shape[1], 384)
    assert largest_difference(states[..., :8], expected, tokens["padding_mask"]) < 1e-4
    pooler = minilm.hidden_state_rows(ours, mode="cls", pooler=True)[:, 0, :8]
    np.testing.assert_allclose(pooler, pooled, atol=1e-4)


def test_bfloat16_is_near(minilm):
    tokens = minilm.tokenize(["the cat has eaten ."])
    lean = type(minilm)("minilm", minilm.architecture, minilm.tokenizer, minilm.weights, "bfloat16")
    exact, near = minilm.hidden_states(tokens), lean.hidden_states(tokens)
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).max() < 0.1
    assert np.linalg.norm(near - exact) / np.linalg.norm(exact) < 0.02
    assert lean.fingerprint != minilm.fingerprint
