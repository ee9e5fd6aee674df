"""Values that drift: drawn at nodes some cells apart, they go over smoothly from one to the next.

Where four nodes meet their shares are those of smooth steps, and the squares of the shares add up
to 1: so what is drawn with variance 1 keeps it everywhere, but on a cylinder of few nodes.

Spaces: cells; nodes are numbered from cell 0 on, of either sign. Shapes: values float32 [C,h,w].
Only operations that every machine rounds alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from infinite_render.fields.styles import smooth
from infinite_render.geometry import Span, Window
from infinite_render.noise import Array, Stream, normal

Shaped = Callable[[Array], Array]  # values of nodes, from Gaussian ones
Nodes = Callable[[Window, int | None], Array]  # of a window of nodes, so many of them around
Node = tuple[NDArray[np.int64], Array]  # of each place: a node's index, and its share


def nodes_of(
    seed: int, stream: Stream, channels: slice, shaped: Shaped, window: Window, around: int | None
) -> Array:
    """Channels of a stream over a window of nodes, `around` of them on a cylinder, as shaped."""
    return shaped(normal(seed, stream, *window, channels.stop, period_x=around)[channels])


def times(weight: float) -> Shaped:
    """Nodes of that deviation."""
    return lambda nodes: nodes * np.float32(weight)


def add_drift(
    values: Array,
    nodes: Nodes,
    window_cell: Window,
    scale: tuple[int, int],
    wrap_cells: int | None,
) -> None:
    """Add in place, at every place, what goes over smoothly between the four nodes around it.

    `scale` is in cells from node to node, along a canvas and down it.
    """
    across, down_cells = scale
    around = None if wrap_cells is None else max(1, round(wrap_cells / across))
    (up, upper), (down, lower) = _between(window_cell.y_span, down_cells, 1)
    (left, before), (right, after) = _between(window_cell.x_span, wrap_cells or across, around or 1)
    y, x = int(up[0]), int(left[0])
    height, width = int(down[-1]) - y + 1, int(right[-1]) - x + 1
    given = nodes(Window(y, x, height, width), around)
    lines: Array = given[:, up - y] * upper[:, None] + given[:, down - y] * lower[:, None]
    for column, share in ((left, before), (right, after)):
        part = np.repeat(lines, np.bincount(column - x, minlength=width), axis=2)
        part *= share
        values += part


def _between(cells: Span, length: int, count: int) -> tuple[Node, Node]:
    """The nodes before and after each cell of a span, `count` of them to `length` cells."""
    first, rest = divmod(cells.start * count, length)  # exact: Python's integers
    place = rest + np.arange(cells.size) * count
    before = first + place // length
    step = smooth(place % length / length)
    norm = np.sqrt(step * step + (1.0 - step) * (1.0 - step))
    share_before: Array = ((1.0 - step) / norm).astype(np.float32)
    share_after: Array = (step / norm).astype(np.float32)
    return (before, share_before), (before + 1, share_after)
