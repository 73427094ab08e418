"""Encoders written as checkpoints, and read again."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bertvision_tf.encoders import Classifier, SpanClassifier, load_encoder, save_encoder
from bertvision_tf.errors import EncoderError

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
VARIANTS = sorted(path.parent for path in CHECKPOINTS.glob("*/golden.npz"))
OLDER = ["bert-gelu_new-eps0.001-segments2", "roberta", "xlm-roberta", "camembert", "distilbert", "albert", "electra"]
NEWER = ["mpnet", "modernbert", "modernbert-biases", "deberta-v3", "deberta-v2-keys", "deberta-v2-distances"]
NEWER += ["nomic", "gte"]
FAMILIES = OLDER + NEWER
WITH_QUESTIONS = [name for name in FAMILIES if name not in ("nomic", "gte")]  # for which transformers has no such head
PYTORCH = """
import sys
import numpy as np, torch
from transformers import AutoModelForSequenceClassification
model, info = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], output_loading_info=True)
assert not info["missing_keys"] and all("pooler" in name for name in info["unexpected_keys"]), info
tokens = {name: torch.tensor(value).long() for name, value in np.load(sys.argv[2]).items()}
with torch.no_grad():
    logits = model.eval()(**tokens).logits.numpy()
np.save(sys.argv[3], logits)
"""

SPANS = PYTORCH.replace("SequenceClassification", "QuestionAnswering").replace(
    "model.eval()(**tokens).logits", "torch.stack([*model.eval()(**tokens).to_tuple()], dim=-1)"
)


def get_epsilon(encoder):
    return {"norm_epsilon": encoder.architecture.layer_norm_epsilon} if encoder.family.head.norm else {}


def make_classifier(encoder, outputs=3):
    random, hidden = np.random.default_rng(0), encoder.hidden_dim
    shapes = ((hidden, hidden), (hidden,), (hidden, outputs), (outputs,))
    parts = [random.normal(size=shape).astype("float32") for shape in shapes]
    if "pooler.kernel" in encoder.weights:
        parts[:2] = [encoder.weights[f"pooler.{end}"] for end in ("kernel", "bias")]
    if encoder.family.head.norm:
        parts.append(random.normal(size=hidden).astype("float32"))
    return Classifier(encoder.architecture.family, *parts, **get_epsilon(encoder))


def make_span_classifier(name):
    encoder, random = load_encoder(str(CHECKPOINTS / name)), np.random.default_rng(0)
    hidden = encoder.hidden_dim
    shapes = [(hidden, 2), (2,), *([(hidden, hidden), (hidden,), (hidden,)] if encoder.family.head.norm else [])]
    parts = [random.normal(size=shape).astype("float32") for shape in shapes]
    return encoder, SpanClassifier(encoder.architecture.family, *parts, **get_epsilon(encoder))


@pytest.mark.parametrize("folder", VARIANTS, ids=lambda path: path.name)
def test_a_saved_encoder_is_the_same_encoder(folder, tmp_path):
    encoder = load_encoder(str(folder))
    save_encoder(encoder, tmp_path / "saved")
    assert load_encoder(str(tmp_path / "saved")).fingerprint == encoder.fingerprint


def test_minilm_too(minilm, tmp_path):
    save_encoder(minilm, tmp_path / "saved")
    assert load_encoder(str(tmp_path / "saved")).fingerprint == minilm.fingerprint


@pytest.mark.parametrize("name", FAMILIES)
def test_a_classifier_goes_there_and_back(name, tmp_path):
    encoder = load_encoder(str(CHECKPOINTS / name))
    if name in ("bert-gelu_new-eps0.001-segments2", "albert"):
        assert "pooler.kernel" in encoder.weights
    classifier = make_classifier(encoder)
    save_encoder(encoder, tmp_path / "saved", classifier, {"id2label": {"0": "a", "1": "b", "2": "c"}})
    found = Classifier.read(tmp_path / "saved")
    for part in ("dense_kernel", "dense_bias", "output_kernel", "output_bias"):
        np.testing.assert_array_equal(getattr(found, part), getattr(classifier, part))
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["id2label"]["1"] == "b"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_span_classifier_goes_there_and_back(name, tmp_path):
    encoder, classifier = make_span_classifier(name)
    save_encoder(encoder, tmp_path / "saved", classifier)
    found = SpanClassifier.read(tmp_path / "saved")
    np.testing.assert_array_equal(found.output_kernel, classifier.output_kernel)
    np.testing.assert_array_equal(found.output_bias, classifier.output_bias)
    if not encoder.family.head.norm:  # ModernBERT's has the same names for both
        with pytest.raises(EncoderError, match="has no classifier that can be read"):
            Classifier.read(tmp_path / "saved")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (the bench extra)")
@pytest.mark.parametrize("name", FAMILIES)
def test_pytorch_reads_it_and_says_the_same(name, tmp_path):
    encoder = load_encoder(str(CHECKPOINTS / name))
    classifier = make_classifier(encoder)
    save_encoder(encoder, tmp_path / "saved", classifier, {"id2label": {str(i): f"c{i}" for i in range(3)}})
    tokens = encoder.tokenize(
        ["the cat has eaten .", "she can not run", "who is running , the dogs or the cat ?"], max_length=32
    )
    names = {"token_ids": "input_ids", "padding_mask": "attention_mask"}
    if encoder.architecture.num_segments > 1:
        names["segment_ids"] = "token_type_ids"
    pad = encoder.tokenizer.padding_id
    tokens["token_ids"] = np.where(tokens["padding_mask"] > 0, tokens["token_ids"], pad)
    np.savez(tmp_path / "tokens.npz", **{theirs: tokens[ours] for ours, theirs in names.items()})
    files = [str(tmp_path / part) for part in ("saved", "tokens.npz", "logits.npy")]
    done = subprocess.run([sys.executable, "-c", PYTORCH, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = encoder.hidden_state_rows(tokens, mode="cls", layers=[encoder.num_hidden_states - 1])[:, 0]
    np.testing.assert_allclose(classifier.predict(states), np.load(files[2]), atol=1e-4)


def test_what_is_there_stays(tiny_encoder, tmp_path):
    (tmp_path / "saved").mkdir()
    with pytest.raises(EncoderError, match="is there already"):
        save_encoder(tiny_encoder, tmp_path / "saved")


def test_no_classifier_is_said(tiny_encoder, tmp_path):
    save_encoder(tiny_encoder, tmp_path / "saved")
    with pytest.raises(EncoderError, match="has no classifier"):
        Classifier.read(tmp_path / "saved")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (the bench extra)")
@pytest.mark.parametrize("name", WITH_QUESTIONS)
def test_pytorch_reads_spans_and_says_the_same(name, tmp_path):
    encoder, classifier = make_span_classifier(name)
    save_encoder(encoder, tmp_path / "saved", classifier)
    tokens = encoder.tokenize(["who eats ?"], ["the cat has a dog ."], max_length=32)
    names = {"token_ids": "input_ids", "padding_mask": "attention_mask"}
    if encoder.architecture.num_segments > 1:
        names["segment_ids"] = "token_type_ids"
    np.savez(tmp_path / "tokens.npz", **{names[name]: value for name, value in tokens.items() if name in names})
    subprocess.run(
        [sys.executable, "-c", SPANS, tmp_path / "saved", tmp_path / "tokens.npz", tmp_path / "logits.npy"], check=True
    )
    states = encoder.hidden_states(tokens)[:, -1]
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), classifier.predict(states), atol=1e-4)
