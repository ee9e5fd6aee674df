"""The coordinate grid c = (tanh v, cos u, sin u) of the structure synthesizer.

Cell row i: v = cut (2 i / (n + V - 1) - 1); cell column j: u = pi (2 j / T - 1). Row 0 is where
v = -cut: the plane is fixed, and a canvas is a window on it. Columns are reduced modulo the period
T as integers before any float, so that column 10^12 is as exact as column 0.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from infinite_render.geometry import Window

MOST_TANH = 0.999999  # beyond it v cannot be told from its tanh in float32


def vertical(rows: Tensor, *, cut: float, span_cells: int) -> Tensor:
    """tanh v of cell rows (any real numbers, any shape); span_cells = n + V - 1."""
    return torch.tanh(cut * (2 * rows / span_cells - 1))


def v_of(c: Tensor) -> Tensor:
    """v of coordinates [N,3,h,w], as far as it can be told, float32 [N,1,h,w]."""
    return torch.atanh(c[:, :1].float().clamp(-MOST_TANH, MOST_TANH))


def lifted(c: Tensor, by: Tensor) -> Tensor:
    """c with v' = v + `by` [N,1,h,w], [N,3,h,w]: land from deeper in the picture, and so higher.

    Where `by` is 0 nothing changes, bit for bit.
    """
    tanh_v = torch.where(by != 0, torch.tanh(v_of(c) + by).to(c.dtype), c[:, :1])
    return torch.cat([tanh_v, c[:, 1:]], dim=1)


def row_of(v: float, *, cut: float, span_cells: int) -> float:
    """The cell row of a v, mostly between two.

    >>> row_of(-3.0, cut=3.0, span_cells=17), row_of(0.0, cut=3.0, span_cells=17)
    (0.0, 8.5)
    """
    return span_cells * (v / cut + 1) / 2


def horizontal(columns: Tensor, *, period_cells: int) -> tuple[Tensor, Tensor]:
    """(cos u, sin u) of cell columns (any real numbers, any shape)."""
    u = math.pi * (2 * columns / period_cells - 1)
    return torch.cos(u), torch.sin(u)


def stack(tanh_v: Tensor, cos_u: Tensor, sin_u: Tensor) -> Tensor:
    """Row values [N,h] and column values [N,w] -> the grid [N,3,h,w]."""
    height, width = tanh_v.shape[1], cos_u.shape[1]
    planes = (
        tanh_v[:, :, None].expand(-1, -1, width),
        cos_u[:, None, :].expand(-1, height, -1),
        sin_u[:, None, :].expand(-1, height, -1),
    )
    return torch.stack(planes, dim=1)


def turns_of(wrap_cells: int, period_cells: int) -> int:
    """How often the phase goes round on a cylinder of `wrap_cells`, so that it closes there.

    The pace nearest to the trained one: the period becomes wrap_cells / turns cells, which divides
    the cylinder. On one that is shorter than half a period the phase stands still: 0 turns.

    >>> [turns_of(wrap, 108) for wrap in (40, 108, 128, 1000)]
    [0, 1, 1, 9]
    """
    return (2 * wrap_cells + period_cells) // (2 * period_cells)


def window_grid(
    window_cell: Window,
    *,
    cut: float,
    span_cells: int,
    period_cells: int,
    turns: int = 1,
    shift_cell: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """The grid over a window of cells, float32 [1,3,h,w]; exact at any distance from the origin.

    The phase goes round `turns` times in `period_cells`: u = pi (2 turns j / T - 1). Cell (i, j)
    has the coordinates of (i, j) + `shift_cell`, which need not be whole.
    """
    rows = np.arange(window_cell.y, window_cell.y + window_cell.height, dtype=np.int64)
    columns = np.arange(window_cell.x, window_cell.x + window_cell.width, dtype=np.int64)
    # Python's integers: the product leaves 64 bits on the longest of cylinders.
    phases = torch.tensor([j * turns % period_cells for j in columns.tolist()]).double()
    saturated = np.clip(rows, -(2**20), 2**20)  # tanh is 1 long before; keeps the float small
    down, along = shift_cell
    places = torch.from_numpy(saturated).double() + down
    tanh_v = vertical(places, cut=cut, span_cells=span_cells)
    cos_u, sin_u = horizontal(phases + along * turns, period_cells=period_cells)
    return stack(tanh_v[None], cos_u[None], sin_u[None]).float()
