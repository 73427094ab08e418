"""Which files a checkpoint's weights come from, and that config.json fits them."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bertvision_tf import load_encoder
from bertvision_tf.errors import EncoderError

FAMILIES = ["bert-gelu-eps1e-12-segments2", "roberta", "distilbert", "albert", "albert-groups", "electra"]


@pytest.fixture
def copy(tmp_path, pytestconfig):
    """A function of a checkpoint's name that copies it."""

    def copy_checkpoint(name="bert-gelu-eps1e-12-segments2"):
        return shutil.copytree(pytestconfig.rootpath / "tests" / "checkpoints" / name, tmp_path / name)

    return copy_checkpoint


def save(tensors, file):
    save_file(tensors, file, metadata={"format": "pt"})


def split(folder):
    """Writes the weights as two shards and an index; gives the index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-1.safetensors": names[: len(names) // 2], "model-2.safetensors": names[len(names) // 2 :]}
    for file, part in shards.items():
        save({name: tensors[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


def refuse(folder, message):
    with pytest.raises(EncoderError, match=message) as error:
        load_encoder(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["model_old", "adapter_model", "a", "z"])
def test_files_beside_the_weights_are_not_read(copy, tiny_encoder, name):
    folder = copy()
    tensors = load_file(folder / "model.safetensors")
    save({key: value * 0 for key, value in tensors.items()}, folder / f"{name}.safetensors")
    assert load_encoder(str(folder)).fingerprint == tiny_encoder.fingerprint


def test_an_adapter_is_not_left_out_silently(copy):
    folder = copy()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    refuse(folder, "adapter of PEFT.*merge_and_unload")


@pytest.mark.parametrize("sharded", [False, True])
def test_what_has_the_name_of_the_weights_and_is_none(copy, sharded):
    folder = copy()
    if sharded:
        split(folder)
    file = folder / ("model-1.safetensors" if sharded else "model.safetensors")
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refuse(folder, f"{file.name} is a pointer of Git LFS.*git lfs pull")
    file.unlink()
    file.symlink_to("../blobs/0")
    refuse(folder, f"{file.name} is a link to ../blobs/0, which is not there")
    file.unlink()
    file.mkdir()
    refuse(folder, f"{file.name} is a folder")


@pytest.mark.parametrize(
    ("model_type", "classes"),
    [("bert", ["RobertaForMaskedLM"]), ("roberta", ["BertModel"]), ("bert", ["MyModel", "XLMRobertaModel"])],
)
def test_a_model_type_that_its_classes_contradict(copy, model_type, classes):
    folder = copy()
    config = json.loads((folder / "config.json").read_text()) | {"model_type": model_type, "architectures": classes}
    (folder / "config.json").write_text(json.dumps(config))
    refuse(folder, f"says model_type '{model_type}' and architectures '{classes[-1]}'")


@pytest.mark.parametrize("classes", [None, "BertModel", [], ["BertForMaskedLM"], ["MyModel", 3], ["BertLMHeadModel"]])
def test_classes_that_say_nothing_else(copy, tiny_encoder, classes):
    folder = copy()
    config = json.loads((folder / "config.json").read_text()) | {"architectures": classes}
    (folder / "config.json").write_text(json.dumps(config))
    assert load_encoder(str(folder)).fingerprint == tiny_encoder.fingerprint


def test_roberta_goes_by_several_names(copy):
    folder = copy("xlm-roberta")
    before = load_encoder(str(folder)).fingerprint
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["RobertaModel"]}
    (folder / "config.json").write_text(json.dumps(config))
    assert load_encoder(str(folder)).fingerprint == before


def test_only_a_stray_file_is_no_checkpoint(copy):
    folder = copy()
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    refuse(folder, r"expected model.safetensors, or the index of its shards, and found only weights.safetensors\.$")


def test_shards_that_the_index_names_are_read_and_no_others(copy, tiny_encoder):
    folder = copy()
    index = split(folder)
    tensors = {name: np.zeros(3, np.float32) for name in index["weight_map"]}
    save(tensors, folder / "model-3.safetensors")
    assert load_encoder(str(folder)).fingerprint == tiny_encoder.fingerprint


def test_an_index_that_does_not_fit_its_shards(copy):
    folder = copy()
    index = split(folder)
    moved = min(index["weight_map"])
    index["weight_map"][moved] = "model-2.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refuse(folder, f"model-1.safetensors holds '{moved}'")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "has no weight_map"),
        ('{"weight_map": {"a": 3}}', "has no weight_map"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "expected a .safetensors file beside it"),
        ('{"weight_map": {"a": "model.bin"}}', "expected a .safetensors file beside it"),
        ('{"weight_map": {"a": "model-1.safetensors"}}', "has both model.safetensors and model.safetensors.index"),
    ],
)
def test_indexes_that_cannot_be_read(copy, index, message):
    folder = copy()
    (folder / "model.safetensors.index.json").write_text(index)
    refuse(folder, message)


def test_a_shard_that_is_missing(copy):
    folder = copy()
    split(folder)
    (folder / "model-2.safetensors").unlink()
    refuse(folder, "model-2.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tensor_in_two_spellings(copy, family):
    folder = copy(family)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if "LayerNorm.weight" in name)
    prefix = {"bert": "bert", "roberta": "roberta", "distilbert": "distilbert", "albert": "albert"}.get(
        family.split("-")[0], "electra"
    )
    for other in (f"{prefix}.{name}", name.replace(".weight", ".gamma")):
        save(tensors | {other: tensors[name] * 0}, folder / "model.safetensors")
        refuse(folder, f"hold one tensor twice: .*{name}")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", [-1, 1])
def test_every_size_is_held_against_the_tensors(copy, family, change):
    folder = copy(family)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    albert, distil = family.startswith("albert"), family == "distilbert"
    names = {"vocab_size", "max_position_embeddings"}
    names |= {"n_layers", "dim", "hidden_dim"} if distil else {"hidden_size", "intermediate_size", "type_vocab_size"}
    if albert:
        names |= {"embedding_size", "num_hidden_groups"}
    elif not distil:
        names |= {"num_hidden_layers"}
    if family == "electra":
        names |= {"embedding_size"}
    for name in sorted(names):
        file.write_text(json.dumps(config | {name: config[name] + change}))
        if config[name] + change == 0 or (name == "num_hidden_groups" and config[name] >= config["num_hidden_layers"]):
            continue  # refused for another reason
        with pytest.raises(EncoderError) as error:
            load_encoder(str(folder))
        assert "\n" not in str(error.value), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_norm_eps": None}, "layer_norm_eps needs a number above 0, got None"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps needs a number above 0, got '1e-12'"),
        ({"layer_norm_eps": 10**400}, "layer_norm_eps needs a number above 0, got 1000"),
        ({"pruned_heads": {"0": [1]}}, r"heads are pruned \({'0': \[1\]}\); only whole blocks are read"),
        ({"position_embedding_type": None}, "position_embedding_type says None; only 'absolute' is read"),
        ({"layer_norm_eps": 0}, "layer_norm_eps needs a number above 0, got 0"),
        ({"num_attention_heads": 5}, "5 attention heads and a hidden size of 8"),
        ({"num_attention_heads": 0}, "num_attention_heads needs a whole number from 1 on, got 0"),
        ({"num_attention_heads": None}, "num_attention_heads needs a whole number from 1 on, got None"),
        ({"hidden_size": "8"}, "hidden_size needs a whole number from 1 on, got '8'"),
        ({"hidden_size": 8.0}, "hidden_size needs a whole number from 1 on, got 8.0"),
        ({"num_hidden_layers": True}, "num_hidden_layers needs a whole number from 1 on, got True"),
        ({"type_vocab_size": None}, "type_vocab_size needs a whole number from 0 on, got None"),
        ({"hidden_act": ["gelu"]}, "hidden_act .* is not known"),
        ({"hidden_act": None}, "hidden_act None .* is not known"),
        ({"model_type": ["bert"]}, "model type .* is not known"),
        ({"num_hidden_layers": 1}, "'encoder.layer.1.attention"),
        ({"type_vocab_size": 0}, "'embeddings.token_type_embeddings.weight'"),
    ],
)
def test_settings_that_cannot_be_read(copy, change, message):
    folder = copy()
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    refuse(folder, message)


@pytest.mark.parametrize("content", ["[]", "null", "3", '"bert"'])
def test_a_config_that_is_no_object(copy, content):
    folder = copy()
    (folder / "config.json").write_text(content)
    refuse(folder, "config.json needs a JSON object, got a")


@pytest.mark.parametrize("number", [None, "1", -1, 0, 2, 200])
def test_a_robertas_padding_number(copy, number):
    folder = copy("roberta")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pad_token_id": number}))
    refuse(folder, "pad_token_id")


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["[]", "null", "{", "\x00", "3", '"x"'])
def test_a_broken_tokenizer(copy, file, content):
    folder = copy()
    (folder / file).write_text(content)
    refuse(folder, "has no tokenizer that can be read: ")


@pytest.mark.parametrize("kind", ["int8", "uint8", "bool", "int32"])
def test_weights_that_are_no_fractions_are_refused(copy, kind):
    folder = copy()
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if name.endswith("query.weight"))
    save(tensors | {name: np.ones(tensors[name].shape, kind)}, folder / "model.safetensors")
    refuse(folder, "query.weight' of .* holds (I8|U8|BOOL|I32), expected one of F32, F16, BF16, F64")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(copy, number):
    folder = copy()
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if name.endswith("query.bias"))
    save(tensors | {name: np.full(tensors[name].shape, number, np.float32)}, folder / "model.safetensors")
    refuse(folder, "query.bias' of .* holds numbers that are not finite")


def test_weights_of_two_and_of_eight_bytes(copy, tiny_encoder):
    folder = copy()
    tensors = load_file(folder / "model.safetensors")
    save({name: value.astype(np.float64) for name, value in tensors.items()}, folder / "model.safetensors")
    assert load_encoder(folder).fingerprint == tiny_encoder.fingerprint
    save({name: value.astype(np.float16) for name, value in tensors.items()}, folder / "model.safetensors")
    read = load_encoder(folder).weights
    for name, value in tiny_encoder.weights.items():
        np.testing.assert_array_equal(read[name], value.astype(np.float16))


def test_no_tokenizer(copy):
    """transformers makes an empty one, to which all words are unknown."""
    folder = copy()
    for file in ("tokenizer.json", "vocab.txt"):
        (folder / file).unlink()
    refuse(folder, "has no tokenizer: expected tokenizer.json, vocab.txt")


@pytest.mark.parametrize("kept", [slice(0, 5), slice(0, 20), slice(10, None)])
def test_a_vocabulary_that_is_cut(copy, kept):
    folder = copy()
    (folder / "tokenizer.json").unlink()
    words = (folder / "vocab.txt").read_text().splitlines(keepends=True)
    (folder / "vocab.txt").write_text("".join(words[kept]))
    refuse(folder, "tokens for an embedding of 30 rows: its vocabulary is cut|lacks the special token")


@pytest.mark.parametrize("token", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
def test_a_vocabulary_without_a_special_token(copy, token):
    folder = copy()
    (folder / "tokenizer.json").unlink()
    words = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words if word != token))
    refuse(folder, rf"vocab.txt lacks the special token '\{token}'")


def test_a_vocabulary_alone_is_enough(copy, tiny_encoder):
    folder = copy()
    (folder / "tokenizer.json").unlink()
    found, known = (one.tokenize(["the cat has eaten"]) for one in (load_encoder(folder), tiny_encoder))
    np.testing.assert_array_equal(found["token_ids"], known["token_ids"])


def test_a_number_beyond_the_embedding(copy):
    folder = copy()
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"]["run"] = 99
    file.write_text(json.dumps(content))
    refuse(folder, "has 100 tokens, its embedding only 30 rows")


def test_a_setting_that_stands_twice(copy):
    folder = copy()
    file = folder / "config.json"
    file.write_text(file.read_text().replace("{", '{"hidden_size": 16,', 1))
    refuse(folder, "config.json is no JSON that can be read: 'hidden_size' stands there twice")


def test_a_tensor_that_stands_twice_in_the_index(copy):
    folder = copy()
    index = split(folder)
    name = min(index["weight_map"])
    text = json.dumps(index).replace(f'"{name}"', f'"{name}": "model-2.safetensors", "{name}"', 1)
    (folder / "model.safetensors.index.json").write_text(text)
    refuse(folder, f"'{name}' stands there twice")


NEWER = ["camembert", "mpnet", "modernbert", "modernbert-biases", "deberta-v3", "deberta-v2-keys", "nomic", "gte"]


@pytest.mark.parametrize("family", NEWER)
def test_newer_families_in_shards_under_a_prefix_and_in_sixteen_bits(copy, family):
    folder = copy(family)
    whole = load_encoder(str(folder))
    tensors = load_file(folder / "model.safetensors")
    prefix = whole.family.prefix
    save({f"{prefix}.{name}": value for name, value in tensors.items()}, folder / "model.safetensors")
    assert load_encoder(str(folder)).fingerprint == whole.fingerprint
    split(folder)
    assert load_encoder(str(folder)).fingerprint == whole.fingerprint
    for file in folder.glob("model*"):
        file.unlink()
    save({name: value.astype(np.float16) for name, value in tensors.items()}, folder / "model.safetensors")
    tokens = whole.tokenize(["the cat has eaten ."], max_length=32)
    found, exact = load_encoder(str(folder)).hidden_states(tokens), whole.hidden_states(tokens)
    assert 0 < np.abs(found - exact).max() < 0.1


@pytest.mark.parametrize("family", NEWER)
@pytest.mark.parametrize("change", [-1, 1])
def test_every_size_of_newer_families_is_held_against_the_tensors(copy, family, change):
    folder = copy(family)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    names = {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"}
    names |= {"max_position_embeddings"} if family in ("camembert", "mpnet", "deberta-v2-keys") else set()
    for name in sorted(names):
        file.write_text(json.dumps(config | {name: config[name] + change}))
        with pytest.raises(EncoderError) as error:
            load_encoder(str(folder))
        assert "\n" not in str(error.value), name


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("mpnet", {"relative_attention_num_buckets": 16}, r"has shape \(32, 2\), config.json says \(16, 2\)"),
        ("mpnet", {"relative_attention_num_buckets": 31}, "needs an even number from 4 on, below 512, got 31"),
        ("modernbert", {"layer_types": ["full_attention"]}, "needs 'full_attention' or 'sliding_attention' for each"),
        ("modernbert", {"global_attn_every_n_layers": 0}, "global_attn_every_n_layers needs a whole number"),
        ("modernbert", {"local_attention": "128"}, "local_attention needs a whole number from 2 on"),
        ("modernbert", {"global_rope_theta": -1}, "global_rope_theta needs a number above 1"),
        ("modernbert", {"rope_scaling": {"rope_type": "yarn"}}, "and no rope_scaling"),
        (
            "modernbert",
            {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}},
            "says 'yarn', which scales",
        ),
        ("modernbert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("modernbert", {"attention_bias": True}, "lack 'layers.0.attn.Wqkv.bias'"),
        ("modernbert", {"norm_bias": "no"}, "need true or false"),
        ("deberta-v3", {"conv_kernel_size": 3}, "a convolution beside the first block, which is not read"),
        ("deberta-v3", {"relative_attention": False}, "relative_attention needs to be true"),
        ("deberta-v3", {"pos_att_type": "c2p|p2p"}, "pos_att_type knows c2p and p2c"),
        ("deberta-v3", {"norm_rel_ebd": "rms"}, "norm_rel_ebd knows"),
        ("deberta-v3", {"position_buckets": 4}, "has shape"),
        ("deberta-v3", {"share_att_key": False}, "lack 'encoder.layer.0.attention.self.pos_key_proj.weight'"),
        ("deberta-v3", {"position_biased_input": True}, "lack 'embeddings.position_embeddings.weight'"),
        ("deberta-v3", {"attention_head_size": 3}, "attention_head_size needs to be"),
        ("nomic", {"rotary_emb_interleaved": True}, "rotary_emb_interleaved is True; only False is read"),
        ("modernbert", {"rope_parameters": {"full_attention": {"type": "yarn"}}}, "says 'yarn', which scales"),
        ("nomic", {"rope_parameters": {"rope_type": "linear"}}, "scales the rotation"),
        ("nomic", {"rope_parameters": {"type": "linear", "factor": 4.0}}, "says 'linear', which scales"),
        ("nomic", {"activation_function": "geglu"}, "activation_function is 'geglu'; only 'swiglu' is read"),
        ("nomic", {"rope_parameters": "default"}, "rope_parameters needs an object of settings"),
        ("nomic", {"head_dim": 2}, "head_dim needs to be hidden_size / num_attention_heads, and even; got 2"),
        ("modernbert", {"num_attention_heads": 8}, "and even; got 1"),
        ("deberta-v3", {"max_relative_positions": 1}, "position_buckets needs to be from 2"),
        ("deberta-v3", {"position_buckets": 1}, "position_buckets needs to be from 2"),
        ("mpnet", {"relative_attention_num_buckets": 512}, "from 4 on, below 512, got 512"),
        ("gte", {"rope_scaling": {"type": "ntk"}}, "rope_scaling scales the rotation"),
    ],
)
def test_settings_of_newer_families_that_are_not_read(copy, family, change, message):
    folder = copy(family)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    refuse(folder, message)


def test_an_original_nomic_config(copy):
    """The names that GPT-2's configuration has, as nomic-embed-text-v1.5's."""
    folder = copy("nomic")
    file, whole = folder / "config.json", load_encoder(str(folder))
    own = json.loads(file.read_text())
    names = {"n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_embd": "hidden_size"}
    names |= {"n_inner": "intermediate_size", "n_positions": "max_position_embeddings"}
    old = {name: own[newer] for name, newer in names.items()} | {"layer_norm_epsilon": 1e-12, "rotary_emb_base": 1000}
    old |= {
        "activation_function": "swiglu",
        "rotary_emb_fraction": 1.0,
        "rotary_scaling_factor": None,
        "prenorm": False,
    }
    kept = ("model_type", "vocab_size", "type_vocab_size")
    file.write_text(json.dumps({name: own[name] for name in kept} | old))
    assert load_encoder(str(folder)).fingerprint == whole.fingerprint
    file.write_text(json.dumps({name: own[name] for name in kept} | old | {"rotary_emb_base": 5000}))
    assert load_encoder(str(folder)).architecture.base == 5000


def test_a_local_base_that_is_null_is_the_global_one(copy):
    folder = copy("modernbert")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"global_rope_theta": 5e4, "local_rope_theta": None}))
    assert load_encoder(str(folder)).architecture.bases == (5e4, 5e4)


def test_positions_that_both_kinds_of_deberta_config_name_alike(copy):
    """Checkpoints of the hub say `pos_att_type` as one text with a bar."""
    folder = copy("deberta-v3")
    file = folder / "config.json"
    config = json.loads(file.read_text())
    found = load_encoder(str(folder)).fingerprint
    file.write_text(json.dumps(config | {"pos_att_type": "p2c|c2p"}))
    assert load_encoder(str(folder)).fingerprint == found
