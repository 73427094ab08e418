"""How a hidden state is written in few bits.

The integer codecs store where a value lies between the levels of its (state, channel): mean + deviation · level.
int8's levels are evenly spaced up to the largest deviation seen in the sample; those of int4 and int2 are the 16
and 4 levels that lose least of a normal distribution (Max, 1960, table I).
"""

import dataclasses
import functools

import ml_dtypes
import numpy as np

from ..errors import StoreError

# Positive halves of Max's levels, in standard deviations.
_INT4_LEVELS = (0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618, 2.069, 2.733)
_INT2_LEVELS = (0.4528, 1.510)
_GRID = 32  # steps to a deviation on which int4 and int2 look up their level


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Statistics of a sample of states, each float32 (states, hidden_dim).

    Attributes:
        mean: mean over the sample's rows.
        deviation: standard deviation, at least 1e-6.
        largest: largest distance from the mean, at least 1e-6.
    """

    mean: np.ndarray
    deviation: np.ndarray
    largest: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray) -> "Calibration":
        """From a sample of states, float32 (rows, states, hidden_dim)."""
        mean = states.mean(axis=0)
        centred = states - mean
        variance = np.einsum("rsh,rsh->sh", centred, centred) / len(states)
        largest = np.maximum(centred.max(axis=0), -centred.min(axis=0))
        return cls(mean, np.maximum(np.sqrt(variance), 1e-6), np.maximum(largest, 1e-6))

    def select(self, states: np.ndarray) -> "Calibration":
        """The statistics of some of the states."""
        return Calibration(self.mean[states], self.deviation[states], self.largest[states])


class Codec:
    """A way to store states: `storage` is the type on disk, `per_item` how many channels one item holds."""

    def __init__(self, name: str, bits: int, storage: str):
        self.name = name
        self.bits = bits
        self.storage = np.dtype(storage)
        self.per_item = 8 * self.storage.itemsize // bits

    def width(self, hidden_dim: int) -> int:
        """Items of one state of one token."""
        return -(-hidden_dim // self.per_item)

    def row_bytes(self, num_states: int, hidden_dim: int) -> int:
        """Bytes of one token."""
        return num_states * self.width(hidden_dim) * self.storage.itemsize

    def scale_and_shift(self, calibration: Calibration) -> tuple[np.ndarray, np.ndarray] | None:
        """What `unpack`'s numbers are multiplied by and added to, each (states, hidden_dim); None if nothing."""
        return None

    def grid(self, calibration: Calibration) -> tuple[np.ndarray, np.ndarray] | None:
        """What states are multiplied by and what is added before they are rounded to steps, each float32 (states,
        hidden_dim); None where they are not rounded so."""
        return None

    def pack(self, steps: np.ndarray) -> np.ndarray:
        """Steps of the grid, int8 (rows, states, hidden_dim) → storage type, (rows, states, width)."""
        raise NotImplementedError

    def encode(self, states: np.ndarray, calibration: Calibration) -> np.ndarray:
        """float32 (rows, states, hidden_dim) → storage type, (rows, states, width)."""
        grid = self.grid(calibration)
        assert grid is not None
        return self.pack(round_to_grid(states, *grid))

    def unpack(self, encoded: np.ndarray, hidden_dim: int) -> np.ndarray:
        """(…, width) → float32 (…, hidden_dim), before scale and shift."""
        raise NotImplementedError

    def decode(self, encoded: np.ndarray, calibration: Calibration) -> np.ndarray:
        """(rows, states, width) → float32 (rows, states, hidden_dim)."""
        states = self.unpack(encoded, calibration.mean.shape[1])
        affine = self.scale_and_shift(calibration)
        return states if affine is None else states * affine[0] + affine[1]


class FloatCodec(Codec):
    """A floating-point type; bfloat16 is stored as its 16 bits, since HDF5 has no name for it."""

    def __init__(self, name: str, bits: int, storage: str, number: np.dtype):
        super().__init__(name, bits, storage)
        self.number = np.dtype(number)

    def encode(self, states, calibration):
        if self.name == "float16":
            states = np.clip(states, -65504, 65504)
        return np.ascontiguousarray(states).astype(self.number).view(self.storage)

    def unpack(self, encoded, hidden_dim):
        return encoded.view(self.number).astype(np.float32)


class Int8Codec(Codec):
    """255 even levels up to the largest deviation in the sample."""

    def scale_and_shift(self, calibration):
        return calibration.largest / np.float32(127), calibration.mean

    def grid(self, calibration):
        scale, shift = self.scale_and_shift(calibration)
        return _invert(scale, shift)

    def pack(self, steps):
        return steps

    def unpack(self, encoded, hidden_dim):
        return encoded.astype(np.float32)


class LevelCodec(Codec):
    """A few uneven levels around the mean; several channels to a byte, the first in its lowest bits."""

    def __init__(self, name: str, bits: int, half: tuple[float, ...]):
        super().__init__(name, bits, "u1")
        self.levels = np.array([-level for level in reversed(half)] + list(half), np.float32)

    @functools.cached_property
    def byte_table(self) -> np.ndarray:
        """float32, (256, per_item): the levels that each byte holds."""
        shifts = self.bits * np.arange(self.per_item)
        return self.levels[(np.arange(256)[:, None] >> shifts) & (2**self.bits - 1)]

    @functools.cached_property
    def _grid_codes(self) -> np.ndarray:
        """uint8, (256,): the nearest level to each step of a grid, by the step's int8 read as uint8."""
        grid = np.arange(256, dtype=np.uint8).view(np.int8) / _GRID
        return np.abs(grid[:, None] - self.levels).argmin(axis=1).astype(np.uint8)

    def scale_and_shift(self, calibration):
        return calibration.deviation, calibration.mean

    def grid(self, calibration):
        return _invert(calibration.deviation / _GRID, calibration.mean)

    def pack(self, steps):
        codes = self._grid_codes[steps.view(np.uint8)]
        missing = -steps.shape[-1] % self.per_item
        if missing:
            codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, missing)])
        packed = codes[..., :: self.per_item].copy()
        for place in range(1, self.per_item):
            packed |= codes[..., place :: self.per_item] << (self.bits * place)
        return packed

    def unpack(self, encoded, hidden_dim):
        levels = self.byte_table[encoded]  # (…, width, per_item)
        return levels.reshape(*encoded.shape[:-1], -1)[..., :hidden_dim]


def _invert(scale: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x − shift) / scale as a factor and an offset."""
    factor = 1 / scale
    return factor, -shift * factor


def round_to_grid(states: np.ndarray, factor: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """round(states · factor + offset), clipped to ±127, as int8."""
    steps = np.empty(states.shape, np.int8)
    rows = max(2**17 // max(factor.size, 1), 1)  # so that the buffer stays in the processor's cache
    buffer = np.empty((rows, *factor.shape), np.float32)
    for start in range(0, len(states), rows):
        chunk = states[start : start + rows]
        part = buffer[: len(chunk)]
        np.multiply(chunk, factor, out=part)
        part += offset
        np.clip(part, -127, 127, out=part)
        np.rint(part, out=part)
        np.copyto(steps[start : start + rows], part, casting="unsafe")
    return steps


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        FloatCodec("float32", 32, "<f4", np.dtype("<f4")),
        FloatCodec("float16", 16, "<f2", np.dtype("<f2")),
        FloatCodec("bfloat16", 16, "<u2", np.dtype(ml_dtypes.bfloat16)),
        Int8Codec("int8", 8, "i1"),
        LevelCodec("int4", 4, _INT4_LEVELS),
        LevelCodec("int2", 2, _INT2_LEVELS),
    )
}


def get_codec(name: str) -> Codec:
    """Returns a codec by its name.

    Raises:
        StoreError: the name is not known.
    """
    if name not in CODECS:
        raise StoreError(f"codec {name!r} is not known; known: {', '.join(CODECS)}.")
    return CODECS[name]
