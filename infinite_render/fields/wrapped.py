"""Latents on a cylinder: every lattice of another field, repeated after a whole number of cells.

What drifts over many cells is drawn for the cylinder, so that it closes there.

Spaces: z_l on the cell lattice; the noise of a layer on that layer's own lattice, which has a power
of two points to a cell, so that a period of whole cells is one of every lattice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from infinite_render.fields.drifting_styles import StyleLaw
from infinite_render.fields.latents import LatentField, points_of
from infinite_render.fields.local import ALONE, LocalLaw
from infinite_render.fields.styles import StyleField
from infinite_render.geometry import Window, turns
from infinite_render.noise import Array


@dataclass(frozen=True)
class WrappedLatents:
    """`inner` with column x read at x modulo the period, on every lattice.

    period_cells   the cylinder, in cells
    blocks         of the texture synthesizer; a cell is 2^blocks px of depth 0
    """

    inner: LatentField
    period_cells: int
    blocks: int

    def z_global(self, dim: int) -> Array:
        return self.inner.z_global(dim)

    def own_styles(self, law: StyleLaw) -> StyleField | None:
        return self.inner.own_styles(law)

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        law = law.wrapped(self.period_cells)
        return self._turned(window_cell, 1, lambda part: self.inner.z_local(part, dim, law))

    def relief(self, window_cell: Window, wrap_cells: int | None = None) -> Array:
        period = self.period_cells
        return self._turned(window_cell, 1, lambda part: self.inner.relief(part, period))

    def texture_noise(self, layer: int, window: Window) -> Array:
        return self._turned(
            window, points_of(layer), lambda part: self.inner.texture_noise(layer, part)
        )

    def detail_noise(self, step: int, window: Window) -> Array:
        points = 1 << self.blocks + step
        return self._turned(window, points, lambda part: self.inner.detail_noise(step, part))

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "wrap_cells": self.period_cells}

    def _turned(self, window: Window, points: int, read: Callable[[Window], Array]) -> Array:
        """A window of a lattice of `points` to a cell, put together from what `read` gives."""
        period = self.period_cells * points
        return np.concatenate([read(part) for part, _ in turns(window, period)], axis=-1)
