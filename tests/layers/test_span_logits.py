"""Which positions a span may begin or end at."""

import numpy as np
import pytest

from bertvision_tf.heads import build_head
from bertvision_tf.layers.span_logits import PADDING_LOGIT, SpanLogits

# [CLS] q q [SEP] c c c [SEP], and the same with one token less, padded
MASK = np.array([[1] * 8, [1] * 7 + [0]])
SEGMENTS = np.array([[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 0]])
OPEN = np.array([[1, 0, 0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 1, 1, 0, 0]], bool)


def test_only_the_context_and_the_first_token_are_open():
    logits = np.random.default_rng(0).normal(size=(2, 8, 2)).astype("float32")
    found = SpanLogits()(logits, MASK, SEGMENTS)
    for name, column in (("start_logits", 0), ("end_logits", 1)):
        values = np.array(found[name])
        assert (values[~OPEN] == PADDING_LOGIT).all()
        assert np.array_equal(values[OPEN], logits[..., column][OPEN])


def test_without_segments_only_padding_is_closed():
    found = np.array(SpanLogits()(np.zeros((2, 8, 2), "float32"), MASK)["start_logits"])
    assert np.array_equal(found == PADDING_LOGIT, MASK == 0)


def test_an_empty_row_has_no_open_position():
    found = np.array(SpanLogits()(np.zeros((1, 4, 2), "float32"), np.zeros((1, 4)), np.zeros((1, 4)))["end_logits"])
    assert (found == PADDING_LOGIT).all()


@pytest.mark.parametrize("given", [True, False])
def test_a_head_takes_segments_or_leaves_them(given, tmp_path):
    import keras

    head = build_head("learned_pooling", num_hidden_states=3, hidden_dim=4, kind="span")
    images = {
        "hidden_states": np.random.default_rng(0).normal(size=(2, 3, 8, 4)).astype("float32"),
        "padding_mask": MASK,
    }
    if given:
        images["segment_ids"] = SEGMENTS
    closed = ~OPEN if given else MASK == 0
    assert np.array_equal(np.array(head(images)["start_logits"]) == PADDING_LOGIT, closed)
    head.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    assert np.array_equal(np.array(again(images)["end_logits"]), np.array(head(images)["end_logits"]))
    assert np.array_equal(
        np.array(again.predict(images, verbose=0)["end_logits"]), np.array(head(images)["end_logits"])
    )
