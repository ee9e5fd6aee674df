"""The membrane: harmonic on the frame, the residual at the border, nothing at the outer edge."""

from __future__ import annotations

import numpy as np
import pytest

from infinite_render.geometry import Window
from infinite_render.rendering.membrane import Array, Fades, band_of, frame_of, membrane

BOX = Window(-5, 7, 40, 60)


def residual(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((3, *BOX[2:])).astype(np.float32)


def whole(fades: Fades, values: Array) -> tuple[Array, Window]:
    """The residual and the correction around it in one array, with a pixel of 0 all around."""
    y, x, height, width = BOX
    outer = Window(
        y - fades.top - 1,
        x - fades.left - 1,
        height + fades.top + fades.bottom + 2,
        width + fades.left + fades.right + 2,
    )
    field = np.zeros((3, *outer[2:]), np.float32)
    field[:, *BOX.within(outer)] = values
    for window, correction in membrane(BOX, fades, values):
        field[:, *window.within(outer)] = correction
    return field, outer


@pytest.mark.parametrize("fades", [Fades(16, 16, 16, 16), Fades(5, 20, 0, 1), Fades(0, 7, 0, 7)])
def test_every_pixel_of_the_frame_is_the_mean_of_its_neighbours(fades: Fades) -> None:
    field, outer = whole(fades, residual())
    mean = (field[:, 2:, 1:-1] + field[:, :-2, 1:-1] + field[:, 1:-1, 2:] + field[:, 1:-1, :-2]) / 4
    apart = np.abs(mean - field[:, 1:-1, 1:-1])
    for piece in frame_of(BOX, fades):
        y, x, height, width = piece
        at = Window(y - outer.y - 1, x - outer.x - 1, height, width)
        assert apart[:, at.y : at.y + height, at.x : at.x + width].max() < 1e-3


def test_what_varies_slowly_is_carried_far_and_noise_is_not() -> None:
    fades = Fades(16, 16, 16, 16)

    def share_left(values: Array) -> float:
        field, outer = whole(fades, values)
        row = field[:, 3, 20:-20]  # 14 px above the box, of 16
        assert outer.y + 3 == BOX.y - 14
        return float(np.abs(row).mean() / np.abs(values[:, 0]).mean())

    assert share_left(np.ones((3, *BOX[2:]), np.float32)) == pytest.approx(3 / 17, abs=0.02)
    assert share_left(residual()) < 0.05


def test_only_the_border_of_the_residual_is_read() -> None:
    fades = Fades(8, 8, 8, 8)
    one = residual()
    other = one.copy()
    other[:, 1:-1, 1:-1] = 9
    for (_, a), (_, b) in zip(membrane(BOX, fades, one), membrane(BOX, fades, other), strict=True):
        assert np.array_equal(a, b)


def test_no_frame_has_no_correction() -> None:
    assert membrane(BOX, Fades(0, 0, 0, 0), residual()) == []


@pytest.mark.parametrize("thickness", [1, 3, 19, 20, 50])
def test_a_band_covers_the_border_once(thickness: int) -> None:
    count = np.zeros(BOX[2:], int)
    for band in band_of(BOX, thickness):
        count[band.within(BOX)] += 1
    expected = np.ones(BOX[2:], int)
    if thickness < 20:
        expected[thickness:-thickness, thickness:-thickness] = 0
    assert np.array_equal(count, expected)
