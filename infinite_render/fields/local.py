"""Local latents: Gaussian at every cell, one part drawn for each, one that drifts over many.

z_l = sqrt(1 - d^2) a + d b, on the lattice of cells: `a` is drawn anew in every cell; `b`, the
drift, is drawn at nodes `drift_cells` apart and goes over smoothly from one to the next. Both, and
so z_l, have variance 1. A convolution averages `a` over its window, and `b` it sees as it is: small
as its share is, it takes terrain from one kind to another along a canvas.

Truncation (`nn.truncation`) takes psi^3 a and psi^2 b. By eye, rare `a` bring what lies where
nothing should, rocks in the sky and blots in the ground, while `b` brings change, which may stay.
Out of the band of rows that training showed they do so most: towards its edges and beyond, both are
taken nearer to their mean, by psi^2 in the sky and by psi^4 in the ground, so that these go on
calmly. By psi^2 the ground kept clumps of shrubs that came again, and level bands (`band_weights`).

Where lakes are (`nn.lakes`), the last channel is theirs: it only drifts, along the canvas and not
down it, and no truncation takes from it.

In training a patch is small beside `drift_cells`, so there `b` is one value a patch and channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from infinite_render.config import GeneratorConfig
from infinite_render.fields.styles import Values, smooth
from infinite_render.geometry import Span, Window
from infinite_render.noise import Stream, normal

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float32]
Number = TypeVar("Number", float, "Tensor")
Shaped = Callable[[Array], Array]  # values of nodes, from Gaussian ones
Node = tuple[NDArray[np.int64], Array]  # of each place: a node's index, and its share


@dataclass(frozen=True)
class LocalLaw:
    """The law that local latents are drawn by.

    psi          of the truncation trick, 0 .. 1; at 1 all stay, bit for bit
    drift        d, the drift's share of the standard deviation, from 0 to below 1
    drift_cells  from one node of the drift to the next
    band_cells   rows 0 .. band_cells - 1 are those that training showed; None: all rows
    wrap_cells   on a cylinder its circumference: the drift, too, closes there
    lakes        whether the last channel is that of lakes
    """

    psi: float = 1.0
    drift: float = 0.0
    drift_cells: int = 1
    band_cells: int | None = None
    wrap_cells: int | None = None
    lakes: bool = False

    @classmethod
    def of(cls, config: GeneratorConfig, psi: float = 1.0) -> Self:
        """The law a generator was trained on, truncated to `psi`."""
        return cls(
            psi,
            config.drift,
            config.drift_cells,
            config.span_cells,
            lakes=config.shore is not None,
        )

    def wrapped(self, period_cells: int) -> Self:
        """The same on a cylinder."""
        return replace(self, wrap_cells=period_cells)


LAKES_CELLS = 48  # from one node of lakes to the next
LAKES_RARE = 0.8  # deviations above the mean from which a node is wet
LAKES_LEAST = 1.1  # at a wet node, in the units of `nn.lakes`: to the picture's foot
LAKES_DRY = -0.8  # at a dry one: so low that land does not rise
LAKES_BAYS = (20, 0.3), (8, 0.12)  # cells from node to node, and deviation

ALONE = LocalLaw()  # N(0,1), every cell by itself


def local_weights(psi: Number, drift: float) -> tuple[Number, Number]:
    """What a and b count for in z_l, truncated to `psi`: a number, or a tensor of them.

    >>> local_weights(0.5, 0.6)
    (0.1, 0.15)
    """
    return psi * psi * psi * math.sqrt(1 - drift * drift), psi * psi * drift


def local_latents(seed: int, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
    """z_l of a seed over a window of cells, float32 [dim,h,w]."""
    if law.lakes:
        land = local_latents(seed, window_cell, dim - 1, replace(law, lakes=False))
        return np.concatenate([land, _lakes_latent(seed, window_cell, law)])
    z_local = normal(seed, Stream.LOCAL, *window_cell, dim)
    of_own, of_drift = local_weights(law.psi, law.drift)
    z_local *= np.float32(of_own)
    if law.drift > 0:
        _add_drift(z_local, seed, Stream.DRIFT, window_cell, law, _times(of_drift))
    if law.psi != 1 and law.band_cells is not None:
        z_local *= band_weights(window_cell.y_span, law.psi, law.band_cells)[:, None]
    return z_local


def band_weights(rows: Span, psi: float, band_cells: int) -> Array:
    """What z_l counts for in each row, truncated to `psi`, float32 [rows].

    >>> band_weights(Span(-8, 8), 0.5, 15)[::4].astype(float).round(3).tolist()
    [0.25, 0.252, 0.7, 1.0]
    >>> band_weights(Span(7, 23), 0.5, 15)[::5].astype(float).round(3).tolist()
    [1.0, 0.931, 0.132, 0.062]
    """
    row = np.arange(rows.start, rows.stop).astype(np.float64)
    return band_weight(row, np.float64(psi), band_cells).astype(np.float32)


def band_weight(row: Values, psi: Values | np.float64, band_cells: int) -> Values:
    """What z_l counts for in a row, which may lie between two cells', truncated to `psi`.

    1 about the band's middle, psi^2 far above and psi^4 far below, a smooth step between: from half
    way to the band's edge to as far beyond. Only operations that every machine rounds alike.
    """
    below = (2 * row - (band_cells - 1)) / band_cells  # -1 and 1 at the band's edges
    in_sky = 1 - (1 - psi * psi) * smooth(-below - 0.5)
    in_ground = 1 - (1 - psi * psi * psi * psi) * smooth(below - 0.5)
    return in_sky * in_ground  # one of them is 1


def _lakes_latent(seed: int, window_cell: Window, law: LocalLaw) -> Array:
    """The channel of lakes, [1,h,w], the same in every row."""
    bays = [(cells, _times(deviation)) for cells, deviation in LAKES_BAYS]
    latent = np.zeros((1, 1, window_cell.width), np.float32)
    for i, (cells, shaped) in enumerate([(LAKES_CELLS, _wet_or_dry), *bays]):
        row = window_cell._replace(y=2 * i * cells, height=1)  # on a row of nodes of its own
        scale = replace(law, drift_cells=cells)
        _add_drift(latent, seed, Stream.LAKES, row, scale, shaped)
    return latent.repeat(window_cell.height, axis=1)


def _times(weight: float) -> Shaped:
    return lambda nodes: nodes * np.float32(weight)


def _wet_or_dry(nodes: Array) -> Array:
    """Nodes as lakes or as dry land; but for bays nothing is between: puddles look like flaws."""
    beyond = nodes - np.float32(LAKES_RARE)
    return np.where(beyond > 0, beyond + np.float32(LAKES_LEAST), np.float32(LAKES_DRY))


def _add_drift(
    z_local: Array,
    seed: int,
    stream: Stream,
    window_cell: Window,
    law: LocalLaw,
    shaped: Shaped,
) -> None:
    """Add b in place: at every place that of the four nodes around it, as `shaped` makes them."""
    wrap = law.wrap_cells
    around = None if wrap is None else max(1, round(wrap / law.drift_cells))
    (up, upper), (down, lower) = _between(window_cell.y_span, law.drift_cells, 1)
    (left, before), (right, after) = _between(
        window_cell.x_span, wrap or law.drift_cells, around or 1
    )
    y, x = int(up[0]), int(left[0])
    height, width = int(down[-1]) - y + 1, int(right[-1]) - x + 1
    nodes = shaped(normal(seed, stream, y, x, height, width, len(z_local), period_x=around))
    lines: Array = nodes[:, up - y] * upper[:, None] + nodes[:, down - y] * lower[:, None]
    for column, share in ((left, before), (right, after)):
        part = np.repeat(lines, np.bincount(column - x, minlength=width), axis=2)
        part *= share
        z_local += part


def _between(cells: Span, length: int, count: int) -> tuple[Node, Node]:
    """The nodes before and after each cell of a span, `count` of them to `length` cells.

    Shares are those of a smooth step, their squares adding up to 1. Only operations that every
    machine rounds alike.
    """
    first, rest = divmod(cells.start * count, length)  # exact: Python's integers
    place = rest + np.arange(cells.size) * count
    before = first + place // length
    step = smooth(place % length / length)
    norm = np.sqrt(step * step + (1.0 - step) * (1.0 - step))
    share_before: Array = ((1.0 - step) / norm).astype(np.float32)
    share_after: Array = (step / norm).astype(np.float32)
    return (before, share_before), (before + 1, share_after)
