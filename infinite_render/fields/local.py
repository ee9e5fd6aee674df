"""Local latents: Gaussian at every cell, one part drawn for each, one that drifts over many.

z_l = sqrt(1 - d^2) a + d b, on the lattice of cells: `a` is drawn anew in every cell; `b`, the
drift, is drawn at nodes `drift_cells` apart and goes over smoothly from one to the next. Both, and
so z_l, are drawn with variance 1. A convolution averages `a` over its window, and `b` it sees as it
is: small as its share is, it takes terrain from one kind to another along a canvas.

Truncation (`nn.truncation`) takes psi^2 z_l: rare z_l bring what lies where nothing should, rocks
in the sky and blots in the ground, and change comes of styles and relief as well. Out of the band
of rows that training showed they do so most: towards its edges and beyond, z_l is taken nearer to
its mean, by psi in the sky and by psi^3 in the ground, so that these go on calmly (`band_weights`).
Rows are those of the plane, whether relief takes land from there or from some rows deeper.

Where lakes are (`nn.lakes`), the last channel is theirs: it only drifts, and no truncation takes
from it. Whether land is wet or dry changes along the canvas alone; bays, points and islands come of
smaller scales where water is near, flatter than they are wide, for it is seen from the side.

Where a model has floors of the drift (`nn.floors`), truncated `b` is kept up to them at every
place; then its mean is not 0, nor its variance 1.

In training a patch is small beside `drift_cells`, so there `b` is one value a patch and channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from infinite_render.config import GeneratorConfig
from infinite_render.fields.drift import add_drift, nodes_of, times
from infinite_render.fields.styles import Values, smooth
from infinite_render.geometry import Span, Window
from infinite_render.noise import Array, Stream, normal

if TYPE_CHECKING:
    from torch import Tensor

    from infinite_render.nn.floors import Floor, Floors

Drift = TypeVar("Drift", Array, "Tensor")

DRIFT_VERSION = 2  # in a picture's identity: how z_l drifts, `fields.drift`


@dataclass(frozen=True)
class LocalLaw:
    """The law that local latents are drawn by.

    psi          of the truncation trick, 0 .. 1; at 1 all stay, bit for bit
    drift        d, the drift's share of the standard deviation, from 0 to below 1
    drift_cells  from one node of the drift to the next
    band_cells   rows 0 .. band_cells - 1 are those that training showed; None: all rows
    wrap_cells   on a cylinder its circumference: the drift, too, closes there
    lakes        whether the last channel is that of lakes
    floors       of the drift; by `of` there are none at psi = 1
    """

    psi: float = 1.0
    drift: float = 0.0
    drift_cells: int = 1
    band_cells: int | None = None
    wrap_cells: int | None = None
    lakes: bool = False
    floors: tuple[Floor, ...] = ()

    @classmethod
    def of(cls, config: GeneratorConfig, psi: float = 1.0, floors: Floors | None = None) -> Self:
        """The law a generator was trained on, truncated to `psi`, and up to its drift's floors."""
        return cls(
            psi,
            config.drift,
            config.drift_cells,
            config.span_cells,
            lakes=config.shore is not None,
            floors=() if floors is None or psi == 1 else floors.each(),
        )

    def wrapped(self, period_cells: int) -> Self:
        """The same on a cylinder."""
        return replace(self, wrap_cells=period_cells)


LAKES_CELLS = 96  # from one node of lakes to the next
LAKES_RARE = 1.15  # deviations above the mean from which a node is wet
LAKES_LEAST = 1.4  # at a wet node, in the units of `nn.lakes`: to the picture's foot
LAKES_DRY = -1.8  # at a dry one: so low that land does not rise
LAKES_BAYS = (45, 24, 1.0), (18, 8, 0.35), (6, 2, 0.14), (3, 1, 0.05)
"""Cells from node to node along the canvas and down it, and deviation at a wet node."""

ALONE = LocalLaw()  # N(0,1), every cell by itself


def local_latents(seed: int, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
    """z_l of a seed over a window of cells, float32 [dim,h,w]."""
    if law.lakes:
        land = local_latents(seed, window_cell, dim - 1, replace(law, lakes=False))
        return np.concatenate([land, _lakes_latent(seed, window_cell, law)])
    z_local = normal(seed, Stream.LOCAL, *window_cell, dim)
    z_local *= np.float32(math.sqrt(1 - law.drift * law.drift))
    if law.drift > 0:
        z_local += np.float32(law.drift) * drift_in(seed, window_cell, dim, law)
    z_local *= np.float32(law.psi * law.psi)
    if law.psi != 1 and law.band_cells is not None:
        z_local *= band_weights(window_cell.y_span, law.psi, law.band_cells)[:, None]
    return z_local


def drift_in(seed: int, window_cell: Window, dim: int, law: LocalLaw) -> Array:
    """What drifts of z_l, of deviation 1 without floors, float32 [dim,h,w]."""
    drift = np.zeros((dim, *window_cell[2:]), np.float32)
    nodes = partial(nodes_of, seed, Stream.DRIFT, slice(0, dim), times(1.0))
    scale = law.drift_cells, law.drift_cells
    add_drift(drift, nodes, window_cell, scale, law.wrap_cells)
    return floored(drift, law.floors)


def floored(drift: Drift, floors: Sequence[Floor]) -> Drift:
    """Drift [L,h,w], or of patches a tensor [L,N,1,1], moved up where it reads below a floor.

    Every place by itself, not nodes: floors move means off 0, and between nodes, whose shares sum
    to more than 1, a mean would be farther off, at the same places for all seeds. Only operations
    that every machine rounds alike.
    """
    moved = drift + 0.0  # a copy, of an array as of a tensor
    for reads, moves, least in floors:
        read = sum(of * channel for of, channel in zip(reads, drift, strict=True))
        short = (least - read).clip(0)
        for i, move in enumerate(moves):
            moved[i] += move * short
    return moved


def band_weights(rows: Span, psi: float, band_cells: int) -> Array:
    """What z_l counts for in each row, truncated to `psi`, float32 [rows].

    >>> band_weights(Span(-8, 8), 0.5, 15)[::4].astype(float).round(3).tolist()
    [0.5, 0.502, 0.8, 1.0]
    >>> band_weights(Span(7, 23), 0.5, 15)[::5].astype(float).round(3).tolist()
    [1.0, 0.935, 0.19, 0.125]
    """
    row = np.arange(rows.start, rows.stop).astype(np.float64)
    return band_weight(row, np.float64(psi), band_cells).astype(np.float32)


def band_weight(row: Values, psi: Values | np.float64, band_cells: int) -> Values:
    """What z_l counts for in a row, which may lie between two cells', truncated to `psi`.

    1 about the band's middle, psi far above and psi^3 far below, a smooth step between: from half
    way to the band's edge to as far beyond. Only operations that every machine rounds alike.
    """
    below = (2 * row - (band_cells - 1)) / band_cells  # -1 and 1 at the band's edges
    in_sky = 1 - (1 - psi) * smooth(-below - 0.5)
    in_ground = 1 - (1 - psi * psi * psi) * smooth(below - 0.5)
    return in_sky * in_ground  # one of them is 1


def _lakes_latent(seed: int, window_cell: Window, law: LocalLaw) -> Array:
    """The channel of lakes, [1,h,w]: land wet or dry, the same in every row, and bays."""
    row = window_cell._replace(y=0, x=window_cell.x + _first_node(seed), height=1)
    along = np.zeros((1, 1, window_cell.width), np.float32)
    bays = np.zeros((1, *window_cell[2:]), np.float32)
    nodes = partial(nodes_of, seed, Stream.LAKES, slice(0, 1), _wet_or_dry)
    add_drift(along, nodes, row, (LAKES_CELLS, 1), law.wrap_cells)
    for i, (across, down, deviation) in enumerate(LAKES_BAYS, 1):
        nodes = partial(nodes_of, seed, Stream.LAKES, slice(i, i + 1), times(deviation))
        add_drift(bays, nodes, window_cell, (across, down), law.wrap_cells)
    near: Array = ((along - np.float32(LAKES_DRY)) / np.float32(LAKES_LEAST - LAKES_DRY)).clip(0, 1)
    return along + near * bays  # on dry land bays would be ponds, as if pasted on


def _first_node(seed: int) -> int:
    """How many cells left of cell 0 a seed's nodes begin: else all seeds had lakes in one place."""
    drawn = normal(seed, Stream.LAKES, 0, 0, 1, 1, len(LAKES_BAYS) + 2)[-1, 0, 0]
    return int(drawn * np.float32(1 << 20)) % LAKES_CELLS


def _wet_or_dry(nodes: Array) -> Array:
    """Nodes as lakes or as dry land; but for bays nothing is between: puddles look like flaws."""
    beyond = nodes - np.float32(LAKES_RARE)
    return np.where(beyond > 0, beyond + np.float32(LAKES_LEAST), np.float32(LAKES_DRY))
