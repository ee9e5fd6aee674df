"""Several photographs in one row: where they lie on a canvas, and the vertical place they share.

Spaces, all (y, x): px of the canvas, the window from (0, 0) of the plane of depth d; cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from infinite_render.errors import UsageError
from infinite_render.inversion.base import (
    check_photograph,
    horizon_shift,
    to_base,
)
from infinite_render.inversion.eyes import guess_shift, open_eyes
from infinite_render.models import Model
from infinite_render.pixels import Pixels
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.rendering.workers import SingleThreads


class Row(NamedTuple):
    """`places_px` (y, x) of each photograph; `down_cell`, the row that cell row 0 stands for."""

    places_px: tuple[tuple[int, int], ...]
    down_cell: float


def columns_of(widths_px: Sequence[int], width_px: int, margin_px: int, cell_px: int) -> list[int]:
    """The first column of each photograph, at equal distances: a cell of latents or more.

    >>> columns_of([100, 50, 100], 450, 0, 64)
    [0, 200, 350]
    """
    free_px = width_px - 2 * margin_px - sum(widths_px)
    gaps = len(widths_px) - 1
    if free_px < gaps * cell_px:
        least = sum(widths_px) + 2 * margin_px + gaps * cell_px
        raise UsageError(
            f"{len(widths_px)} photographs of {sum(widths_px)} px together would overlap, or nearly"
            f", on a canvas {width_px} px wide; give --width {least} or more"
        )
    return [
        margin_px + sum(widths_px[:i]) + round(i * free_px / max(1, gaps))
        for i in range(len(widths_px))
    ]


def rows_of(
    shifts_cell: Sequence[float],
    free_px: Sequence[int],
    cell_px: int,
    down_cell: float | None = None,
) -> tuple[list[int], float]:
    """The first row of each photograph, and the vertical shift that is nearest to all of theirs.

    shifts_cell   the shift at which each would lie right with its first row at 0
    free_px       how far down each can be moved

    >>> rows_of([1.0, 3.0], [0, 0], 10), rows_of([1.0, 3.0], [40, 40], 10)
    (([0, 0], 2.0), ([10, 30], 0.0))
    """
    if down_cell is None:
        middles = [s - free / 2 / cell_px for s, free in zip(shifts_cell, free_px, strict=True)]
        down_cell = sum(middles) / len(middles)
    rows = [
        min(max(0, round((shift - down_cell) * cell_px)), free)
        for shift, free in zip(shifts_cell, free_px, strict=True)
    ]
    return rows, down_cell


def lay_out(
    model: Model,
    photographs: Sequence[Pixels],
    size_px: tuple[int, int],
    depth: int,
    *,
    margin_px: int = 0,
    horizon_px: int | None = None,
    precision: str = "auto",
) -> Row:
    """Photographs side by side on a canvas (height, width), each as high as its horizon asks.

    The model's discriminator guesses each one's vertical place; what the canvas leaves no room for
    is shared. `horizon_px` is the canvas's row in which the horizon is to lie instead.
    Raises UsageError for photographs that do not fit on it.
    """
    config = model.recipe.generator
    cell_px = config.stride << depth
    for photograph in photographs:
        check_photograph(photograph, depth)
        if photograph.shape[0] > size_px[0]:
            raise UsageError(
                f"a photograph is {photograph.shape[0]} px high and the canvas {size_px[0]}; "
                f"give --height {photograph.shape[0]} or more"
            )
    widths_px = [photograph.shape[1] for photograph in photographs]
    columns = columns_of(widths_px, size_px[1], margin_px, cell_px)
    eyes = open_eyes(model.folder, DTYPES[choose_precision(precision)])

    def guess(photograph: Pixels) -> float:
        return guess_shift(eyes.critic, config, *to_base(photograph, (0, 0), depth))

    with SingleThreads(1) as pool:
        shifts = list(pool.map(guess, photographs))
    down = None if horizon_px is None else horizon_shift(config, horizon_px / (1 << depth))
    free = [size_px[0] - photograph.shape[0] for photograph in photographs]
    rows, down_cell = rows_of(shifts, free, cell_px, down)
    return Row(tuple(zip(rows, columns, strict=True)), down_cell)


def horizon_of(model: Model, row: Row, index: int, depth: int) -> float:
    """The row of a photograph, px from its top, in which the shared horizon lies."""
    config = model.recipe.generator
    on_canvas_px = (config.span_cells / 2 - row.down_cell) * (config.stride << depth)
    return on_canvas_px - row.places_px[index][0]
