"""Skies: what floats is found and mended, what stands or is no thing is not."""

from __future__ import annotations

import numpy as np

from infinite_render.pixels import Pixels
from infinite_render.training.skies import best_line, mended

ROW, COLUMN = np.mgrid[:101, :101]
SLOPE = ROW + 8 * np.sin(COLUMN / 16) > 60
HILL = SLOPE | ((ROW > 48) & (abs(COLUMN - 70) < 3))  # with a tower
SPOT = (abs(ROW - 36) < 3) & (abs(COLUMN - 30) < 5)


def frame(spot: float | tuple[int, int, int], sky: float = 190) -> Pixels:
    """A sky that darkens downwards, a dark hill, and a spot afloat, [101,101,3]."""
    grey = np.where(HILL, 60, sky - ROW // 2)[..., None]
    noise = np.random.default_rng(0).normal(0, 2, (101, 101, 3))
    return (np.where(SPOT[..., None], spot, grey) + noise).clip(0, 255).round().astype(np.uint8)


def test_what_floats_is_replaced_by_the_sky_around() -> None:
    painted = frame(60)
    clear, gone = mended(painted)
    assert gone[SPOT].all()
    assert gone.sum() < 4 * SPOT.sum()
    assert abs(clear[SPOT].mean() - 172) < 4
    np.testing.assert_array_equal(clear[~gone], painted[~gone])


def test_what_stands_on_the_ground_stays() -> None:
    assert not mended(frame(60))[1][HILL].any()  # nor the tower


def test_a_mended_frame_needs_no_mending() -> None:
    assert not mended(mended(frame(60))[0])[1].any()


def test_a_gap_between_clouds_stays() -> None:
    assert mended(frame(130, sky=230))[1].any()
    assert not mended(frame((130, 172, 214), sky=230))[1].any()


def test_a_frame_without_a_horizon_stays() -> None:
    assert not mended(np.full_like(frame(60), 128))[1].any()


def test_the_line_from_sky_to_land_is_found() -> None:
    np.testing.assert_array_equal(best_line(np.where(SLOPE, 1.5, -1.5)), SLOPE.argmax(axis=0))
