"""Relief: where the land of a plane is high and where it is low.

The vertical coordinate is the same along a whole canvas, so all that hangs on it alone comes out
level: plains, haze, the feet of mountains, a ruled horizon that crosses what stands there. Relief
takes each place from so many rows of cells higher or lower: hills and valleys some way across, in
which peaks and plains keep their forms. The generator knows rows shifted by any part of a cell from
training (their jitter), but one shift a patch: so relief changes over several cells, and slowest
from row to row, where land that rose by more than a row would fold over itself.

Spaces: cells. A pure function of seed and place. Shapes: float32 [h,w].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from infinite_render.config import ModelRecipe
from infinite_render.fields.drift import add_drift, nodes_of, times
from infinite_render.geometry import Window
from infinite_render.noise import Array, Stream

Relief = Callable[[Window], Array]  # of a latent field

SCALES = (60, 30, 0.68), (24, 12, 0.45), (13, 10, 0.38), (8, 9, 0.34), (4, 7, 0.28)
"""Cells from node to node along the canvas and down it, and deviation: of variance 1 together.

Their ratios are uneven, and the widest is the highest: of scales that halve one after the other
peaks came in rows, alike and evenly spaced.
"""

RELIEF_VERSION = 2  # in a picture's identity: this file, `fields.drift`, what `nn` does with it


def relief_of(seed: int, window_cell: Window, wrap_cells: int | None = None) -> Array:
    """How high the land of a seed is, about N(0, 1), [h,w]; a cylinder's closes."""
    relief = np.zeros((1, *window_cell[2:]), np.float32)
    for i, (across, down, deviation) in enumerate(SCALES):
        nodes = partial(nodes_of, seed, Stream.RELIEF, slice(i, i + 1), times(deviation))
        add_drift(relief, nodes, window_cell, (across, down), wrap_cells)
    land: Array = relief[0]
    return land


def relief_in(window_cell: Window, relief: Relief, recipe: ModelRecipe) -> Array:
    """What v of a model's land is raised by over a window of cells, [1,1,h,w]."""
    rows = recipe.render.relief
    if rows == 0:
        return np.zeros((1, 1, *window_cell[2:]), np.float32)
    v_per_unit = np.float32(rows * recipe.generator.v_per_row)
    raised: Array = relief(window_cell)[None, None] * v_per_unit
    return raised
