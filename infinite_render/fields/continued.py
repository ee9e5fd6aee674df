"""Pinned latents that go on beyond their photographs: mirrored there, and fading into the seed's.

What stands at a photograph's border would otherwise end there: the latents of the next cell are
independent draws, and the model paints what they say within a cell or two. So a photograph's own
latents go on mirrored at its border, with a share a that falls from 1 to 0 over `REACH_CELLS`, and
the seed's have the share sqrt(1 - a^2): everywhere N(0,1), as the model knows them, but for what
truncation and floors make of the seed's.

Spaces: cells of z_l. Shapes: z_local float32 [L,h,w].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinite_render.fields.drifting_styles import StyleLaw
from infinite_render.fields.latents import LatentField
from infinite_render.fields.local import ALONE, LocalLaw
from infinite_render.fields.pins import Pin, PinnedLatents
from infinite_render.fields.styles import StyleField, smooth
from infinite_render.geometry import Span, Window
from infinite_render.noise import Array

REACH_CELLS = 10
CONTINUED_VERSION = 1  # in the identity: what this file computes can change every pixel around


@dataclass(frozen=True)
class ContinuedLatents:
    """`inner` with the latents of pins under their photographs, going over into it around them.

    Under a photograph its own latents hold alone; photographs must not share a cell.
    """

    inner: LatentField
    pins: tuple[Pin, ...]

    def z_global(self, dim: int) -> Array:
        return self._pinned.z_global(dim)

    def own_styles(self, law: StyleLaw) -> StyleField | None:
        return self._pinned.own_styles(law)

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        seeded = self.inner.z_local(window_cell, dim, law)
        near = self._near(window_cell)
        if not near:
            return seeded
        seeds = _left_by(near, window_cell)
        # How much each holds and no other does: nothing where another's photograph lies.
        alone = []
        for index, (share, _) in enumerate(near):
            part = share * share
            for other, (others_share, _) in enumerate(near):
                if other != index:
                    part = part * (1 - others_share * others_share)
            alone.append(part)
        total = sum(alone[1:], alone[0])
        total = np.where(total > 0, total, 1.0)
        z_local: Array = np.sqrt(seeds).astype(np.float32) * seeded
        for part, (_, mirrored) in zip(alone, near, strict=True):
            z_local += np.sqrt((1 - seeds) * (part / total)).astype(np.float32) * mirrored
        return z_local

    def relief(self, window_cell: Window, wrap_cells: int | None = None) -> Array:
        """Level under a photograph: an inversion found its latents on level rows."""
        seeds = _left_by(self._near(window_cell), window_cell)
        return np.sqrt(seeds).astype(np.float32) * self.inner.relief(window_cell, wrap_cells)

    def _near(self, window_cell: Window) -> list[tuple[NDArray[np.float64], Array]]:
        """Of the pins that hold in a window their shares [h,w] and latents there [L,h,w]."""
        around = [_continued(pin, window_cell) for pin in self.pins]
        return [(share, mirrored) for share, mirrored in around if share.any()]

    def texture_noise(self, layer: int, window: Window) -> Array:
        return self._pinned.texture_noise(layer, window)

    def detail_noise(self, step: int, window: Window) -> Array:
        return self.inner.detail_noise(step, window)

    def describe(self) -> dict[str, Any]:
        return {**self._pinned.describe(), "continued": CONTINUED_VERSION}

    @property
    def _pinned(self) -> PinnedLatents:
        return PinnedLatents(self.inner, self.pins)


def _left_by(
    near: Sequence[tuple[NDArray[np.float64], Array]], window_cell: Window
) -> NDArray[np.float64]:
    """The share of the seed's, squared, that pins leave in a window, [h,w]."""
    seeds = np.ones(window_cell[2:], np.float64)
    for share, _ in near:
        seeds = seeds * (1 - share * share)
    return seeds


def cells_of(pin: Pin) -> Window:
    """The cells that a pin's photograph touches.

    One cell is `pin.cell_px` of the photograph's depth.
    """
    spans = [
        Span(span.start // pin.cell_px, -(-span.stop // pin.cell_px))
        for span in (pin.window_px.y_span, pin.window_px.x_span)
    ]
    return Window.of(*spans)


def _continued(pin: Pin, window_cell: Window) -> tuple[NDArray[np.float64], Array]:
    """The share [h,w] of a pin in a window, and its latents there [L,h,w], mirrored beyond."""
    own = cells_of(pin)
    rows, down = _mirrored(window_cell.y_span, own.y_span, pin.z_window.y_span)
    columns, across = _mirrored(window_cell.x_span, own.x_span, pin.z_window.x_span)
    away = np.sqrt(down[:, None] ** 2 + across**2)
    return smooth(1 - away / REACH_CELLS), pin.z_local[:, rows[:, None], columns]


def _mirrored(
    outer: Span, own: Span, pinned: Span
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For every place of `outer`: the index in `pinned` that it mirrors at the border of `own`, and
    how far beyond `own` it is.
    """
    place = np.arange(outer.start, outer.stop)
    last = own.stop - 1
    away = np.maximum(np.maximum(own.start - place, place - last), 0)
    inside = np.where(
        place < own.start,
        2 * own.start - 1 - place,
        np.where(place > last, 2 * last + 1 - place, place),
    )
    return np.clip(inside, own.start, last) - pinned.start, away.astype(np.float64)
