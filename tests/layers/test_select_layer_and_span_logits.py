import keras
import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import SelectLayer, SpanLogits

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("index", [0, 1, -1])
def test_select_layer_against_numpy(index):
    image = RNG.normal(size=(2, 3, 5, 4)).astype("float32")
    np.testing.assert_array_equal(SelectLayer(index)(image), image[:, index])


def test_span_logits_close_padding_in_float32():
    logits = RNG.normal(size=(2, 4, 2)).astype("float32")
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 0]])
    with_policy = SpanLogits(dtype="mixed_bfloat16")
    outputs = with_policy(logits, mask)
    assert with_policy.compute_dtype == "float32"
    for i, name in enumerate(("start_logits", "end_logits")):
        np.testing.assert_array_equal(outputs[name], np.where(mask == 1, logits[..., i], np.float32(-1e9)))
        shares = np.asarray(keras.ops.softmax(outputs[name]))
        np.testing.assert_array_equal(shares[0, 2:], 0)
        np.testing.assert_allclose(shares[1], 0.25)  # padding alone: even shares, no NaN


def test_span_logits_are_two():
    with pytest.raises(HeadError, match=r"`logits` needs 3 axes \(batch, tokens, 2\), got shape \(2, 4, 3\)"):
        SpanLogits()(np.zeros((2, 4, 3), "float32"), np.ones((2, 4)))
