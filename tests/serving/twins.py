"""A fast tokenizer and its twins in graphs, side by side."""

import numpy as np
import tensorflow as tf
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from bertvision_tf.encoders.tokenizer import Tokenizer
from bertvision_tf.serving import GraphTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = tf.TensorSpec([None], tf.string)
SIZES = {"max_length": 32, "stride": 5, "question_length": 9}
ODD = {
    "special tokens": "[CLS]the[SEP] [MASK][SEP][ SEP][SE[SEP]P] [sep] [UNK][PAD]",
    "controls": "a\0b\ufffdc\u200bd\x85e\x1cf\x7fg\u00adh\ufeffi\u2028j\u00a0k\u3000l\r\n\tm",
    "case": "ΑΣ Σ ΣΑΣ. İstanbul ISTANBUL ǅ ﬀ ẞ Straße \u1e9e K Å",
    "accents": "é e\u0301 \u0301 ñ\u0303\u0327 ṩ ậ \u0344 ǖ",
    "marks that stay": "a\u0301\U0001d165\u302e\ua9c0 \u302e\ua9c0[SEP]\u302e\ua9c0\u0316\0\u302e 𝅗𝅥 \U0001d15e",
    "korean": "안녕하세요 \u1112\u1161\u11ab ㄱ",
    "chinese": "中文字 㐀x\uf900 豈 𠀀 ひらがなカタカナ",
    "punctuation": "don't—stop… $5+3=8 ~`^ «¿¡» 「」 ٪ ؟ 𐤟",
    "long words": "a" * 100 + " " + "a" * 101 + " " + "é" * 100 + " " + "\u0301" * 300 + "b " + "x" * 5000,
    "emoji": "🙂 👩‍👩‍👧 🇩🇪 ❤\ufe0f 1\ufe0f\u20e3",
    "beyond": "\U0010ffff\U0010fffe\ue000\U000f0000\u0378\U000e0001",
    "none": "",
    "white": " \n\t\u2003 ",
}


def build_tokenizer(words, clean=True, chinese=True, strip=None, lower=True, added=(), prefix="##", unknown="[UNK]"):
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL, *words]))}
    backend = Backend(models.WordPiece(vocabulary, unk_token=unknown, continuing_subword_prefix=prefix))
    backend.normalizer = normalizers.BertNormalizer(clean, chinese, strip, lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.add_special_tokens([*SPECIAL, *added])
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]"))


ROBERTA_FRAME = ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"]


def build_mpnet_tokenizer(words, lower=True, trims=True, prefix=False):
    """WordPiece in RoBERTa's frame, with the flags that all-mpnet-base-v2 has."""
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys([*ROBERTA_FRAME, *words]))}
    backend = Backend(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lower)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trims, prefix)
    flags = {"<unk>": {"normalized": True}, "<mask>": {"lstrip": True, "normalized": False}}
    backend.add_special_tokens([AddedToken(word, **flags.get(word, {"normalized": False})) for word in ROBERTA_FRAME])
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>"))


class Twins:
    """A fast tokenizer and its graphs."""

    def __init__(self, tokenizer):
        self.fast, self.graph = tokenizer, GraphTokenizer(tokenizer)
        self.single = tf.function(self.graph.tokenize, input_signature=[TEXTS])
        self.pair = tf.function(self.graph.tokenize, input_signature=[TEXTS, TEXTS])
        self.windows = tf.function(
            lambda first, second: self.graph.tokenize_windows(first, second, **SIZES), input_signature=[TEXTS, TEXTS]
        )

    def check(self, texts, pairs=None):
        expected = self.fast.tokenize(texts, pairs, 128).pad()
        found = self.single(encode(texts)) if pairs is None else self.pair(encode(texts), encode(pairs))
        assert_same(found, expected)

    def check_windows(self, questions, contexts):
        expected = self.fast.tokenize_windows(questions, contexts, **SIZES)
        found = self.windows(encode(questions), encode(contexts))
        compare_windows(found, expected)


def encode(texts):
    return tf.constant([text.encode() for text in texts], tf.string)


def assert_same(found, expected):
    for name, values in expected.items():
        assert found[name].dtype == tf.int32
        np.testing.assert_array_equal(found[name], values, strict=True)


def compare_windows(found, expected):
    padded = expected.pad()
    assert_same({name: found[name] for name in padded}, padded)
    np.testing.assert_array_equal(found["questions"], expected.questions)
    mask, offsets = padded["padding_mask"].astype(bool), found["char_offsets"].numpy()
    np.testing.assert_array_equal(offsets[mask], expected.char_offsets)
    assert (offsets[~mask] == -1).all()
