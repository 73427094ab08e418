"""KerasHub presets of every family: tokens as KerasHub's own tokenizer gives them, states as its own backbone does."""

import dataclasses
import io
import json
from pathlib import Path

import keras_hub
import numpy as np
import pytest
import sentencepiece

import bertvision_tf as bv
from bertvision_tf.encoders.backbone import build_backbone, build_states_model
from bertvision_tf.encoders.checkpoint import read_architecture
from bertvision_tf.encoders.weights import read_weights
from bertvision_tf.errors import EncoderError

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
TEXTS = ["the cat has eaten .", "She can not run", "who is running , the dogs or the cat ?", "café zzz", ""]
PAIRS = ["a dog eats", "he is a bird .", "the", "the cat", "who"]
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 64}
FOLDERS = {"bert": "bert-gelu_new-eps1e-12-segments2"} | {
    family: family for family in ("roberta", "distilbert", "electra", "albert", "xlm-roberta")
}


def train_pieces(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((TEXTS + PAIRS) * 5), model_writer=model, vocab_size=60, hard_vocab_limit=False,
        minloglevel=2, **options,
    )  # fmt: skip
    return model.getvalue()


def make_tokenizer(family):
    models = keras_hub.models
    if family in ("bert", "distilbert", "electra"):
        words = (CHECKPOINTS / FOLDERS["bert"] / "vocab.txt").read_text(encoding="utf-8").split()
        kinds = {"bert": "BertTokenizer", "distilbert": "DistilBertTokenizer", "electra": "ElectraTokenizer"}
        return getattr(models, kinds[family])(words, lowercase=True)
    if family == "roberta":
        model = json.loads((CHECKPOINTS / "roberta" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
        return models.RobertaTokenizer(model["vocab"], [" ".join(pair) for pair in model["merges"]])
    if family == "xlm-roberta":
        return models.XLMRobertaTokenizer(train_pieces(bos_id=1, eos_id=2, unk_id=0))
    special = dict(pad_id=0, pad_piece="[PAD]" if family == "deberta-v3" else "<pad>")
    if family == "albert":
        order = dict(unk_id=1, bos_id=2, eos_id=3, bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="<unk>")
        pieces = train_pieces(user_defined_symbols="[MASK]", normalization_rule_name="nmt_nfkc_cf", **special, **order)
        return models.AlbertTokenizer(pieces)
    order = dict(bos_id=1, eos_id=2, unk_id=3, bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]")
    return models.DebertaV3Tokenizer(train_pieces(**special, **order))


@pytest.fixture(scope="module", params=[*FOLDERS, "deberta-v3"])
def preset(request, tmp_path_factory):
    """The family, its folder, and its tokenizer as KerasHub has it."""
    family, folder = request.param, tmp_path_factory.mktemp("preset") / request.param
    if family == "deberta-v3":
        backbone = keras_hub.models.DebertaV3Backbone(vocabulary_size=80, bucket_size=8, **SIZES)
        random = np.random.default_rng(0)
        backbone.set_weights([random.normal(0.3, 0.4, part.shape) for part in backbone.get_weights()])
    else:
        checkpoint = CHECKPOINTS / FOLDERS[family]
        architecture = read_architecture(checkpoint)
        weights = read_weights(checkpoint, architecture)
        rows = np.resize(weights["token_embedding"], (80, architecture.embedding_dim))
        backbone = build_backbone(
            dataclasses.replace(architecture, vocabulary_size=80), weights | {"token_embedding": rows}
        )
    tokenizer = make_tokenizer(family)
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return family, folder, tokenizer


def test_tokens_are_kerashubs(preset):
    family, folder, tokenizer = preset
    encoder = bv.load_encoder(str(folder))
    ends = (tokenizer.start_token_id, tokenizer.end_token_id) if hasattr(tokenizer, "start_token_id") else None
    ends = ends or (tokenizer.cls_token_id, tokenizer.sep_token_id)
    # ALBERT strips accents, as it was trained; KerasHub's tokenizer leaves that out.
    texts = [text for text in TEXTS if text and (family, text[:4]) != ("albert", "café")]
    tokens = encoder.tokenize(texts, max_length=64)
    for ids, mask, text in zip(tokens["token_ids"], tokens["padding_mask"], texts, strict=True):
        expected = [int(i) for i in np.asarray(tokenizer(text))]
        expected = [i for i in expected if i != 0] if family in ("bert", "distilbert", "electra") else expected
        assert ids[mask > 0].tolist() == [ends[0], *expected, ends[1]], text
    pairs = encoder.tokenize(TEXTS, PAIRS, max_length=64)
    assert (pairs["segment_ids"].max(axis=1) == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_states_are_kerashubs(preset, dtype):
    _, folder, _ = preset
    encoder = bv.load_encoder(str(folder), dtype)
    tokens = encoder.tokenize(TEXTS, PAIRS, max_length=64)
    backbone = keras_hub.models.Backbone.from_preset(str(folder), dtype="float32")
    names = [name for name in ("token_ids", "segment_ids", "padding_mask") if name in backbone.input]
    # KerasHub's RoBERTas have no segments, and ours no second one.
    expected = build_states_model(backbone).predict({name: tokens[name] for name in names}, verbose=0)
    found = encoder.hidden_states(tokens)
    real = tokens["padding_mask"] > 0
    assert found.shape == (len(TEXTS), len(expected), tokens["token_ids"].shape[1], 8)
    for layer, states in enumerate(expected):
        error = found[:, layer][real] - states[real]
        if dtype == "float32":
            assert np.abs(error).max() < 1e-4, layer
        assert np.sqrt(np.mean(error**2)) < 0.05, layer


@pytest.mark.parametrize("preset", ["deberta-v3"], indirect=True)
def test_a_run_on_a_preset(preset, tmp_path):
    _, folder, _ = preset
    table = {"one": TEXTS[:4] * 60, "label": [0, 1, 0, 1] * 60}
    task = bv.task_from_table(table, text="one", name="words")
    fit = {"epochs": 2}
    run = bv.train(
        task, str(folder), head="learned_pooling", seeds=1, fit=fit, store=tmp_path / "s", output=tmp_path / "r",
        max_length=32,
    )  # fmt: skip
    assert run.results["encoder_parameters"] == sum(np.size(part) for part in run.load_encoder().weights.values())
    assert bv.load_run(run.path).predict(["the cat"]).probabilities.shape == (1, 2)


def test_backbones_that_are_no_text_encoders(tmp_path):
    backbone = keras_hub.models.GPT2Backbone(20, 1, 2, 8, 16, max_sequence_length=16)
    backbone.save_to_preset(str(tmp_path / "gpt"))
    with pytest.raises(EncoderError, match=r"is a GPT2Backbone; known: BertBackbone, .*DebertaV3Backbone"):
        bv.load_encoder(str(tmp_path / "gpt"))


def test_presets_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"registered_name": "keras_hub>BertBackbone"}')
    with pytest.raises(EncoderError, match=r"holds no weights"):
        bv.load_encoder(str(tmp_path))
    (tmp_path / "model.weights.h5").write_bytes(b"no weights")
    with pytest.raises(EncoderError, match=r"cannot be had .*offline, copy its folder here and name that"):
        bv.load_encoder(str(tmp_path))

    def refuse(*arguments, **options):
        raise ConnectionError("no network\nsecond line")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", refuse)
    with pytest.raises(EncoderError, match=r"^the preset bert_tiny_en_uncased cannot be had \(no network\); offline"):
        bv.load_encoder("bert_tiny_en_uncased")
    with pytest.raises(EncoderError, match="expected 'minilm', 'hf://owner/name', a KerasHub preset, or a folder"):
        bv.load_encoder("bert_tiny_en_uncase")
