"""The membrane around a box: a residual along its border, carried outward and faded to nothing.

On the frame around the box the correction C is harmonic, the mean of its neighbours everywhere: it
equals the residual on the border pixels of the box and 0 at the frame's outer edge. What varies
slowly along the border is carried far, what varies from pixel to pixel dies out within a few.
(Poisson image editing, Perez, Gangnet and Blake, SIGGRAPH 2003, turned inside out.)

Spaces: px of one level. Shapes: corrections float32 [C,h,w]. The frame is solved in four pieces, so
that memory goes with the border and not with the box, by sums and products of single elements in a
fixed order: the same bits for any number of threads.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infinite_render.geometry import Window

Array = NDArray[np.float32]
Patch = tuple[Window, Array]  # values [C,h,w] over a window


class Fades(NamedTuple):
    """How far a frame reaches on each side of its box, px; 0: not at all."""

    top: int
    left: int
    bottom: int
    right: int


def frame_of(box: Window, fades: Fades) -> list[Window]:
    """The pieces of the frame: above and below the box with the corners, left and right of it."""
    y, x, height, width = box
    wide = fades.left + width + fades.right
    pieces = [
        Window(y - fades.top, x - fades.left, fades.top, wide),
        Window(y + height, x - fades.left, fades.bottom, wide),
        Window(y, x - fades.left, height, fades.left),
        Window(y, x + width, height, fades.right),
    ]
    return [piece for piece in pieces if piece.height and piece.width]


def band_of(box: Window, thickness: int) -> list[Window]:
    """The outermost pixels of the box: its first and last rows, its first and last columns.

    >>> [tuple(band) for band in band_of(Window(0, 0, 9, 7), 2)]
    [(0, 0, 2, 7), (7, 0, 2, 7), (2, 0, 5, 2), (2, 5, 5, 2)]
    >>> [tuple(band) for band in band_of(Window(0, 0, 3, 7), 2)]
    [(0, 0, 3, 7)]
    """
    y, x, height, width = box
    if height <= 2 * thickness or width <= 2 * thickness:
        return [box]
    inner = height - 2 * thickness
    return [
        Window(y, x, thickness, width),
        Window(y + height - thickness, x, thickness, width),
        Window(y + thickness, x, inner, thickness),
        Window(y + thickness, x + width - thickness, inner, thickness),
    ]


def membrane(box: Window, fades: Fades, residual: Array) -> list[Patch]:
    """The correction on every piece of the frame; of `residual` [C,h,w], the border is read."""
    pieces = frame_of(box, fades)
    if not pieces:
        return []
    padded = [Window(y - 1, x - 1, h + 2, w + 2) for y, x, h, w in pieces]
    fields = [np.zeros((len(residual), h, w), np.float32) for _, _, h, w in padded]
    for field, window in zip(fields, padded, strict=True):
        _copy((box, residual), (window, field))
    reach = max(fades) + 1
    # Successive over-relaxation, red and black; its error falls by exp(-2 pi / reach) a sweep.
    relax = np.float32(2 / (1 + math.sin(math.pi / (reach + 1))))
    for _ in range(3 * reach + 16):
        for colour in (0, 1):
            for field, piece in zip(fields, pieces, strict=True):
                _relax(field, (piece.y + piece.x + colour) % 2, relax)
            _exchange(pieces, padded, fields)
    return [(piece, field[:, 1:-1, 1:-1]) for piece, field in zip(pieces, fields, strict=True)]


def _relax(field: Array, parity: int, relax: np.float32) -> None:
    """One step, in place, for the inner elements whose row and column sum to `parity` mod 2."""
    height, width = field.shape[1] - 2, field.shape[2] - 2
    for row in (0, 1):
        column = (parity + row) % 2
        rows, columns = slice(row, height, 2), slice(column, width, 2)
        inner = field[:, 1:-1, 1:-1][:, rows, columns]
        above = field[:, :-2, 1:-1][:, rows, columns]
        below = field[:, 2:, 1:-1][:, rows, columns]
        left = field[:, 1:-1, :-2][:, rows, columns]
        right = field[:, 1:-1, 2:][:, rows, columns]
        mean = ((above + below) + (left + right)) * np.float32(0.25)
        inner += relax * (mean - inner)


def _exchange(pieces: list[Window], padded: list[Window], fields: list[Array]) -> None:
    """Give every piece what its neighbours hold just beyond it."""
    for piece, own in zip(pieces, fields, strict=True):
        for window, other in zip(padded, fields, strict=True):
            if other is not own:
                _copy((piece, own[:, 1:-1, 1:-1]), (window, other))


def _copy(source: Patch, target: Patch) -> None:
    """What two windows share, from one array into the other."""
    shared = source[0].meet(target[0])
    if shared.height and shared.width:
        target[1][:, *shared.within(target[0])] = source[1][:, *shared.within(source[0])]
