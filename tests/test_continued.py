"""Latents around photographs: their own inside, mirrored at the border, the seed's farther out."""

from __future__ import annotations

import numpy as np
import pytest
from pinned_scenes import ladder_model, random_pin

from infinite_render.errors import UsageError
from infinite_render.fields.continued import REACH_CELLS, ContinuedLatents, cells_of
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.pinned_styles import StyledSpan, StyledSpans, style_of, styles_between
from infinite_render.fields.pins import Pin
from infinite_render.fields.styles import OneStyle
from infinite_render.geometry import Window

DIM = 4  # local channels of the small model
AROUND = Window(-30, -40, 80, 150)


def pin(x_px: int, seed: int = 0) -> Pin:
    return random_pin(ladder_model(), (90, 130), (-21, x_px), 0, seed)


def field(*pins: Pin) -> ContinuedLatents:
    return ContinuedLatents(SeededLatents(5), pins)


def test_a_photographs_own_cells_are_the_pins_and_far_ones_the_seeds() -> None:
    own = pin(67)
    z = field(own).z_local(AROUND, DIM)
    cells = cells_of(own)
    assert cells == Window(-3, 8, 12, 17)
    assert np.array_equal(z[:, *cells.within(AROUND)], own.z_local[:, *cells.within(own.z_window)])
    seeded = SeededLatents(5).z_local(AROUND, DIM)
    y, x, height, width = cells
    reach = Window(
        y - REACH_CELLS, x - REACH_CELLS, height + 2 * REACH_CELLS, width + 2 * REACH_CELLS
    )
    changed = (z != seeded).any(axis=0)
    assert changed[reach.within(AROUND)].mean() > 0.8
    changed[reach.within(AROUND)] = False
    assert not changed.any()


def test_beyond_the_border_the_latents_are_mirrored_and_fade() -> None:
    own = pin(67)
    cells = cells_of(own)
    z = field(own).z_local(AROUND, DIM)
    inside = z[:, *cells.within(AROUND)]
    alike = []
    for d in range(REACH_CELLS):
        beyond = Window(cells.y, cells.x - 1 - d, cells.height, 1)
        mirror = inside[:, :, min(d, cells.width - 1)].ravel()
        alike.append(np.corrcoef(z[:, *beyond.within(AROUND)].ravel(), mirror)[0, 1])
    assert alike[0] > 0.95
    assert alike[3] > 0.3
    assert abs(np.mean(alike[-2:])) < 0.3
    assert z.std() == pytest.approx(1, abs=0.03)


def test_a_window_of_a_window_is_that_window_with_two_photographs() -> None:
    """Their surroundings overlap, and neither reaches into the other."""
    pins = pin(-200, 1), pin(67, 2)
    both = field(*pins)
    whole = both.z_local(AROUND, DIM)
    for part in (Window(-3, -5, 20, 9), Window(0, 7, 1, 1), Window(-30, 40, 30, 30)):
        assert np.array_equal(both.z_local(part, DIM), whole[:, *part.within(AROUND)])
    for own in pins:
        cells = cells_of(own)
        expected = own.z_local[:, *cells.within(own.z_window)]
        assert np.array_equal(whole[:, *cells.within(AROUND)], expected)
    between = Window(-3, cells_of(pins[0]).x_span.stop, 12, 16)
    assert whole[:, *between.within(AROUND)].std() == pytest.approx(1, abs=0.1)


def test_all_else_is_the_pins_or_the_seeds() -> None:
    own = pin(67)
    both, seeded = field(own), SeededLatents(5)
    assert np.array_equal(both.z_global(8), own.z_global)
    window = Window(-100, 0, 50, 60)
    assert np.array_equal(both.detail_noise(1, window), seeded.detail_noise(1, window))
    at = own.noise_windows[2]
    assert np.array_equal(both.texture_noise(2, at), own.noise[2])
    assert both.describe()["pins"][0]["digest"] == own.digest
    assert both.describe()["seed"] == 5


def test_styles_of_photographs_hold_over_them_and_change_in_between() -> None:
    pins = pin(67, 2), pin(-200, 1)
    field = styles_between(pins)
    assert isinstance(field, StyledSpans)
    left, right = (style_of(one) for one in (pins[1], pins[0]))
    for own, style in ((pins[1], left), (pins[0], right)):
        assert field.blend(cells_of(own)).styles == (style,)
    beyond = field.blend(Window(0, 10**6, 2, 3))
    assert beyond.styles == (right,)
    middle = field.blend(Window(0, -1, 2, 1))
    assert set(middle.styles) == {left, right}
    assert middle.shares.sum(axis=0) == pytest.approx(1)
    row = field.blend(Window(0, -60, 1, 120))
    share = row.shares[row.styles.index(right), 0]
    assert (np.diff(share) >= 0).all()
    assert (share[0], share[-1]) == (0, 1)
    assert np.diff(share).max() < 0.4
    assert isinstance(styles_between(pins[:1]), OneStyle)


def test_styles_that_cannot_hold_are_refused() -> None:
    style = style_of(pin(0))
    with pytest.raises(ValueError, match="not one after the other"):
        StyledSpans((StyledSpan(0, 5, style), StyledSpan(5, 9, style)))
    with pytest.raises(UsageError, match="cylinder"):
        StyledSpans((StyledSpan(0, 5, style), StyledSpan(6, 9, style))).wrapped(20)
