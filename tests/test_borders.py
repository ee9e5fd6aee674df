"""The border of a photograph is judged by the steps around it."""

from __future__ import annotations

import numpy as np
import pytest

from infinite_render.errors import UsageError
from infinite_render.evaluation.borders import border_of_photograph
from infinite_render.geometry import Window

BOX = Window(40, 50, 90, 120)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (180, 240, 3), dtype=np.uint8)


def test_noise_without_a_border_has_a_ratio_of_one() -> None:
    border = border_of_photograph(noise(), BOX)
    assert border.ratio == pytest.approx(1, abs=0.06)
    assert border.across == pytest.approx(20, abs=1)


def test_a_photograph_of_another_brightness_has_a_border() -> None:
    picture = noise()
    y, x, height, width = BOX
    picture[y : y + height, x : x + width] += 60
    assert border_of_photograph(picture, BOX).ratio > 2.5


def test_sides_are_told_apart_and_those_at_the_edge_are_left_out() -> None:
    picture = np.full((100, 300, 3), 90, np.uint8)
    picture[:, 100:200] = noise()[:100, :100]
    border = border_of_photograph(picture, Window(0, 100, 100, 100))
    assert border.outside == 0
    assert border.inside > 15
    with pytest.raises(UsageError, match="no border to judge"):
        border_of_photograph(picture, Window(0, 0, 100, 300))


def test_a_flat_picture_has_no_border() -> None:
    assert border_of_photograph(np.zeros((180, 240, 3), np.uint8), BOX).ratio == 1
