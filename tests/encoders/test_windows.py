"""Windows of contexts: what they hold, where their tokens stand, and answers there and back."""

import itertools

import numpy as np
import pytest

from bertvision_tf.encoders import choose_windows, load_encoder
from bertvision_tf.errors import EncoderError
from bertvision_tf.spans import decode_answers, locate_answers, read_texts
from bertvision_tf.tasks import get_task
from tests.conftest import CHECKPOINTS

ODD = {
    "none": "",
    "short": "Cats eat.",
    "right to left": "החתול אוכל את הדג בבית",
    "emoji": "🙂 the cat 👩‍👩‍👧 eats 🇩🇪 fish",
    "html": "<p>The <b>cat</b> &amp; the dog</p>",
    "accents": "naïve Ångström café e\u0301",
    "long": "the cat eats . " * 5000,
}


@pytest.mark.parametrize("context", ODD.values(), ids=ODD)
def test_every_character_that_has_a_token_is_in_its_place(minilm, context):
    windows = minilm.tokenize_windows(["Who eats?"], [context], max_length=64, stride=16, question_length=16)
    assert (windows.questions == 0).all() and len(windows.questions) == len(windows)
    inside = windows.char_offsets[:, 0] >= 0
    begins, ends = windows.char_offsets[inside].T
    assert (begins < ends).all() and ends.max(initial=0) <= len(context)
    covered = np.zeros(len(context) + 1, bool)
    for begin, end in zip(begins, ends, strict=True):
        covered[begin:end] = True
    lost = "".join(character for character, there in zip(context, covered, strict=False) if not there)
    assert not lost.strip(" \u200d\ufe0f\u0301")  # of white space, joiners and marks there are no tokens
    words = minilm.tokenizer.to_words(windows.token_ids[inside])
    for word, begin, end in zip(words, begins, ends, strict=True):
        if word.isascii() and word.isalpha() and context.isascii():
            assert context[begin:end].lower() == word


def test_windows_overlap_and_hold_everything(minilm):
    context = " ".join(f"w{number}" for number in range(300))
    windows = minilm.tokenize_windows(
        ["Who?", "Where?"], [context, "There."], max_length=48, stride=10, question_length=8
    )
    assert windows.lengths.max() <= 48 and windows.questions.tolist()[-1] == 1
    own = [
        windows.char_offsets[windows.offsets[place] : windows.offsets[place + 1]] for place in range(len(windows) - 1)
    ]
    own = [part[part[:, 0] >= 0] for part in own]
    for before, after in itertools.pairwise(own):
        assert np.array_equal(before[-10:], after[:10])
    assert own[0][0, 0] == 0 and own[-1][-1, 1] == len(context)


def test_each_window_begins_with_its_question(minilm):
    windows = minilm.tokenize_windows(["Who eats fish?"], ["the cat " * 100], max_length=32, stride=8)
    alone = minilm.tokenize_rows(["Who eats fish?"]).token_ids
    for place in range(len(windows)):
        rows = slice(windows.offsets[place], windows.offsets[place + 1])
        assert np.array_equal(windows.token_ids[rows][: len(alone)], alone)
        segments, inside = windows.segment_ids[rows], windows.char_offsets[rows][:, 0] >= 0
        assert np.array_equal(segments[:-1] == 1, inside[:-1]) and not inside[-1] and segments[-1] == 1


def test_a_long_question_is_cut_and_counted(minilm):
    windows = minilm.tokenize_windows(
        ["who " * 50, "Who?"], ["The cat.", "The cat."], max_length=40, stride=4, question_length=8
    )
    assert windows.truncated == 1
    assert (windows.segment_ids[: windows.offsets[1]] == 0).sum() == 8 + 2
    assert len(windows) == 2


@pytest.mark.parametrize(("max_length", "stride"), [(64, 0), (80, 128), (75, 8), (100, -1)])
def test_no_room_to_move_on(minilm, max_length, stride):
    with pytest.raises(EncoderError, match=f"leaves {max_length - 67} tokens to a context beside 64 of the question"):
        minilm.tokenize_windows(["Who?"], ["The cat."], max_length, stride, 64)


@pytest.mark.parametrize(("max_length", "chosen"), [(384, (128, 64)), (512, (128, 64)), (128, (38, 32)), (12, (3, 3))])
def test_short_windows_share_less(minilm, max_length, chosen):
    assert choose_windows(max_length) == chosen
    assert choose_windows(max_length, 1, 2) == (1, 2)
    assert len(minilm.tokenize_windows(["Who?"], ["The cat eats. " * 50], max_length)) > 1 or max_length > 200


@pytest.mark.parametrize("family", ["roberta", "albert", "distilbert", "electra", "xlm-roberta"])
def test_every_family_tells_context_from_question(family):
    encoder = load_encoder(str(CHECKPOINTS / family))
    context = "the cat has a dog . she eats the bird ."
    windows = encoder.tokenize_windows(["who eats ?"], [context], max_length=30, stride=4, question_length=10)
    for place in range(len(windows)):
        rows = slice(windows.offsets[place], windows.offsets[place + 1])
        inside = np.flatnonzero(windows.char_offsets[rows][:, 0] >= 0)
        segments = np.flatnonzero(windows.segment_ids[rows] == 1)
        assert segments.tolist() == [*inside.tolist(), inside[-1] + 1]  # and the special token that ends it
        assert inside[-1] + 1 == windows.lengths[place] - 1
    cat = context.index("cat")
    spans = locate_answers(windows.offsets, windows.questions, windows.char_offsets, [(cat, cat + 3)])
    assert spans[0].any()


def test_nothing_in_nothing_out(minilm):
    assert len(minilm.tokenize_windows([], [])) == 0


def test_real_answers_there_and_back(minilm, real_data):
    """Of the train questions whose answer fits a window 0.7% do not come back: their answers begin or end in a word,
    or a number, that is one token."""
    rows = get_task("squad2").load("train", real_data / "squad")
    windows = minilm.tokenize_windows(rows.texts, rows.text_pairs)
    answers = [(own[0].start, own[0].start + len(own[0].text)) if own else None for own in rows.answers]
    spans = locate_answers(windows.offsets, windows.questions, windows.char_offsets, answers)
    fits = np.zeros(len(rows), bool)
    fits[windows.questions[spans[:, 0] > 0]] = True
    assert fits.sum() == 4371  # every one
    logits = np.zeros((len(windows.token_ids), 2), np.float32)
    logits[windows.offsets[:-1] + spans[:, 0], 0] = logits[windows.offsets[:-1] + spans[:, 1], 1] = 5
    found = decode_answers(
        logits, windows.offsets, windows.questions, windows.char_offsets, rows.text_pairs, longest=384, best=1
    )
    texts = read_texts(found, rows.text_pairs)
    lost = [row for row in np.flatnonzero(fits) if texts[row] != rows.answers[row][0].text]
    assert len(lost) == 29
    for row in lost:
        answer, context = rows.answers[row][0], rows.text_pairs[row]
        assert answer.text in texts[row]
        edges = [
            (answer.start - 1, answer.start),
            (answer.start + len(answer.text) - 1, answer.start + len(answer.text)),
        ]
        assert any(context[before].isalnum() and context[after].isalnum() for before, after in edges)
