"""Shares of styles on the lattice of features: a band of rows at a time.

Given at the nodes of the lattice of cells, they are interpolated linearly on every finer lattice.
Most bands hold fewer styles than the window does; where a band holds one, its scales are the same
at every location and nothing is multiplied out; where its rows are alike, as along a canvas whose
style drifts, those of one row serve for all. Matrices have few sizes, for the library writes its
products anew for each: a band has as many rows as any other, its styles are of few numbers; of one
row they are as many as there are, for such a product is small.
Shapes: shares float32 [K,h,w] at nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from infinite_render.geometry import Window

_BAND_VALUES = 1 << 19  # of features at a time: about a core's cache, and few calls a cell


class Band(NamedTuple):
    """A few rows, the styles that hold there, and their shares in them.

    weights float32 [styles,n]: n the pixels of one row where all rows are alike, else at least
    those of all; None where one style alone holds.
    """

    rows: slice
    styles: tuple[int, ...]
    weights: Tensor | None


@dataclass(frozen=True)
class Shares:
    """Shares of K styles on a lattice of `points` to a cell, read a band of rows at a time.

    nodes [K,n,m] cover `cells`; `window` is the part of the lattice that is asked for.
    """

    nodes: Tensor
    cells: Window
    window: Window
    points: int
    _kept: dict[int, list[Band]] = field(default_factory=dict)

    def step(self, channels: int) -> int:
        """Rows of a band of features [h,w,C]."""
        return max(1, _BAND_VALUES // (channels * self.window.width))

    def bands(self, channels: int) -> list[Band]:
        """The bands of features [h,w,C] of the window, made once; the last may be lower."""
        step = self.step(channels)
        if step not in self._kept:
            self._kept[step] = list(self._bands(step))
        return self._kept[step]

    def _bands(self, step: int) -> Iterator[Band]:
        (y, x, height, width), cells, points = self.window, self.cells, self.points
        # Rows beyond the window, which nobody reads, make the last band's shares as many as all.
        down = _tents(y, -(-height // step) * step, cells.y, cells.height, points)
        across = _tents(x, width, cells.x, cells.width, points)
        down, across = down.to(self.nodes.device), across.to(self.nodes.device)
        columns = self.nodes @ across.t()  # [K,n,w]
        held = (self.nodes != 0).any(dim=2).cpu().numpy()  # [K,n]
        as_next = (self.nodes[:, 1:] == self.nodes[:, :-1]).all(dim=2).all(dim=0).cpu().numpy()
        for row in range(0, height, step):
            near = slice(
                (y + row) // points - cells.y,
                (y + row + step - 1) // points + 2 - cells.y,
            )
            styles = np.flatnonzero(held[:, near].any(axis=1)).tolist()
            rows = slice(row, min(row + step, height))
            if len(styles) == 1:
                yield Band(rows, tuple(styles), None)
                continue
            if as_next[near.start : near.stop - 1].all():
                yield Band(rows, tuple(styles), columns[styles, near.start])
                continue
            some = (*styles, *styles[:1] * (_padded(len(styles)) - len(styles)))
            weights = (down[row : row + step, near] @ columns[list(some), near]).flatten(1)
            weights[len(styles) :] = 0
            yield Band(rows, some, weights)


def _padded(count: int) -> int:
    """The next of 2, 3, 4, 6, 8, 12, 16, ... styles.

    >>> [_padded(count) for count in (2, 3, 5, 7, 9)]
    [2, 3, 6, 8, 12]
    """
    power = 1 << (count - 1).bit_length()
    return power * 3 // 4 if power > 2 and count <= power * 3 // 4 else power


def _tents(start: int, size: int, first: int, count: int, points: int) -> Tensor:
    """Linear interpolation from nodes first .. first + count - 1, [size,count]; exact weights."""
    place = (np.arange(start, start + size) - first * points)[:, None] / points
    weight = 1 - np.abs(place - np.arange(count)[None])
    return torch.from_numpy(np.maximum(weight, 0).astype(np.float32))
