"""Styles of discs and polygons that lie on a ground of styles, blended at their borders.

A shape covers its inside but for half of `fade`, and reaches half of it beyond its border; so it
changes nothing farther out, and what it changes is bounded. Later shapes lie over earlier ones.

Spaces: cells of the plane, as in `fields.styles`; signed distances are negative inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from infinite_render.fields.styles import (
    AnyStyle,
    Blend,
    Floats,
    Style,
    StyleField,
    gather,
    nodes,
    smooth,
)
from infinite_render.geometry import Window, turns


class Disc(NamedTuple):
    """All within `radius` of a point."""

    y: float
    x: float
    radius: float
    style: Style

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(y0, x0, y1, x1) around it."""
        r = self.radius
        return self.y - r, self.x - r, self.y + r, self.x + r

    def distance(self, y: Floats, x: Floats, most: float) -> Floats:
        """Signed distance of rows [h,1] and columns [1,w], exact where its size is below `most`."""
        distance: Floats = np.sqrt((y - self.y) ** 2 + (x - self.x) ** 2) - self.radius
        return distance

    def plain(self) -> dict[str, Any]:
        return {"disc": [self.y, self.x, self.radius], "seed": self.style.seed}


class Polygon(NamedTuple):
    """What an odd number of its rings surround; a ring is a closed row of corners (y, x)."""

    rings: tuple[tuple[tuple[float, float], ...], ...]
    style: Style

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(y0, x0, y1, x1) around it."""
        rows, columns = zip(*(corner for ring in self.rings for corner in ring), strict=True)
        return min(rows), min(columns), max(rows), max(columns)

    def distance(self, y: Floats, x: Floats, most: float) -> Floats:
        """As `Disc.distance`; segments that are too far away to count are skipped."""
        top, bottom, left, right = y[0, 0], y[-1, 0], x[0, 0], x[0, -1]
        square = np.full((y.shape[0], x.shape[1]), most * most)
        inside = np.zeros(square.shape, bool)
        for (y0, x0), (y1, x1) in self._segments():
            if max(y0, y1) < top - most or min(y0, y1) > bottom + most:
                continue
            if min(x0, x1) <= right + most and max(x0, x1) >= left - most:
                np.minimum(square, _square_distance(y, x, (y0, x0), (y1, x1)), out=square)
            # A ray to the left meets the segment: an odd number of times from the inside.
            rows = (y0 <= y) != (y1 <= y)
            if rows.any():
                inside ^= rows & (x > x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
        outside: Floats = np.sqrt(square)
        return np.where(inside, -outside, outside)

    def plain(self) -> dict[str, Any]:
        rings = [[list(corner) for corner in ring] for ring in self.rings]
        return {"rings": rings, "seed": self.style.seed}

    def _segments(self) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
        for ring in self.rings:
            yield from zip(ring, (*ring[1:], ring[0]), strict=True)


Shape = Disc | Polygon


def _square_distance(
    y: Floats, x: Floats, start: tuple[float, float], stop: tuple[float, float]
) -> Floats:
    """Squared distance of rows [h,1] and columns [1,w] from a segment, [h,w]."""
    dy, dx = stop[0] - start[0], stop[1] - start[1]
    length2 = dy * dy + dx * dx
    if length2 == 0.0:
        return (y - start[0]) ** 2 + (x - start[1]) ** 2
    along = np.clip(((y - start[0]) * dy + (x - start[1]) * dx) / length2, 0.0, 1.0)
    return (y - start[0] - along * dy) ** 2 + (x - start[1] - along * dx) ** 2


@dataclass(frozen=True)
class Shapes:
    """Shapes on a ground. At a signed distance d a shape covers smooth(1/2 - d / fade)."""

    ground: StyleField
    shapes: tuple[Shape, ...]
    fade: float
    period_cells: int | None = None

    def blend(self, window_cell: Window) -> Blend:
        if self.period_cells is None:
            return self._flat(window_cell)
        parts = turns(window_cell, self.period_cells)
        found = [(self._flat(part), columns) for part, columns in parts]
        height, width = window_cell[2:]
        shares: dict[AnyStyle, NDArray[np.float32]] = {}
        for blend, columns in found:
            for style, share in zip(*blend, strict=True):
                whole = shares.setdefault(style, np.zeros((height, width), np.float32))
                whole[:, columns] = share
        return Blend(tuple(shares), np.stack(list(shares.values())))

    def _flat(self, window_cell: Window) -> Blend:
        """The blend over a window that does not cross the seam of the cylinder."""
        ground = self.ground.blend(window_cell)
        near = self._near(window_cell)
        if not near:
            return ground
        y, x = nodes(window_cell)
        parts: list[tuple[AnyStyle, Floats]]
        parts = [(style, share.astype(np.float64)) for style, share in zip(*ground, strict=True)]
        for index, shift in near:
            shape = self.shapes[index]
            distance = shape.distance(y, x - shift, self.fade)
            covers = smooth(0.5 - distance / self.fade)
            parts = [(style, share * (1 - covers)) for style, share in parts]
            parts.append((shape.style, covers))
        return gather(parts)

    def wrapped(self, period_cells: int) -> Self:
        return replace(self, ground=self.ground.wrapped(period_cells), period_cells=period_cells)

    def describe(self) -> dict[str, Any]:
        shapes = [shape.plain() for shape in self.shapes]
        ground = self.ground.describe()
        return {"kind": "shapes", "fade": self.fade, "ground": ground, "shapes": shapes}

    @cached_property
    def _boxes(self) -> Floats:
        """(y0, x0, y1, x1) of what every shape changes, [N,4]."""
        half = self.fade / 2
        grown = np.array([-half, -half, half, half])
        boxes: Floats = np.array([shape.box for shape in self.shapes]) + grown
        return boxes

    def _near(self, window_cell: Window) -> list[tuple[int, float]]:
        """Shapes that change something in the window, in order, and how far along x each is seen.

        A scan of all boxes takes about 10 us a thousand.
        """
        y, x, height, width = window_cell
        y0, x0, y1, x1 = self._boxes.T
        rows = (y0 < y + height - 1 + 1e-9) & (y1 > y - 1e-9)
        if self.period_cells is None:
            near = np.flatnonzero(rows & (x0 < x + width - 1 + 1e-9) & (x1 > x - 1e-9))
            return [(int(index), 0.0) for index in near]
        found = []
        for index in np.flatnonzero(rows):
            first = math.ceil((x - x1[index]) / self.period_cells)
            last = math.floor((x + width - 1 - x0[index]) / self.period_cells)
            found += [(int(index), float(k * self.period_cells)) for k in range(first, last + 1)]
        return found
