"""The infinite Gaussian field: a normal number at every integer position, by hash, without memory.

The value at (seed, stream, y, x, channel) is a pure function of those five integers, so any window
of the plane can be had at any time, in any order, on any thread, and is the same bits.

Spaces, all integers, all (y, x):
    y, x      a lattice: cells for the local latents, the layer's own lattice for a texture layer
    x_block   x >> 3: one hash gives the eight neighbours x = 8 x_block .. 8 x_block + 7

Three steps, each exact on every machine:
    1. Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) of
           key      seed mod 2^64, low word first
           counter  [low 32 bits of x_block,  low 32 bits of y,
                     bits 32..47 of x_block | bits 32..47 of y << 16,  channel | stream << 16]
    2. its four 32-bit words are eight 16-bit words, low half first, one for each x of the block;
    3. a 16-bit word k is the normal quantile at (k + 1/2) / 65536, read from a table.

Why a table: a transform by logarithm and cosine (Box, Muller) or by rejection (ziggurat) takes its
last bit from a mathematical library, and that moves with versions, processors and devices. Integers
and a look-up do not. The price is that no value lies beyond 4.325 standard deviations (the normal
law has 1 in 65,000 there; the field's kurtosis is 2.9992) and that there are 65,536 values.

`NOISE_VERSION` is part of a picture's identity: whoever changes one bit here raises it.
"""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from infinite_render.errors import UsageError

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float32]  # what fields hold

NOISE_VERSION = 1

COORDINATE_LIMIT = 2**46  # |y| and |x|: x_block and y must fit 48 bits with their sign
CODE_LIMIT = 2**16  # channels and streams

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_LOW = 0xFFFFFFFF
_LANES = 8  # values from one hash
_CHUNK_HASHES = 16384  # at once: enough to hide Python, few enough for a core's second cache
_TABLE_GRID = 2.0**-20

Key = tuple[int, int]
# Four counter words that broadcast: Python ints, uint64 arrays, or int64 tensors.
Words = tuple[Any, ...]


class Stream(IntEnum):
    """Who draws: each use of the field has a number of its own, so that no two share a value.

    GLOBAL    0            vectors of the whole scene, at (0, 0): the global latent, a style's z
    LOCAL     1            local latents, on the lattice of cells
    STYLE     2            styles that have a place: anchors and regions, at their own index
    DRIFT     3            the part of local latents that drifts, at its nodes
    LAKES     4            where lakes lie and have bays, at nodes of each scale
    RELIEF    5            where land is high or low, at nodes of each scale
    TEXTURE   16 .. 63     a texture layer's noise, on its own lattice: `texture_stream(layer)`
    DETAIL    64 .. 1023   the detail ladder's noise: `detail_stream(step, layer)`
    FREE      1024 ..      left to experiments and to what is yet to come
    """

    GLOBAL = 0
    LOCAL = 1
    STYLE = 2
    DRIFT = 3
    LAKES = 4
    RELIEF = 5
    TEXTURE = 16
    DETAIL = 64
    FREE = 1024


_DETAIL_LAYERS = 8  # streams each step of the ladder has


def texture_stream(layer: int) -> int:
    """The stream of texture layer `layer` (0 .. 47); UsageError beyond.

    >>> texture_stream(3)
    19
    """
    allowed = int(Stream.DETAIL - Stream.TEXTURE)
    return int(Stream.TEXTURE) + _integer("texture layer", layer, 0, allowed - 1)


def detail_stream(step: int, layer: int) -> int:
    """The stream of `layer` (0 .. 7) in `step` (0 .. 119) of the ladder; UsageError beyond.

    >>> detail_stream(2, 1)
    81
    """
    steps = int(Stream.FREE - Stream.DETAIL) // _DETAIL_LAYERS
    step = _integer("detail step", step, 0, steps - 1)
    layer = _integer("detail layer", layer, 0, _DETAIL_LAYERS - 1)
    return int(Stream.DETAIL) + _DETAIL_LAYERS * step + layer


def philox4x32(counter: tuple[int, int, int, int], key: Key) -> tuple[int, int, int, int]:
    """Philox4x32-10 of one counter: four words from four, under a key of two, all in 0 .. 2^32 - 1.

    The plain version: `normal` and `normal_torch` hash many counters by the same rounds.

    >>> [hex(word) for word in philox4x32((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    words: Words = counter
    for round_key in _round_keys(key):
        words = _philox_round(words, round_key)
    return words[0], words[1], words[2], words[3]


def normal(
    seed: int,
    stream: int,
    y0: int,
    x0: int,
    height: int,
    width: int,
    channels: int = 1,
    *,
    period_x: int | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """A window of the field: rows y0 .. y0 + height - 1, columns x0 .. x0 + width - 1.

    Returns float32 [channels, height, width], mean 0, variance 1; `out` if it is given (of that
    shape and type). `seed` counts modulo 2^64. With `period_x` column x is column x mod period_x:
    a field on a cylinder. Safe from several threads at once.

    Raises UsageError for a window that is empty or leaves +-2^46, for a stream or a number of
    channels outside 16 bits, for a period below 1, and for an `out` that does not fit.
    """
    keys, stream = _round_keys(_key(seed)), _integer("stream", stream, 0, CODE_LIMIT - 1)
    y0, x0, height, width, channels = _window(y0, x0, height, width, channels)
    shape = (channels, height, width)
    if out is None:
        out = np.empty(shape, np.float32)
    elif out.shape != shape or out.dtype != np.float32:
        raise UsageError(f"out is {out.dtype} {list(out.shape)}; give float32 {list(shape)}")

    def fill(part: NDArray[np.float32], x: int) -> None:
        _fill(part, keys, stream, y0, x)

    _fill_periodically(out, x0, _period(period_x), fill)
    return out


def normal_torch(
    seed: int,
    stream: int,
    y0: int,
    x0: int,
    height: int,
    width: int,
    channels: int = 1,
    *,
    device: torch.device | str,
    period_x: int | None = None,
) -> torch.Tensor:
    """`normal`, computed where it is needed: the same bits, as a tensor on `device`.

    Returns float32 [channels, height, width]. Takes about 40 bytes of the device's memory a value
    while it works. On a CPU, `normal` is many times faster. Raises UsageError as `normal` does.
    """
    import torch

    keys, stream = _round_keys(_key(seed)), _integer("stream", stream, 0, CODE_LIMIT - 1)
    y0, x0, height, width, channels = _window(y0, x0, height, width, channels)
    table = _torch_table(str(device))

    def fill(part: torch.Tensor, x: int) -> None:
        counter = _counter(stream, range(channels), range(y0, y0 + height), x, part.shape[2])
        words: Words = tuple(torch.from_numpy(c.view(np.int64)).to(device) for c in counter)
        # int64 products wrap modulo 2^64, which is what the hash wants of them.
        for round_key in keys:
            words = _philox_round(words, round_key)
        halves = [half for word in words for half in (word & 0xFFFF, word >> 16)]
        index = torch.stack(halves, dim=-1).flatten(2)  # [C, H, 8 blocks]
        skip = x % _LANES
        part.copy_(table[index[..., skip : skip + part.shape[2]]])

    out = torch.empty((channels, height, width), dtype=torch.float32, device=device)
    _fill_periodically(out, x0, _period(period_x), fill)
    return out


@cache
def quantile_table() -> NDArray[np.float32]:
    """The values of the field: 65,536 normal quantiles, ascending, read-only float32.

    Scaled so that their variance is 1 (the midpoints alone have 0.99998), then rounded to multiples
    of 2^-20: float32 holds these exactly, and no quantile lies within 3e-11 of where the rounding
    turns, so that the last bit of somebody's logarithm (1e-15) cannot change the table.
    """
    law = statistics.NormalDist()
    half = [law.inv_cdf((k + 0.5) / 65536) for k in range(32768)]
    scale = 1 / math.sqrt(math.fsum(z * z for z in half) / 32768)
    steps = [round(z * scale / _TABLE_GRID) for z in half]
    lower = np.array(steps, np.float64) * _TABLE_GRID
    table = np.concatenate([lower, -lower[::-1]]).astype(np.float32)
    table.setflags(write=False)
    return table


@cache
def _torch_table(device: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(quantile_table().copy()).to(device)


def _philox_round(words: Words, key: Key) -> Words:
    """One round, on words that broadcast against each other (64-bit at least, or Python ints)."""
    c0, c1, c2, c3 = words
    p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
    # The mask after the shift is for signed integers, whose shift carries the sign down.
    high0, high1 = (p0 >> 32) & _LOW, (p1 >> 32) & _LOW
    return high1 ^ c1 ^ key[0], p1 & _LOW, high0 ^ c3 ^ key[1], p0 & _LOW


def _round_keys(key: Key) -> list[Key]:
    """The key of each round: each half grows by its own constant, modulo 2^32."""
    (k0, k1), (s0, s1) = key, _KEY_STEPS
    return [((k0 + r * s0) & _LOW, (k1 + r * s1) & _LOW) for r in range(_ROUNDS)]


def _counter(stream: int, channels: range, rows: range, x0: int, width: int) -> Words:
    """The counter words of every block a window touches: uint64, broadcasting to [C, H, blocks].

    What is constant along an axis has length 1 there, and so costs nothing in the first rounds.
    """
    x_block = np.arange(x0 >> 3, ((x0 + width - 1) >> 3) + 1).reshape(1, 1, -1)
    y = np.arange(rows.start, rows.stop).reshape(1, -1, 1)
    channel = np.arange(channels.start, channels.stop).reshape(-1, 1, 1)
    high = (_high_bits(x_block) & 0xFFFF) | (_high_bits(y) & 0xFFFF) << 16
    words = x_block & _LOW, y & _LOW, high, channel | stream << 16
    return tuple(word.astype(np.uint64) for word in words)


def _high_bits(ascending: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits 32 and up, as one number if they are all the same (nearly always)."""
    high = ascending >> 32
    return high[:1, :1, :1] if high.flat[0] == high.flat[-1] else high


def _fill(out: NDArray[np.float32], keys: list[Key], stream: int, y0: int, x0: int) -> None:
    """Fill `out` [C, H, W] with the window at (y0, x0), in pieces that fit the cache."""
    channels, height, width = out.shape
    skip, table = x0 % _LANES, quantile_table()
    blocks = (skip + width - 1) // _LANES + 1
    rows = _even_share(height, max(1, _CHUNK_HASHES // blocks))
    planes = _even_share(channels, max(1, _CHUNK_HASHES // (blocks * rows)))
    scratch = np.empty(6 * planes * rows * blocks, "<u8")

    for c in range(0, channels, planes):
        for y in range(0, height, rows):
            part = out[c : c + planes, y : y + rows]
            shape = (*part.shape[:2], blocks)
            counter = _counter(
                stream, range(c, c + shape[0]), range(y0 + y, y0 + y + shape[1]), x0, width
            )
            hashed = _philox_array(counter, keys, shape, scratch)
            index = hashed.view("<u2").reshape(*shape[:2], -1)[..., skip : skip + width]
            # No index can be out of range; to say "wrap" spares the check and a copy.
            np.take(table, index, out=part, mode="wrap")


def _philox_array(
    words: Words, keys: list[Key], shape: tuple[int, ...], scratch: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Hash counters that broadcast to `shape`; returns [n, 2] uint64, each two 32-bit words.

    `scratch` holds 6 n words or more; the result lies in it. While the counters still broadcast
    (three rounds) they stay small; then the two halves of a round, which are alike, run as one
    array, in place.
    """
    for key in keys[:3]:
        words = _philox_round(words, key)
    size = math.prod(shape)
    # Words 0 and 2, words 1 and 3, and the products: [2, n] each.
    even, odd, product = scratch[: 6 * size].reshape(3, 2, size)
    for pair, sources in ((even, words[0::2]), (odd, words[1::2])):
        for lane, source in zip(pair, sources, strict=True):
            np.copyto(lane.reshape(shape), source)

    multipliers = np.array(_MULTIPLIERS, np.uint64)[:, None]
    for key in keys[3:]:
        np.multiply(even, multipliers, out=product)
        crossed = product[::-1]
        np.right_shift(crossed, np.uint64(32), out=even)
        np.bitwise_xor(even, odd, out=even)
        np.bitwise_xor(even, np.array(key, np.uint64)[:, None], out=even)
        np.bitwise_and(crossed, np.uint64(_LOW), out=odd)

    np.left_shift(odd, np.uint64(32), out=odd)
    packed: NDArray[np.uint64] = product.reshape(-1, 2)
    np.bitwise_or(even.T, odd.T, out=packed)
    return packed


def _fill_periodically(
    out: Any, x0: int, period: int | None, fill: Callable[[Any, int], None]
) -> None:
    """`fill(part, x)` the columns of `out` [C, H, W], an array or a tensor, from column x0.

    With a period: one turn of the cylinder at most is hashed, in two pieces; the rest is copied.
    """
    width = out.shape[2]
    if period is None:
        return fill(out, x0)
    x = x0 % period
    before_seam = min(period - x, width)
    fill(out[:, :, :before_seam], x)
    filled = min(period, width)
    if filled > before_seam:
        fill(out[:, :, before_seam:filled], 0)
    while filled < width:
        count = min(filled, width - filled)
        out[:, :, filled : filled + count] = out[:, :, :count]
        filled += count
    return None


def _even_share(total: int, most: int) -> int:
    """The size of the parts if `total` is cut into as few as `most` allows, all about equal."""
    return -(-total // -(-total // most))


def _key(seed: int) -> Key:
    bits = _integer("seed", seed) % 2**64
    return bits & _LOW, bits >> 32


def _period(period_x: int | None) -> int | None:
    return None if period_x is None else _integer("period_x", period_x, 1, COORDINATE_LIMIT)


def _window(
    y0: int, x0: int, height: int, width: int, channels: int
) -> tuple[int, int, int, int, int]:
    edge = COORDINATE_LIMIT
    y0, x0 = _integer("y0", y0, -edge, edge - 1), _integer("x0", x0, -edge, edge - 1)
    height = _integer("height", height, 1, edge - y0)
    width = _integer("width", width, 1, edge - x0)
    return y0, x0, height, width, _integer("channels", channels, 1, CODE_LIMIT)


def _integer(name: str, value: int, least: int | None = None, most: int | None = None) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"noise {name} is {value!r}; give a whole number") from None
    if least is not None and most is not None and not least <= number <= most:
        raise UsageError(f"noise {name} is {number}; it must be within {least} .. {most}")
    return number
