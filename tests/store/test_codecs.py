import struct

import numpy as np
import pytest

from bertvision_tf.errors import StoreError
from bertvision_tf.images import unpack_in_graph
from bertvision_tf.store import CODECS, get_codec
from bertvision_tf.store.codecs import Calibration

# Max (1960), table I: the levels that lose least of a normal distribution.
LEVELS = {
    "int4": [0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733],
    "int2": [0.4528, 1.510],
}
LEVELS = {name: np.array([-x for x in reversed(half)] + half) for name, half in LEVELS.items()}
UNIT = Calibration(*(np.full((1, 4), value, np.float32) for value in (0, 1, 4)))


def make_states(rows=60, states=3, hidden_dim=7, seed=0):
    """Normal numbers whose mean and deviation differ from channel to channel."""
    random = np.random.default_rng(seed)
    mean = random.normal(0, 2, (states, hidden_dim))
    deviation = random.uniform(0.1, 3, (states, hidden_dim))
    return (random.normal(size=(rows, states, hidden_dim)) * deviation + mean).astype(np.float32)


def every_value(states):
    """((row, state, channel), value) of each number."""
    return ((place, float(states[place])) for place in np.ndindex(states.shape))


def test_calibration_is_the_samples_statistics():
    states = make_states()
    calibration = Calibration.of(states)
    for state, channel in np.ndindex(3, 7):
        column = states[:, state, channel].astype(np.float64)
        assert calibration.mean[state, channel] == pytest.approx(column.mean(), abs=1e-5)
        assert calibration.deviation[state, channel] == pytest.approx(column.std(), rel=1e-4)
        assert calibration.largest[state, channel] == pytest.approx(abs(column - column.mean()).max(), rel=1e-4)


@pytest.mark.parametrize("hidden_dim", [7, 8, 9])
@pytest.mark.parametrize("name", ["int4", "int2"])
def test_levels_are_the_nearest(name, hidden_dim):
    states = make_states(hidden_dim=hidden_dim)
    calibration = Calibration.of(states)
    codec, levels = get_codec(name), LEVELS[name]
    decoded = codec.decode(codec.encode(states, calibration), calibration)
    nearest = 0
    for place, value in every_value(states):
        mean, deviation = (float(part[place[1:]]) for part in (calibration.mean, calibration.deviation))
        distances = abs((value - mean) / deviation - levels)
        taken = (float(decoded[place]) - mean) / deviation
        choice = abs(levels - taken).argmin()
        assert taken == pytest.approx(levels[choice], abs=1e-4)
        # values are looked up on a grid of 1/32 deviations, so at most that much further than the nearest level
        assert distances[choice] <= distances.min() + 1 / 32 + 1e-4
        nearest += choice == distances.argmin()
    assert nearest > 0.97 * states.size


@pytest.mark.parametrize("hidden_dim", [7, 8, 9])
def test_int8_rounds_to_the_nearest_of_255_steps(hidden_dim):
    states = make_states(hidden_dim=hidden_dim)
    calibration = Calibration.of(states)
    encoded = get_codec("int8").encode(states, calibration)
    assert encoded.dtype == np.int8
    for place, value in every_value(states):
        step = float(calibration.largest[place[1:]]) / 127
        exact = (value - float(calibration.mean[place[1:]])) / step
        assert abs(encoded[place] - exact) < 0.501
    assert abs(encoded.astype(int)).max() == 127  # the largest of the sample is the last step


def test_float16_bits():
    states = make_states()
    encoded = get_codec("float16").encode(states, Calibration.of(states))
    for place, value in every_value(states):
        assert encoded[place].tobytes() == struct.pack("<e", value)


def test_bfloat16_bits():
    states = make_states()
    encoded = get_codec("bfloat16").encode(states, Calibration.of(states))
    assert encoded.dtype == np.uint16
    for place, value in every_value(states):
        (bits,) = struct.unpack("<I", struct.pack("<f", value))
        assert encoded[place] == (bits + 0x7FFF + (bits >> 16 & 1)) >> 16  # round half to even


def test_float32_is_exact():
    states = make_states()
    codec, calibration = get_codec("float32"), Calibration.of(states)
    np.testing.assert_array_equal(codec.decode(codec.encode(states, calibration), calibration), states)


@pytest.mark.parametrize(
    ("name", "codes", "packed"),
    [
        ("int4", [1, 15, 4, 0], [0xF1, 0x04]),
        ("int4", [1, 15, 4], [0xF1, 0x04]),
        ("int2", [3, 0, 2, 1], [0b01_10_00_11]),
        ("int2", [3, 0, 2, 1, 3], [0b01_10_00_11, 0b11]),
    ],
)
def test_first_channel_is_in_the_lowest_bits(name, codes, packed):
    codec = get_codec(name)
    states = LEVELS[name][codes].astype(np.float32)[None, None]
    unit = Calibration(*(np.full((1, len(codes)), value, np.float32) for value in (0, 1, 4)))
    np.testing.assert_array_equal(codec.encode(states, unit), [[packed]])
    np.testing.assert_allclose(codec.unpack(np.array([[packed]], np.uint8), len(codes)), states)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("float32", 0, 0),
        ("float16", 1e-4, 4e-4),
        ("bfloat16", 1e-3, 3e-3),
        ("int8", 0.007, 0.015),
        ("int4", 0.094, 0.104),
        ("int2", 0.335, 0.350),
    ],
)
def test_relative_error_on_normal_states(name, least, most):
    states = np.random.default_rng(1).normal(size=(20000, 2, 9)).astype(np.float32)
    codec, calibration = get_codec(name), Calibration.of(states)
    decoded = codec.decode(codec.encode(states, calibration), calibration)
    error = np.linalg.norm(decoded - states) / np.linalg.norm(states)
    assert least <= error <= most


@pytest.mark.parametrize(("name", "last"), [("int8", 4.0), ("int4", 2.733), ("int2", 1.510)])
def test_what_lies_outside_is_clipped(name, last):
    states = np.array([[[100, -100, 1e30, -1e30]]], np.float32)
    codec = get_codec(name)
    np.testing.assert_allclose(
        codec.decode(codec.encode(states, UNIT), UNIT), [[[last, -last, last, -last]]], rtol=1e-6
    )


def test_float16_is_clipped_and_not_infinite():
    states = np.array([[[1e9, -1e9, 65504, 1]]], np.float32)
    codec = get_codec("float16")
    np.testing.assert_array_equal(codec.decode(codec.encode(states, UNIT), UNIT), [[[65504, -65504, 65504, 1]]])


@pytest.mark.parametrize("name", list(CODECS))
def test_constant_channels_keep_their_value(name):
    states = make_states(hidden_dim=5)
    states[..., 2], states[..., 4] = 8.5, 0
    codec, calibration = get_codec(name), Calibration.of(states)
    decoded = codec.decode(codec.encode(states, calibration), calibration)
    np.testing.assert_allclose(decoded[..., 2], 8.5, atol=1e-5)
    np.testing.assert_allclose(decoded[..., 4], 0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "storage", "width", "row_bytes"),
    [
        ("float32", "<f4", 9, 108),
        ("float16", "<f2", 9, 54),
        ("bfloat16", "<u2", 9, 54),
        ("int8", "i1", 9, 27),
        ("int4", "u1", 5, 15),
        ("int2", "u1", 3, 9),
    ],
)
def test_sizes(name, storage, width, row_bytes):
    codec = get_codec(name)
    encoded = codec.encode(make_states(rows=4, hidden_dim=9), Calibration.of(make_states(hidden_dim=9)))
    assert encoded.dtype == np.dtype(storage)
    assert encoded.shape == (4, 3, width)
    assert codec.width(9) == width
    assert codec.row_bytes(3, 9) == row_bytes == encoded[0].nbytes


@pytest.mark.parametrize("name", list(CODECS))
def test_many_rows_equal_one_at_a_time(name):
    """Rounding goes through a buffer: rows on both sides of its end."""
    states = make_states(rows=3, states=2, hidden_dim=2**15)
    codec, calibration = get_codec(name), Calibration.of(states)
    alone = [codec.encode(states[i : i + 1], calibration) for i in range(3)]
    np.testing.assert_array_equal(codec.encode(states, calibration), np.concatenate(alone))


@pytest.mark.parametrize("hidden_dim", [7, 8, 9])
@pytest.mark.parametrize("name", list(CODECS))
def test_graph_unpacks_to_the_same_numbers(name, hidden_dim):
    states = make_states(hidden_dim=hidden_dim)
    codec = get_codec(name)
    encoded = codec.encode(states, Calibration.of(states))
    numbers = codec.unpack(encoded, hidden_dim)
    assert numbers.shape == states.shape
    np.testing.assert_array_equal(unpack_in_graph(name, encoded, hidden_dim), numbers)


def test_unknown_codec():
    with pytest.raises(StoreError, match=r"^codec 'int3' is not known; known: float32, .*int2\.$"):
        get_codec("int3")
