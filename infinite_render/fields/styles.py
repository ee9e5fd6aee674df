"""Styles as fields: which styles hold at every place of the plane, and in what shares.

A style is a global latent, named by a seed or by an anchor's number, or what an inversion found,
named by its pin's digest. A field gives the shares on the lattice of cells; between cells whoever
reads them interpolates linearly. One style alone, one that drifts (`fields.drifting_styles`), an
endless row of anchors or points that divide the plane between them are a ground; shapes
(`fields.shapes`) lie on top of it.

Spaces, all in cells of the plane, so that a field is the same at every depth: nodes are integers,
places and distances are floats. Shapes: shares float32 [K,h,w], which sum to 1 at every node.
Only sums, products and square roots, each exactly rounded: the same bits on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from infinite_render.geometry import Window
from infinite_render.noise import Stream, normal

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Values = TypeVar("Values", Floats, "Tensor")


class Style(NamedTuple):
    """The global latent of the plane of `seed`, or of anchor number `anchor` on that plane.

    drift  the anchor's share of the standard deviation; the rest is the plane's: at 1 an anchor's
           style is its own alone, at 0 it is the plane's
    kept   of what truncation leaves of its distance from the mean, 0 .. 1
    """

    seed: int
    anchor: int | None = None
    drift: float = 1.0
    kept: float = 1.0

    @property
    def order(self) -> tuple[Any, ...]:
        """By what styles are sorted."""
        return (0, self.seed, self.anchor is not None, self.anchor, self.drift, self.kept)

    def z_global(self, dim: int) -> NDArray[np.float32]:
        """[dim], about N(0, 1)."""
        if self.anchor is None:
            return normal(self.seed, Stream.GLOBAL, 0, 0, 1, 1, dim).reshape(dim)
        own = normal(self.seed, Stream.STYLE, 0, self.anchor, 1, 1, dim).reshape(dim)
        if self.drift == 1.0:
            return own
        of_plane = Style(self.seed).z_global(dim)
        rest = math.sqrt(1 - self.drift * self.drift)
        return np.float32(rest) * of_plane + np.float32(self.drift) * own


class MixedStyle(NamedTuple):
    """Style mixing (Karras et al. 2019, 3.1): forms of one style, light and colours of others.

    coarse  modulates the structure, and the texture's coarse layers
    fine    the others: styles, and their shares, which sum to 1
    """

    coarse: Style
    fine: tuple[tuple[Style, float], ...]

    @property
    def order(self) -> tuple[Any, ...]:
        """By what styles are sorted: where its coarse one is."""
        return (*self.coarse.order, *((style.order, share) for style, share in self.fine))


@dataclass(frozen=True)
class PinnedStyle:
    """The style of a pin, named by the pin's digest: it comes from no seed and is not truncated.

    values   z_global [D], which modulates the structure, and w [n_styles,D] of the texture; float32
    """

    digest: str
    values: tuple[NDArray[np.float32], NDArray[np.float32]] = field(repr=False, compare=False)

    @property
    def order(self) -> tuple[Any, ...]:
        """By what styles are sorted."""
        return (1, self.digest)


AnyStyle = Style | MixedStyle | PinnedStyle


class Blend(NamedTuple):
    """The styles that hold somewhere in a window of nodes, and their shares [K,h,w] there."""

    styles: tuple[AnyStyle, ...]
    shares: NDArray[np.float32]

    @property
    def is_one(self) -> bool:
        """Whether a single style holds everywhere in the window."""
        return len(self.styles) == 1


class StyleField(Protocol):
    """What a renderer asks of the styles."""

    def blend(self, window_cell: Window) -> Blend:
        """The styles over a window of nodes; a share is the same whatever the window."""

    def wrapped(self, period_cells: int) -> StyleField:
        """The same field on a cylinder of `period_cells`."""

    def describe(self) -> dict[str, Any]:
        """Plain values that tell this field from every other; part of a picture's identity."""


def smooth(t: Values) -> Values:
    """t clipped to [0, 1], then 3 t^2 - 2 t^3: from 0 to 1 without a kink."""
    t = t.clip(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def nodes(window_cell: Window) -> tuple[Floats, Floats]:
    """Rows [h,1] and columns [1,w] of a window of nodes."""
    y, x, height, width = window_cell
    rows, columns = np.arange(y, y + height), np.arange(x, x + width)
    return rows[:, None].astype(np.float64), columns[None].astype(np.float64)


def gather(parts: Sequence[tuple[AnyStyle, Floats]]) -> Blend:
    """Shares [h,w] by style, which need not sum to 1 -> a blend, without what holds nowhere."""
    held: dict[AnyStyle, Floats] = {}
    for style, share in parts:
        if share.any():
            held[style] = held[style] + share if style in held else share
    # Sorted, and added one by one: a node's sum must not depend on what else the window holds, and
    # numpy's own groups its terms by the shape of the array.
    styles = sorted(held, key=lambda style: style.order)
    total = sum(held[style] for style in styles)
    shares = np.stack([held[style] / total for style in styles], dtype=np.float32)
    return Blend(tuple(styles), shares)


@dataclass(frozen=True)
class OneStyle:
    """One style everywhere."""

    style: Style | PinnedStyle

    def blend(self, window_cell: Window) -> Blend:
        return Blend((self.style,), np.ones((1, *window_cell[2:]), np.float32))

    def wrapped(self, period_cells: int) -> Self:
        return self

    def describe(self) -> dict[str, Any]:
        if isinstance(self.style, PinnedStyle):
            return {"kind": "one", "pin": self.style.digest}
        return {"kind": "one", "seed": self.style.seed}


@dataclass(frozen=True)
class Anchors:
    """An endless row of random styles, one every `spacing` cells, blended between neighbours.

    Anchor i stands at x = i spacing, for every integer i of either sign. On a cylinder the spacing
    is the nearest that divides it.
    """

    seed: int
    spacing: float
    period_cells: int | None = None

    def blend(self, window_cell: Window) -> Blend:
        return gather([(Style(self.seed, i), share) for i, share in self.shares(window_cell)])

    def shares(self, window_cell: Window) -> list[tuple[int, Floats]]:
        """(anchor, share [h,w] that it has of a window of nodes), neighbours in turn."""
        _, x = nodes(window_cell)
        column = np.zeros((window_cell.height, 1))
        return [(anchor, share + column) for anchor, share in self.along(x)]

    def along(self, x: Floats) -> list[tuple[int, Floats]]:
        """(anchor, share that it has at each of the columns x), neighbours in turn."""
        x = x if self.period_cells is None else x % self.period_cells
        place = x / self._gap
        before = np.floor(place)
        after = smooth(place - before)
        parts = []
        for number in sorted({n + step for n in np.unique(before).tolist() for step in (0, 1)}):
            share = np.where(before == number, 1 - after, np.where(before == number - 1, after, 0))
            parts.append((self._turned(int(number)), share))
        return parts

    def column(self, anchor: int) -> float:
        """Where an anchor stands."""
        return anchor * self._gap

    def nearest(self, x: float) -> int:
        """The anchor nearest to a column."""
        return self._turned(round(x / self._gap))

    def wrapped(self, period_cells: int) -> Self:
        return replace(self, period_cells=period_cells)

    def describe(self) -> dict[str, Any]:
        return {"kind": "anchors", "seed": self.seed, "spacing": self.spacing}

    @property
    def _gap(self) -> float:
        """From one to the next, in cells."""
        period = self.period_cells
        return self.spacing if period is None else period / self._count(period)

    def _turned(self, number: int) -> int:
        """The number of an anchor, on a cylinder counted once round."""
        period = self.period_cells
        return number if period is None else number % self._count(period)

    def _count(self, period_cells: int) -> int:
        return max(1, round(period_cells / self.spacing))


class StyledPoint(NamedTuple):
    """A place of the plane and its style."""

    y: float
    x: float
    style: Style


@dataclass(frozen=True)
class Points:
    """Points that divide the plane: each place has the style of the nearest, blended at borders.

    A point whose distance exceeds the nearest one's by t < fade has weight smooth(1 - t / fade);
    where two meet, the change from one to the other is `fade` cells wide.
    """

    points: tuple[StyledPoint, ...]
    fade: float
    period_cells: int | None = None

    def blend(self, window_cell: Window) -> Blend:
        y, x = nodes(window_cell)
        if self.period_cells is not None:
            x = x % self.period_cells
        near = self._near(window_cell)
        # One point at a time: an array of all of them takes longer to come by than to fill.
        distances = []
        for place_y, place_x in self._places[near]:
            down, across = y - place_y, self._across(x - place_x)
            distances.append(np.sqrt(down * down + across * across))  # [h,w]
        nearest = reduce(np.minimum, distances)
        return gather(
            [
                (self.points[i].style, smooth(1 - (distance - nearest) / self.fade))
                for i, distance in zip(near, distances, strict=True)
                if (distance - nearest).min() < self.fade
            ]
        )

    def wrapped(self, period_cells: int) -> Self:
        return replace(self, period_cells=period_cells)

    def describe(self) -> dict[str, Any]:
        rows = [[point.y, point.x, point.style.seed] for point in self.points]
        return {"kind": "points", "fade": self.fade, "points": rows}

    @cached_property
    def _places(self) -> Floats:
        """(y, x) of every point, [N,2]."""
        return np.array([point[:2] for point in self.points], np.float64)

    def _across(self, dx: Floats) -> Floats:
        """Distances along x, by the shorter way round."""
        period = self.period_cells
        return dx if period is None else (dx + period / 2) % period - period / 2

    def _near(self, window_cell: Window) -> NDArray[np.intp]:
        """The points that can have a weight in the window: a scan of all, 10 us a thousand."""
        half_y, half_x = (window_cell.height - 1) / 2, (window_cell.width - 1) / 2
        down = np.abs(self._places[:, 0] - (window_cell.y + half_y))
        across = np.abs(self._across(self._places[:, 1] - (window_cell.x + half_x)))
        least = np.maximum(down - half_y, 0) ** 2 + np.maximum(across - half_x, 0) ** 2
        most = (down + half_y) ** 2 + (across + half_x) ** 2
        bound = np.sqrt(most.min()) + self.fade
        return np.flatnonzero(np.sqrt(least) <= bound + 1e-6)
