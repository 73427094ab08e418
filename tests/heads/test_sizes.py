"""The sizes of heads, at BERT-large's image as published, and the sizes and kinds that are refused."""

import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.heads import PRESETS, build_head

LAYERS, HIDDEN = 3, 4

CLASSIFICATION_SIZES = {
    "learned_pooling": 2_077,
    "learned_pooling_adapter_386_skip": 398_499,
    "average_pooling_adapter_386_skip": 398_472,
    "last_layer": 2_050,
    "adapter_16_shared_flat": 1024 * 16 + 16 + 26 * 16 * 2 + 2,
    "conv1x1_adapter_16_residual": 2 * 1024 * 16 + 16 + 1024 + 2_077,
    "detect_parts": 26 * 1024 + 1024 * 128 + 3 * 128 + 26 * 128 * 2 + 2,
    "learned_pooling_attention": 2_077 + 1024,
}
# Total and trainable: batch normalisation keeps statistics too.
XCEPTION_SIZES = {
    "xception": (20_716_634, 20_662_106),
    "xception_abbreviated": (267_010, 264_066),
    "xception_abbreviated_skip": (269_058, 266_114),
}
SPAN_SIZES = {
    "learned_pooling": 2_076,
    "adapter_64_shared": 68_802,
    "adapter_64_shared_skip": 70_850,
    "adapter_64_unshared": 1_643_202,
    "adapter_64_unshared_skip": 1_645_250,
    "adapter_386_shared": 414_952,
    "adapter_386_shared_skip": 417_000,
    "adapter_386_unshared": 9_910_552,
    "adapter_386_unshared_skip": 9_912_600,
    "learned_pooling_adapter_386_skip": 398_498,
}


UNPUBLISHED = {"average_pooling", "conv1x1_adapter_64_residual", "comparison_adapter_64"} | {
    "comparison_adapter_64_similarity_8",
    "standardized_adapter_64_shared",
    "standardized_vision_MobileNetV3Small",
    "standardized_vision_MobileNetV3Small_hidden",
}
# Published as a share of BERT-large's 335,141,888 weights only.
SPAN_SHARES = {
    "adapter_386_shared_skip_pooled_branch": 0.242,
    "cnn_1x5_64": 0.099,
    "cnn_1x5_64_dilated": 0.121,
    "learned_pooling_cnn_1x5_60": 0.093,
    "average_pooling_cnn_1x5_60": 0.093,
    "learned_pooling_adapter_386_cnn_1x5_154": 0.207,
    "learned_pooling_adapter_386_cnn_3x3_206": 0.332,
    "learned_pooling_adapter_386_xception": 1.970,
    "learned_pooling_adapter_386_inception": 1.994,
}


def count_trainable(head):
    return sum(int(np.prod(weight.shape)) for weight in head.trainable_weights)


@pytest.mark.parametrize(("name", "size"), CLASSIFICATION_SIZES.items())
def test_classification_sizes_at_bert_large(name, size):
    head = build_head(name, num_hidden_states=26, hidden_dim=1024, num_tokens=1, num_outputs=2)
    assert count_trainable(head) == head.count_params() == size


@pytest.mark.parametrize(("name", "sizes"), XCEPTION_SIZES.items())
def test_xception_sizes_at_bert_large(name, sizes):
    head = build_head(name, num_hidden_states=26, hidden_dim=1024, num_tokens=1)
    assert (head.count_params(), count_trainable(head)) == sizes


@pytest.mark.parametrize(("name", "share"), SPAN_SHARES.items())
def test_span_shares_of_bert_large(name, share):
    head = build_head(name, num_hidden_states=25, hidden_dim=1024, num_tokens=386, kind="span")
    assert count_trainable(head) / 335_141_888 == pytest.approx(share / 100, rel=0.05)
    assert head.output["start_logits"].shape == (None, 386)


def test_every_preset_is_listed_with_a_size():
    sized = {*CLASSIFICATION_SIZES, *SPAN_SIZES, *XCEPTION_SIZES, *SPAN_SHARES}
    assert set(PRESETS) - sized == UNPUBLISHED


@pytest.mark.parametrize(("name", "size"), SPAN_SIZES.items())
def test_span_sizes_at_bert_large(name, size):
    head = build_head(name, num_hidden_states=25, hidden_dim=1024, num_tokens=386, num_outputs=2, kind="span")
    assert count_trainable(head) == head.count_params() == size
    assert {key: value.shape for key, value in head.output.items()} == {
        "start_logits": (None, 386),
        "end_logits": (None, 386),
    }


def test_kinds_have_their_number_of_outputs():
    sizes = {"num_hidden_states": LAYERS, "hidden_dim": HIDDEN}
    assert build_head("last_layer", **sizes).output.shape == (None, 2)
    assert build_head("last_layer", num_outputs=3, **sizes).output.shape == (None, 3)
    assert build_head("last_layer", kind="regression", **sizes).output.shape == (None, 1)
    assert build_head("last_layer", num_outputs=1, **sizes).name == "last_layer"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "adapter_8_shared_flat"}, "flattens its tokens needs their number: set `num_tokens`"),
        (
            {"head": "adapter_eight_shared"},
            "No head is named 'adapter_eight_shared'. Near it: adapter_64_shared",
        ),
        ({"kind": "ranking"}, "`kind` needs one of classification, regression, span, got 'ranking'"),
        ({"kind": "span", "num_outputs": 3}, "A span head has `num_outputs=2`, got 3"),
        ({"kind": "regression", "num_outputs": 2}, "A regression head has `num_outputs=1`, got 2"),
        ({"num_outputs": 0}, "`num_outputs` needs a whole number above 0, got 0"),
        ({"num_hidden_states": None}, "`num_hidden_states` needs a whole number above 0, got None"),
        ({"num_tokens": 0}, "`num_tokens` needs a whole number above 0, got 0"),
    ],
)
def test_errors_when_it_is_built(options, message):
    options = {"head": "last_layer", "num_hidden_states": LAYERS, "hidden_dim": HIDDEN, **options}
    with pytest.raises(HeadError) as error:
        build_head(options.pop("head"), **options)
    assert message in str(error.value)
