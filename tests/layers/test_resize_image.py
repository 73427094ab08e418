"""The picture that a vision backbone gets: against numpy's interpolation, whatever the padding."""

import numpy as np
import pytest

from bertvision_tf.errors import HeadError
from bertvision_tf.layers import ResizeImage, TokenCutout

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.normal(size=(3, 4, 7, 2)).astype("float32")
LENGTHS = [7, 3, 1]
MASK = (np.arange(7) < np.array(LENGTHS)[:, None]).astype("int32")


def stretch(values, size):
    """numpy's linear interpolation between the middles of cells."""
    places = (np.arange(size) + 0.5) / size * len(values) - 0.5
    return np.interp(places, np.arange(len(values)), values)


def test_against_numpy():
    found = np.asarray(ResizeImage(6, 9)(IMAGE, MASK))
    assert found.shape == (3, 6, 9, 2)
    for example, length in enumerate(LENGTHS):
        for channel in range(2):
            wide = np.stack([stretch(row, 9) for row in IMAGE[example, :, :length, channel]])
            expected = np.stack([stretch(column, 6) for column in wide.T], axis=1)
            np.testing.assert_allclose(found[example, :, :, channel], expected, atol=1e-5)


def test_smaller_than_the_image():
    found = np.asarray(ResizeImage(2, 3)(IMAGE))
    wide = np.stack([stretch(row, 3) for row in IMAGE[0, :, :, 0]])
    np.testing.assert_allclose(found[0, :, :, 0], np.stack([stretch(c, 2) for c in wide.T], axis=1), atol=1e-5)


def test_padding_is_no_part_of_the_picture():
    noisy = np.where(MASK[:, None, :, None] > 0, IMAGE, np.nan).astype("float32")
    np.testing.assert_array_equal(ResizeImage(6, 9)(noisy, MASK), ResizeImage(6, 9)(IMAGE, MASK))
    longer, mask = np.pad(IMAGE, [(0, 0), (0, 0), (0, 4), (0, 0)]), np.pad(MASK, [(0, 0), (0, 4)])
    np.testing.assert_allclose(ResizeImage(6, 9)(longer, mask), ResizeImage(6, 9)(IMAGE, MASK), atol=1e-6)
    assert not np.asarray(ResizeImage(6, 9)(IMAGE, np.zeros((3, 7)))).any()


def test_cutout_takes_one_run_of_real_tokens_in_training_only():
    layer = TokenCutout(0.4, seed=1)
    image = np.ones((200, 3, 10, 2), "float32")
    mask = (np.arange(10) < 8).astype("int32") * np.ones((200, 1), "int32")
    np.testing.assert_array_equal(layer(image, mask), image)
    cut = np.asarray(layer(image, mask, training=True))
    missing = cut[:, 0, :, 0] == 0
    assert (cut == cut[:, :1, :, :1]).all()  # the same in every layer and channel
    assert not missing[:, 8:].any()
    lengths = missing.sum(axis=1)
    assert set(lengths) == {3, 4}  # 0.4 of 8, rounded at random
    assert lengths.mean() == pytest.approx(3.2, abs=0.15)
    edges = np.diff(np.pad(missing, [(0, 0), (1, 1)]).astype(int), axis=1)
    assert ((edges == 1).sum(axis=1) == 1).all()
    assert len(set(missing.argmax(axis=1))) > 3


@pytest.mark.parametrize("build", [lambda: ResizeImage(0, 3), lambda: TokenCutout(1.0)])
def test_bad_sizes(build):
    with pytest.raises(HeadError):
        build()
