"""The tokenizer in the graph: lengths, windows, real texts, a SavedModel, and tokenizers that have no twin."""

import functools
import itertools
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tokenizers import Tokenizer as Backend
from tokenizers import models, processors
from transformers import PreTrainedTokenizerFast

from bertvision_tf.encoders import load_encoder
from bertvision_tf.encoders.tokenizer import Tokenizer
from bertvision_tf.errors import EncoderError
from bertvision_tf.serving import GraphTokenizer
from bertvision_tf.tasks import get_task
from tests.conftest import CHECKPOINTS
from tests.serving.twins import (
    ODD,
    SIZES,
    Twins,
    assert_same,
    build_mpnet_tokenizer,
    build_tokenizer,
    compare_windows,
    encode,
)


@pytest.fixture(scope="module")
def twins(minilm):
    return Twins(minilm.tokenizer)


@pytest.fixture(scope="module")
def framed(twins):
    """Twins by the tokens around their texts."""
    return {"BERT's": twins, "RoBERTa's": Twins(build_mpnet_tokenizer(["who", "cat"]))}


FRAMES = pytest.mark.parametrize("frame", ["BERT's", "RoBERTa's"])


@FRAMES
def test_pairs_are_cut_alike_at_every_length(framed, frame):
    twins = framed[frame]
    lengths = list(itertools.product(range(13), repeat=2))
    first, second = (["cat " * pair[side] for pair in lengths] for side in (0, 1))
    for max_length in range(len(twins.fast.tokenize([""], [""], 8).token_ids), 16):
        assert_same(
            twins.graph.tokenize(encode(first), encode(second), max_length),
            twins.fast.tokenize(first, second, max_length).pad(),
        )
        assert_same(
            twins.graph.tokenize(encode(first), None, max_length), twins.fast.tokenize(first, None, max_length).pad()
        )


@FRAMES
def test_windows_are_cut_alike_at_every_length(framed, frame):
    twins = framed[frame]
    for context, stride in itertools.product(range(0, 26, 2), range(4)):
        sizes = {"max_length": 14, "stride": stride, "question_length": 4}
        questions, contexts = ["who " * count for count in range(7)], ["cat " * context] * 7
        found = twins.graph.tokenize_windows(encode(questions), encode(contexts), **sizes)
        compare_windows(found, twins.fast.tokenize_windows(questions, contexts, **sizes))


def test_a_question_whose_part_has_more_tokens_is_cut_again(twins):
    """A syllable of Korean is up to three tokens, which begin and end at the same characters."""
    questions = ["한" * count + "?" for count in range(12)]
    again, _ = twins.fast._shorten(questions, 4)
    assert again[-1] == "한" and twins.fast.tokenize(["한" * 2], None, 9).lengths == 8
    for length in range(1, 9):
        sizes = {"max_length": 20, "stride": 2, "question_length": length}
        found = twins.graph.tokenize_windows(encode(questions), encode(questions), **sizes)
        compare_windows(found, twins.fast.tokenize_windows(questions, questions, **sizes))


@pytest.mark.parametrize("task", ["cola", "mrpc", "rte", "stsb"])
@pytest.mark.parametrize("split", ["train", "dev"])
def test_real_texts(twins, real_data, task, split):
    rows = get_task(task).load(split, real_data / "glue")
    for start in range(0, len(rows), 256):
        batch = slice(start, start + 256)
        twins.check(rows.texts[batch], None if rows.text_pairs is None else rows.text_pairs[batch])


@pytest.mark.parametrize("split", ["train", "dev"])
@pytest.mark.parametrize("part", range(8))
def test_real_questions_and_answers_cut_out_in_the_graph(twins, real_data, split, part):
    rows = get_task("squad2").load(split, real_data / "squad")
    questions, contexts = rows.texts[part::8], rows.text_pairs[part::8]
    found = twins.graph.tokenize_windows(encode(questions), encode(contexts))
    expected = twins.fast.tokenize_windows(questions, contexts, 384, 128, 64)
    compare_windows(found, expected)
    assert len(expected) > len(questions) > 300
    begins, ends = tf.unstack(found["char_offsets"], axis=-1)
    last = tf.reduce_sum(found["padding_mask"], axis=1) - 2  # before the last [SEP]
    first = tf.argmax(begins >= 0, axis=1, output_type=tf.int32)
    begin, end = tf.gather(begins, first, batch_dims=1), tf.gather(ends, last, batch_dims=1)
    owners = found["questions"]
    cut = tf.strings.substr(tf.gather(encode(contexts), owners), begin, end - begin, unit="UTF8_CHAR")
    for text, owner, a, b in zip(cut.numpy(), owners.numpy(), begin.numpy(), end.numpy(), strict=True):
        assert text.decode() == contexts[owner][a:b] != ""


def test_buckets(twins):
    rows = ["cat", "cat " * 20]
    expected = twins.fast.tokenize(rows, None, 64).pad()
    for buckets, width in (([32, 64], 32), ([22], 22), ([8, 16], 64), ([128], 64), ([], 22)):
        found = twins.graph.tokenize(encode(rows), None, 64, buckets)
        assert_same(found, {name: np.pad(values, [(0, 0), (0, width - 22)]) for name, values in expected.items()})
    for buckets, width in (([10, 20], 20), ([], 16)):
        found = twins.graph.tokenize_windows(encode(["who"]), encode(["cat " * 12]), 32, 4, 8, buckets)
        assert found["token_ids"].shape == (1, width) and found["char_offsets"].shape == (1, width, 2)


def test_no_texts(twins):
    assert twins.single(encode([]))["token_ids"].shape == (0, 1)
    assert twins.windows(encode([]), encode([]))["char_offsets"].shape == (0, 1, 2)


LOAD = """
import sys
import unicodedata
import numpy as np, tensorflow as tf, tensorflow_text
model = tf.saved_model.load(sys.argv[1])
texts = np.load(sys.argv[2])
found = model.signatures["windows"](questions=tf.constant(texts), contexts=tf.constant(texts))
np.savez(sys.argv[3], **model.signatures["serving_default"](texts=tf.constant(texts)), offsets=found["char_offsets"])
assert not {"transformers", "tokenizers", "bertvision_tf", "keras_hub"} & set(sys.modules)
"""


def test_a_saved_model_needs_nothing_else(twins, tmp_path):
    module = tf.Module()
    module.graph = twins.graph
    named = functools.partial(tf.TensorSpec, [None], tf.string)
    module.single = tf.function(twins.graph.tokenize, input_signature=[named("texts")])
    module.windows = tf.function(
        lambda questions, contexts: twins.graph.tokenize_windows(questions, contexts, **SIZES),
        input_signature=[named("questions"), named("contexts")],
    )
    signatures = {"serving_default": module.single, "windows": module.windows}
    tf.saved_model.save(module, tmp_path / "model", signatures)
    rows = list(ODD.values())
    np.save(tmp_path / "texts.npy", np.array([row.encode() + b"." for row in rows]))  # numpy drops a last zero
    files = [str(tmp_path / name) for name in ("model", "texts.npy", "found.npz")]
    done = subprocess.run([sys.executable, "-c", LOAD, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, rows = np.load(files[2]), [row + "." for row in rows]
    assert_same({name: tf.constant(found[name]) for name in found}, twins.fast.tokenize(rows, None, 128).pad())
    expected = twins.fast.tokenize_windows(rows, rows, **SIZES)
    offsets = found["offsets"][expected.pad()["padding_mask"].astype(bool)]
    np.testing.assert_array_equal(offsets, expected.char_offsets)


@pytest.mark.parametrize("name", ["distilbert", "electra", "bert-gelu-eps1e-12-segments2", "mpnet"])
def test_families_that_have_a_twin(name):
    tokenizer = load_encoder(str(CHECKPOINTS / name)).tokenizer
    rows = ["the cats have eaten .", "She Can NOT run, [MASK]"]
    assert_same(GraphTokenizer(tokenizer).tokenize(encode(rows)), tokenizer.tokenize(rows, None, 128).pad())


@pytest.mark.parametrize("kind", ["BPE", "Unigram"])
def test_families_that_have_none(kind):
    tokenizer = load_encoder(str(CHECKPOINTS / "roberta")).tokenizer
    if kind == "Unigram":
        tokenizer = Tokenizer(PreTrainedTokenizerFast(tokenizer_object=Backend(models.Unigram([("a", 0.0)], 0))))
    with pytest.raises(EncoderError, match=f"{kind}.*serve_tokens only") as error:
        GraphTokenizer(tokenizer)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "added", "message"),
    [
        (["cat"], ["[NEW]"], r"'\[NEW\]' is none"),
        (["cat", "a-", "-b"], ["a-", "-b"], "where 'a-' ends and '-b' begins"),
        (["cat", "ca"], ["cat", "ca"], "where 'cat' ends and 'ca' begins"),
        (["cat", "a\n"], ["a\n"], "is none"),
        (["cat", "##a"], ["##a"], "is none"),
        (["a" * 101], ["a" * 101], "is none"),
    ],
)
def test_vocabularies_that_have_none(words, added, message):
    with pytest.raises(EncoderError, match=f"{message}.*serve_tokens only") as error:
        GraphTokenizer(build_tokenizer(words, added=added))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [{"clean": False}, {"prefix": "%%"}, {"unknown": "[NONE]"}])
def test_settings_that_have_none(change):
    with pytest.raises(EncoderError, match="serve_tokens only"):
        GraphTokenizer(build_tokenizer(["cat"], **change))


def test_a_space_before_a_token_that_takes_spaces_has_none():
    with pytest.raises(EncoderError, match=r"one space before.*serve_tokens only"):
        GraphTokenizer(build_mpnet_tokenizer(["cat"], prefix=True))


def test_offsets_are_trimmed_by_a_processor_of_a_sequence_too():
    tokenizer = build_mpnet_tokenizer(["who", "cat"])
    backend = tokenizer._fast.backend_tokenizer
    backend.post_processor = processors.Sequence([backend.post_processor])
    Twins(tokenizer).check_windows(["who"], ["cat  <mask> cat"])


@FRAMES
def test_no_room_for_the_special_tokens(framed, frame):
    twins = framed[frame]
    for pairs in (None, [""]):
        least = len(twins.fast.tokenize([""], pairs, 8).token_ids)
        with pytest.raises(EncoderError, match=f"too short: the special tokens alone are {least}"):
            twins.graph.tokenize(encode(["cat"]), None if pairs is None else encode(["cat"]), least - 1)


def test_texts_without_a_frame_have_none():
    tokenizer = build_tokenizer(["cat"])
    tokenizer._fast.backend_tokenizer.post_processor = processors.Sequence([])
    with pytest.raises(EncoderError, match=r"one after the last.*serve_tokens only"):
        GraphTokenizer(tokenizer)


def test_no_room_to_move_on(twins):
    with pytest.raises(EncoderError, match="leaves 7 tokens to a context"):
        twins.graph.tokenize_windows(encode(["Who?"]), encode(["The cat."]), 74, 8, 64)
