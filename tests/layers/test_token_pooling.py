import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import TokenPooling
from bertvision_tf.layers.token_pooling import MODES

IMAGE = np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]])


def pool(cells, mode):
    """One layer of one example, real tokens only, in plain numpy: (real tokens, channels) to (channels,)."""
    if mode == "flat":
        return np.concatenate([cells.ravel(), np.zeros((5 - len(cells)) * 4)])
    if len(cells) == 0:
        return np.zeros(12 if mode == "mean_max_cls" else 4)
    if mode == "mean_max_cls":
        return np.concatenate([cells.mean(axis=0), cells.max(axis=0), cells[0]])
    return {"mean": cells.mean(axis=0), "max": cells.max(axis=0), "cls": cells[0]}[mode]


def expected(mode, image=IMAGE, mask=MASK):
    return np.array(
        [[pool(row[real == 1], mode) for row in example] for example, real in zip(image, mask, strict=True)]
    )


@pytest.mark.parametrize("mask_dtype", ["int32", "bool", "float32"])
@pytest.mark.parametrize("mode", MODES)
def test_an_image_against_numpy(mode, mask_dtype):
    np.testing.assert_allclose(TokenPooling(mode)(IMAGE, MASK.astype(mask_dtype)), expected(mode), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_one_layer_against_numpy(mode):
    np.testing.assert_allclose(TokenPooling(mode)(IMAGE[:, 0], MASK), expected(mode)[:, 0], atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_no_mask_means_every_token_is_real(mode):
    whole = expected(mode, mask=np.ones_like(MASK))
    np.testing.assert_allclose(TokenPooling(mode)(IMAGE), whole, atol=1e-6)
    np.testing.assert_allclose(TokenPooling(mode)(IMAGE[:, 1]), whole[:, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("noise", [7.0, np.inf, np.nan])
@pytest.mark.parametrize("mode", MODES)
def test_padded_cells_never_reach_the_output(mode, noise, dtype):
    noisy = np.where(MASK[:, None, :, None] == 1, IMAGE, noise).astype("float32")
    pooling = TokenPooling(mode, dtype=dtype)
    clean = np.asarray(pooling(IMAGE, MASK)).astype("float32")
    np.testing.assert_array_equal(np.asarray(pooling(noisy, MASK)).astype("float32"), clean)
    np.testing.assert_array_equal(clean[2], 0)


def test_the_mean_is_summed_in_float32_under_half_precision():
    many = np.full((1, 1, 4096, 1), 1.0, "float32")
    many[0, 0, 0] = 512.0  # a running sum in bfloat16 would stay at 512
    mean = TokenPooling("mean", dtype="mixed_bfloat16")(many, np.ones((1, 4096)))
    assert float(mean[0, 0, 0]) == pytest.approx((4095 + 512) / 4096, rel=4e-3)


def test_errors():
    with pytest.raises(HeadError, match="`mode` needs one of mean, max, cls, flat, mean_max_cls, got 'sum'"):
        TokenPooling("sum")
    with pytest.raises(HeadError, match=r"needs 4 axes .* or 3 axes \(batch, tokens, hidden_dim\), got shape \(2, 3\)"):
        TokenPooling()(np.zeros((2, 3), "float32"))
