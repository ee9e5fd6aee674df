"""The Gaussian field: frozen bits, windows that agree however they are cut, normal statistics."""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from infinite_render import noise
from infinite_render.errors import UsageError
from infinite_render.noise import (
    COORDINATE_LIMIT,
    Stream,
    detail_stream,
    normal,
    normal_torch,
    philox4x32,
    quantile_table,
    texture_stream,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
FAR = 2**40
# Where a 32-bit counter word turns over: y itself, and x in blocks of eight.
EDGES = [0, -1, 8, 2**32, -(2**32), 2**35, -(2**35), FAR, -FAR, 2**46 - 250, -(2**46)]

coordinates = st.one_of(
    st.integers(-40, 40),
    st.integers(-FAR, FAR),
    st.builds(lambda e, d: max(-(2**46), e + d), st.sampled_from(EDGES), st.integers(-40, 40)),
)
seeds = st.integers(-(2**64), 2**65)
streams = st.integers(0, 2**16 - 1)


def sha256(values: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()


def value_by_hand(seed: int, stream: int, y: int, x: int, channel: int) -> float:
    """One value as the module's docstring says it, in Python's integers."""
    block, low = x >> 3, 2**32 - 1
    high = ((block >> 32) & 0xFFFF) | ((y >> 32) & 0xFFFF) << 16
    key = seed % 2**64 & low, seed % 2**64 >> 32
    words = philox4x32((block & low, y & low, high, channel | stream << 16), key)
    lane = x & 7
    return float(quantile_table()[words[lane >> 1] >> 16 * (lane & 1) & 0xFFFF])


# Frozen: these are the published answers, and the bits of version 1.


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    c0, c1, c2, c3 = (int(word, 16) for word in counter.split())
    k0, k1 = (int(word, 16) for word in key.split())
    assert philox4x32((c0, c1, c2, c3), (k0, k1)) == tuple(int(w, 16) for w in answer.split())


def test_the_table_is_the_one_of_version_1() -> None:
    assert noise.NOISE_VERSION == 1
    assert sha256(quantile_table()) == (
        "e8cfff23047b7e58f6ae180f798c0bd13cfa7a46c5e6db798596865662071226"
    )


@pytest.mark.parametrize(
    ("seed", "stream", "y0", "x0", "shape", "digest"),
    [
        (1, Stream.LOCAL, -20, -30, (3, 40, 60),
         "50e1e398de90ca3293d39f527a4487a6ab538ed56103f495652a3a57d1ecb95a"),
        (2**63 + 5, texture_stream(3), -FAR - 7, FAR - 9, (2, 33, 65),
         "f9a227b638a2da531b1040fc10234f7dc6bfcff05f59ac54a7ee11200b94100b"),
        (0, Stream.GLOBAL, 0, 0, (64, 1, 1),
         "d7f6c9df0227e6a49cd59e573e13e7803cce9a81df5ffeedc4c569f057eed2e8"),
        (9, Stream.STYLE, -3, 2**35 - 20, (2, 10, 50),
         "c2d3011f141f9600687a5dc0bc98941d45ed455efb647bc8966fda3ab56736a5"),
        (9, Stream.STYLE, 2**32 - 3, -(2**35) - 20, (2, 10, 50),
         "a5edcd9382d44f89a77db2ba9bc35048932248a5580e54f51ec6e03485472b6a"),
    ],
)  # fmt: skip
def test_the_field_is_the_one_of_version_1(
    seed: int, stream: int, y0: int, x0: int, shape: tuple[int, int, int], digest: str
) -> None:
    assert sha256(normal(seed, stream, y0, x0, shape[1], shape[2], shape[0])) == digest


def test_a_few_values_of_version_1_by_their_numbers() -> None:
    near = normal(0, 0, 0, 0, 1, 4)[0, 0].tolist()
    far = normal(42, 1, FAR, -FAR, 1, 4)[0, 0].tolist()
    assert near == pytest.approx([1.3377438, -0.25583458, 0.74443245, 1.1775827], abs=1e-7)
    assert far == pytest.approx([0.23978233, 0.2737398, 0.20766163, 0.7793541], abs=1e-7)


# One plane: the value belongs to the place, however it is asked for.


@settings(max_examples=60, deadline=None)
@given(seeds, streams, coordinates, coordinates, st.integers(1, 5), st.integers(1, 20))
@example(0, 0, 2**32 - 2, 2**35 - 3, 5, 20)
@example(-1, 2**16 - 1, -(2**46), -(2**46), 5, 20)
def test_a_window_is_what_the_hash_says_value_by_value(
    seed: int, stream: int, y0: int, x0: int, height: int, width: int
) -> None:
    window = normal(seed, stream, y0, x0, height, width, 2)
    for c, y, x in np.ndindex(window.shape):
        assert window[c, y, x] == value_by_hand(seed, stream, y0 + y, x0 + x, c)


@settings(max_examples=100, deadline=None)
@given(coordinates, coordinates, st.data())
def test_a_window_of_a_window_is_that_window(y0: int, x0: int, data: st.DataObject) -> None:
    height, width, channels = (data.draw(st.integers(1, 50)) for _ in range(3))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    h, w = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    whole = normal(7, 16, y0, x0, height, width, channels)
    part = normal(7, 16, y0 + top, x0 + left, h, w, channels)
    assert np.array_equal(whole[:, top : top + h, left : left + w], part)


@pytest.mark.parametrize("chunk", [1, 7, 64, 100_000])
def test_how_the_work_is_cut_does_not_show(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = normal(3, 1, -11, 2**35 - 50, 37, 101, 5)
    monkeypatch.setattr(noise, "_CHUNK_HASHES", chunk)
    assert np.array_equal(normal(3, 1, -11, 2**35 - 50, 37, 101, 5), expected)


def test_a_window_many_chunks_large_is_its_quarters() -> None:
    whole = normal(5, 16, -300, -333, 601, 1029, 2)
    for top, left, h, w in [(0, 0, 300, 500), (0, 500, 300, 529), (300, 0, 301, 1029)]:
        part = normal(5, 16, top - 300, left - 333, h, w, 2)
        assert np.array_equal(whole[:, top : top + h, left : left + w], part)


def test_a_seed_counts_modulo_2_to_the_64() -> None:
    assert np.array_equal(normal(-1, 1, 0, 0, 4, 9), normal(2**64 - 1, 1, 0, 0, 4, 9))
    assert not np.array_equal(normal(1, 1, 0, 0, 4, 9), normal(1 + 2**32, 1, 0, 0, 4, 9))


def test_out_is_filled_and_returned_even_if_it_is_a_view() -> None:
    canvas = np.full((3, 20, 64), np.nan, np.float32)
    view = canvas[:, 2:12, 5:45:2]
    assert normal(8, 1, -4, -6, 10, 20, 3, out=view) is view
    assert np.array_equal(view, normal(8, 1, -4, -6, 10, 20, 3))
    assert np.isnan(canvas).sum() == canvas.size - view.size


def test_threads_that_call_at_once_get_what_one_would() -> None:
    places = [(i * 37 - 100, FAR - i * 91) for i in range(12)]
    alone = [sha256(normal(4, 16, y, x, 130, 140, 4)) for y, x in places]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: sha256(normal(4, 16, p[0], p[1], 130, 140, 4)), places))
    assert together == alone


def test_the_field_needs_no_torch() -> None:
    code = (
        "import sys; from infinite_render.noise import normal; normal(0, 0, 0, 0, 4, 4);"
        "assert 'torch' not in sys.modules"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


# The twin, and the cylinder.


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None)
@given(seeds, streams, coordinates, coordinates, st.data())
@example(0, 0, 2**32 - 2, 2**35 - 3, None)
def test_the_torch_twin_has_the_same_bits(
    device: str, seed: int, stream: int, y0: int, x0: int, data: st.DataObject | None
) -> None:
    height, width, channels, period = 9, 30, 3, None
    if data is not None:
        height, width, channels = (data.draw(st.integers(1, 40)) for _ in range(3))
        period = data.draw(st.none() | st.integers(1, 50))
    window = (seed, stream, y0, x0, height, width, channels)
    twin = normal_torch(*window, device=device, period_x=period)
    assert twin.dtype == torch.float32
    assert twin.device.type == device
    assert np.array_equal(twin.cpu().numpy(), normal(*window, period_x=period))


@settings(max_examples=100, deadline=None)
@given(
    coordinates,
    st.integers(1, 70) | st.sampled_from([2**20, 2**46]),
    st.integers(1, 150),
    st.integers(1, 3),
)
@example(-1, 1, 9, 1)
@example(-13, 13, 40, 2)
def test_on_a_cylinder_column_x_is_column_x_mod_the_period(
    x0: int, period: int, width: int, channels: int
) -> None:
    window = normal(6, 1, -5, x0, 3, width, channels, period_x=period)
    for i in range(0, width, max(1, width // 12)):
        assert np.array_equal(
            window[:, :, i : i + 1], normal(6, 1, -5, (x0 + i) % period, 3, 1, channels)
        )


def test_a_cylinder_shifted_by_turns_is_itself() -> None:
    once = normal(6, 16, -5, -37, 20, 500, 2, period_x=192)
    assert np.array_equal(once, normal(6, 16, -5, -37 + 192 * 10**6, 20, 500, 2, period_x=192))
    assert np.array_equal(once[:, :, 192:], once[:, :, :-192])
    assert not np.array_equal(once[:, :, 96:192], once[:, :, :96])


# The law: standard normal, and nothing known about one value from the others.


def test_the_table_is_the_normal_law_with_variance_1() -> None:
    table = quantile_table().astype(np.float64)
    law = statistics.NormalDist()
    assert np.array_equal(table, -table[::-1])
    assert (np.diff(table) > 0).all()
    assert abs((table**2).mean() - 1) < 1e-8
    assert abs((table**4).mean() - 3) < 1e-3
    worst = max(abs(law.cdf(float(table[k])) - (k + 0.5) / 65536) for k in range(0, 65536, 97))
    assert worst < 0.2 / 65536


def test_no_quantile_is_near_where_its_rounding_turns() -> None:
    law = statistics.NormalDist()
    exact = np.array([law.inv_cdf((k + 0.5) / 65536) for k in range(65536)])
    steps = exact / np.sqrt((exact**2).mean()) * 2**20
    distance = np.abs(np.abs(steps - np.floor(steps)) - 0.5) / 2**20
    assert distance.min() > 1e-11


@pytest.mark.parametrize(("y0", "x0"), [(0, 0), (-512, -512), (-FAR, FAR)])
def test_moments_are_those_of_a_normal_number(y0: int, x0: int) -> None:
    z = normal(1234, 16, y0, x0, 1024, 1024, 2).astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 5 / n**0.5
    assert abs(z.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((z**3).mean()) < 5 * (15 / n) ** 0.5
    assert abs((z**4).mean() - 3) < 5 * (96 / n) ** 0.5 + 1e-3


def test_every_word_of_16_bits_is_as_frequent_as_any() -> None:
    z = normal(77, 1, -9, 3, 2048, 2048)
    counts = np.unique_counts(z).counts
    expected = z.size / 65536
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert counts.size == 65536
    assert abs(chi2 - 65535) < 5 * (2 * 65535) ** 0.5


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """In units of its own standard deviation, were the two independent."""
    product = a.astype(np.float64) * b
    return float(product.mean() * product.size**0.5)


def test_neighbours_know_nothing_of_each_other() -> None:
    z = normal(99, 16, -700, -600, 1024, 1024)[0]
    shifts = [(dy, dx) for dy in range(10) for dx in range(-17, 18) if (dy, dx) > (0, 0)]
    for dy, dx in shifts:
        a = z[dy:, max(dx, 0) : 1024 + min(dx, 0)]
        b = z[: 1024 - dy, max(-dx, 0) : 1024 + min(-dx, 0)]
        assert abs(correlation(a, b)) < 5, (dy, dx)
        # Uncorrelated is less than independent: sizes must not follow each other either.
        assert abs(correlation(a * a - 1, b * b - 1)) / 2 < 5, (dy, dx)


def test_seeds_streams_and_channels_know_nothing_of_each_other() -> None:
    draws = [*normal(0, 1, -64, -64, 256, 256, 4)]
    draws += [normal(0, s, -64, -64, 256, 256)[0] for s in (0, 2, 16, 17, 64, 2**15, 2**16 - 1)]
    draws += [normal(s, 1, -64, -64, 256, 256)[0] for s in (1, 2, -1, 2**32, 2**33, 2**63)]
    draws += [normal(0, 1, y, -64, 256, 256)[0] for y in (2**32 - 64, -(2**32) - 64, 2**16)]
    draws += [normal(0, 1, -64, x, 256, 256)[0] for x in (2**35 - 64, -(2**35) - 64, 2**19)]
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert abs(correlation(a, b)) < 5
            assert abs(correlation(a * a - 1, b * b - 1)) / 2 < 5


def test_the_spectrum_is_flat_and_shows_no_lattice() -> None:
    size, draws = 256, 64
    z = normal(31, 16, -128, -128 + 3, size, size, draws).astype(np.float64)
    # Each bin of the power, averaged over the draws, is about normal: 1 +- 1/8.
    power = (np.abs(np.fft.fft2(z)) ** 2).mean(axis=0) / size**2
    assert abs(power.mean() - 1) < 5 * (2 / z.size) ** 0.5
    assert power.max() < 1 + 7 / draws**0.5

    # A lattice of eight would gather power at multiples of 1/8: along x, along y, and crossed.
    comb = power[:: size // 8, :: size // 8].ravel()
    columns, rows = power[:, :: size // 8].mean(axis=0), power[:: size // 8].mean(axis=1)
    assert abs(comb[1:].mean() - 1) < 5 * (2 / (63 * draws)) ** 0.5
    assert np.abs(columns - 1).max() < 5 * (2 / (size * draws)) ** 0.5
    assert np.abs(rows - 1).max() < 5 * (2 / (size * draws)) ** 0.5
    # And every single row and column of the spectrum is as strong as the next.
    for axis in (0, 1):
        assert np.abs(power.mean(axis=axis) - 1).max() < 5.5 * (2 / (size * draws)) ** 0.5


# The streams, and what is refused.


def test_streams_do_not_overlap() -> None:
    taken = [int(s) for s in (Stream.GLOBAL, Stream.LOCAL, Stream.STYLE)]
    taken += [texture_stream(layer) for layer in range(48)]
    taken += [detail_stream(step, layer) for step in range(120) for layer in range(8)]
    assert len(set(taken)) == len(taken)
    assert max(taken) < Stream.FREE < noise.CODE_LIMIT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"height": 0}, r"height is 0; .* 1 \.\."),
        ({"width": -3}, "width is -3"),
        ({"channels": 0}, r"channels is 0; .* 1 \.\. 65536"),
        ({"channels": 65537}, "channels is 65537"),
        ({"stream": -1}, r"stream is -1; .* 0 \.\. 65535"),
        ({"stream": 65536}, "stream is 65536"),
        ({"y0": COORDINATE_LIMIT}, "y0 is 70368744177664"),
        ({"x0": -COORDINATE_LIMIT - 1}, "x0 is -70368744177665"),
        ({"x0": COORDINATE_LIMIT - 2, "width": 3}, r"width is 3; .* 1 \.\. 2"),
        ({"y0": 0.5}, "y0 is 0.5; give a whole number"),
        ({"seed": "a"}, "seed is 'a'; give a whole number"),
        ({"period_x": 0}, "period_x is 0"),
        ({"period_x": -8}, "period_x is -8"),
    ],
)
@pytest.mark.parametrize("twin", [False, True])
def test_what_cannot_be_is_refused_in_one_line(
    change: dict[str, object], says: str, twin: bool
) -> None:
    window = {"seed": 0, "stream": 0, "y0": 0, "x0": 0, "height": 2, "width": 2}
    call: dict[str, Any] = {**window, **change, **({"device": "cpu"} if twin else {})}
    with pytest.raises(UsageError, match=says) as error:
        (normal_torch if twin else normal)(**call)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("out", [np.empty((1, 2, 3), np.float32), np.empty((1, 2, 2), np.float64)])
def test_an_out_that_does_not_fit_is_refused(out: NDArray[np.float32]) -> None:
    with pytest.raises(UsageError, match=r"out is float.* give float32 \[1, 2, 2\]"):
        normal(0, 0, 0, 0, 2, 2, out=out)


@pytest.mark.parametrize("index", [-1, 48])
def test_a_layer_beyond_its_streams_is_refused(index: int) -> None:
    with pytest.raises(UsageError, match=r"texture layer is .* 0 \.\. 47"):
        texture_stream(index)
    with pytest.raises(UsageError, match="detail layer"):
        detail_stream(0, index)
    with pytest.raises(UsageError, match=r"detail step is .* 0 \.\. 119"):
        detail_stream(index * 3, 0)
