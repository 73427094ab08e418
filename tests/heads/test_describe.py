"""What heads weigh and cost, against sums by hand, and their words."""

import pytest

from bertvision_tf.heads import PRESETS, HeadConfig, describe_head, measure_head
from bertvision_tf.heads.presets import SOLVED

LAYERS, HIDDEN, TOKENS = 3, 12, 5
SIZES = {"num_hidden_states": LAYERS, "hidden_dim": HIDDEN, "num_tokens": TOKENS}
CELLS = LAYERS * TOKENS
COSTS = {
    "last_layer": HIDDEN * 2,
    "average_pooling": HIDDEN * 2,
    "learned_pooling": HIDDEN * 2,
    "adapter_4_shared": CELLS * HIDDEN * 4 + LAYERS * 4 * 2,
    "adapter_4_unshared": CELLS * HIDDEN * 4 + LAYERS * 4 * 2,
    "adapter_4_shared_skip": CELLS * HIDDEN * 4 + (LAYERS * 4 + HIDDEN) * 2,
    "conv1x1_adapter_4_residual": 2 * CELLS * HIDDEN * 4 + CELLS * HIDDEN + HIDDEN * 2,
    "cnn_1x3_4": CELLS * HIDDEN * 3 * 4 + LAYERS * 4 * 2,
    "cnn_3x3_4": CELLS * HIDDEN * 9 * 4 + LAYERS * 4 * 2,
    "detect_parts_4": CELLS * HIDDEN * 4 + LAYERS * 4 * 2,
    "adapter_4_shared_flat": CELLS * HIDDEN * 4 + CELLS * 4 * 2,
}


@pytest.mark.parametrize(("name", "cost"), COSTS.items())
def test_multiply_adds(name, cost):
    size = measure_head(name, num_hidden_states=LAYERS, hidden_dim=HIDDEN, num_tokens=TOKENS)
    assert size.multiply_adds == cost


def test_depthwise_convolutions_are_counted():
    size = measure_head("xception_abbreviated", num_hidden_states=LAYERS, hidden_dim=HIDDEN, num_tokens=1)
    stem = 4 * 3 * LAYERS * 64 + 2 * 3 * 64 * 128  # widths 4 and 2
    block = 2 * (3 * 128 + 128 * 256) + 2 * (3 * 256 + 256 * 512) + 1 * 128 * 512
    assert size.multiply_adds == stem + block + 512 * 2


def test_convolutions_on_the_picture_of_cosines_are_counted():
    narrow, wide = (measure_head(f"comparison_adapter_4_similarity_{width}", **SIZES) for width in (4, 8))
    cells, outputs = 40 * 24, 2
    more = cells * 9 * (LAYERS + 1) * (8 - 4) + cells * 9 * (8 * 8 - 4 * 4) + 4 * (8 - 4) * outputs
    assert wide.multiply_adds - narrow.multiply_adds == more


@pytest.mark.parametrize("name", [name for name in (*PRESETS, *SOLVED) if "vision" not in name])
def test_every_preset_is_measured(name):
    size = measure_head(name, **SIZES | {"hidden_dim": 16})
    assert size.trainable_parameters > 0 and (size.multiply_adds > 0 or name == "kernel_all_layers")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_words_of_its_own(name):
    words = describe_head(name)
    assert "\n" not in words
    assert len(words) > 10
    assert [describe_head(other) for other in PRESETS].count(words) == 1


def test_words_follow_the_config():
    config = HeadConfig(standardize=True, layer_dropout=0.25, adapter_dim=8, token_pooling="max")
    assert describe_head(config) == (
        "each (layer, channel) on one scale, whole layers dropped (25%), an adapter of 8, the largest over the tokens"
    )
