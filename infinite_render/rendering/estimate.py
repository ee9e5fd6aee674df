"""What a canvas will cost before it is painted: blocks, disk, memory, arithmetic and time.

Spaces: px of the plane of the canvas's depth; a block is cut into cells, painted one by one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from infinite_render.geometry import Window, window_needed, windows_given
from infinite_render.rendering.canvas import CHUNK_PX, Canvas, store_of
from infinite_render.rendering.exports import (
    BYTES_PER_COLUMN,
    DEFAULT_COMPRESSION,
    STORE,
    check_form,
    plan_bytes,
)
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store
from infinite_render.rendering.workers import SingleThreads

PROGRAM_BYTES = 280 * 2**20  # Python, torch, zarr and libvips with nothing to do
_COPIES = 4  # of the largest features of a cell: input, output, the convolution's own, the blur's
_WRITTEN = 3  # copies of a block while it is cut into planes, packed, and halved for the pyramid


@dataclass(frozen=True)
class Estimate:
    """The plan of a canvas.

    blocks, blocks_left   in all, and not painted yet
    cells                 a block is cut into
    store_bytes           the store when it is whole; it is removed after a file is written
    file_bytes            the file; 0 when the store is the target
    memory_bytes          at the peak
    macs_per_px, waste    arithmetic of one huge tile, and how many times that is spent
    seconds               for what is left, from a short measurement; None where none was asked
    """

    blocks: int
    blocks_left: int
    cells: int
    store_bytes: int
    file_bytes: int
    memory_bytes: int
    macs_per_px: float
    waste: float
    seconds: float | None


def estimate_canvas(
    canvas: Canvas,
    out: Path,
    *,
    store_path: Path | None = None,
    workers: int = 1,
    compression: str = DEFAULT_COMPRESSION,
    measure: bool = True,
    anew: bool = False,
) -> Estimate:
    """Plan a canvas painted to `out`; nothing is written. `anew` counts no block of its store.

    `measure` paints a few cells of the canvas, for about a second, to tell the time. Raises
    OutputError for a form that cannot hold it, StoreError for a damaged store.
    """
    height, width = canvas.window[2:]
    form = check_form(out, height, width)
    size = canvas.scene.block_px
    plan = canvas.scene.plan(canvas.depth)
    blocks = math.ceil(height / size) * math.ceil(width / size)
    left = blocks
    path = store_of(out, store_path)
    if path.exists() and not anew:
        with open_store(path) as store:
            left = len(store.blocks_left())
    seconds = None
    if measure:
        per_px = block_seconds(canvas, workers) / size**2
        seconds = per_px * height * width * left / blocks / min(workers, blocks)
    return Estimate(
        blocks=blocks,
        blocks_left=left,
        cells=len(list(plan.tiles(plan.block(0, 0)))),
        store_bytes=plan_bytes(STORE, height, width),
        file_bytes=0 if form is STORE else plan_bytes(form, height, width, compression),
        memory_bytes=memory_bytes(canvas, workers, file=form is not STORE),
        macs_per_px=plan.ideal_macs_per_px,
        waste=plan.waste,
        seconds=seconds,
    )


def memory_bytes(canvas: Canvas, workers: int, *, file: bool) -> int:
    """About how much memory painting takes at its peak: the height of the canvas does not count."""
    scene = canvas.scene
    size, width = scene.block_px, canvas.window.width
    block = 3 * min(size, canvas.window.height) * min(size, width)
    total = PROGRAM_BYTES + workers * _cell_bytes(scene, canvas.depth)
    total += (workers + 1 + _WRITTEN) * block
    if file:
        total += width * (BYTES_PER_COLUMN + 3 * 3 * min(CHUNK_PX, size))
    return total


def _cell_bytes(scene: Scene, depth: int) -> int:
    """What one worker holds: features of a piece of the widest stage, and what that stage reads."""
    plan = scene.plan(depth)
    number = 2 if scene.precision == "bfloat16" else 4
    windows = plan.level_windows(0, 0)
    most = 0
    for level, (given, painted) in enumerate(pairwise(windows)):
        stage = plan.stage(level)
        lattices = windows_given(stage, window_needed(stage, next(iter(plan.tiles(painted)))))
        sizes = [
            dim * lattice.height * lattice.width
            for dim, lattice in zip(_channels(plan, level), lattices[1:], strict=True)
        ]
        read = plan.generator.structure_dim * number if level == 0 else 3 * 4
        most = max(most, _COPIES * max(sizes) * number + 2 * read * given.height * given.width)
    return most


def _channels(plan: BlockPlan, level: int) -> list[int]:
    """Channels of every lattice that the stage of a level computes."""
    if level == 0:
        return [dim for dim in plan.generator.texture_dims for _ in range(2)]
    detail = plan.detail
    assert detail is not None
    return [*[detail.low_dim] * detail.low_layers, detail.up_dim, detail.high_dim, 3, 3]


def block_seconds(canvas: Canvas, workers: int) -> float:
    """Seconds a worker takes for a whole block when all `workers` are busy, from a few cells each.

    The first cell of a block pays for what its last stage reads; the others do not. At depth 0 the
    cells about the band, where styles blend, cost some 1.4 times as much, which is not told apart.
    """
    scene, size = canvas.scene, canvas.scene.block_px
    y, x = canvas.window.y // size, canvas.window.x // size
    plan = scene.plan(canvas.depth)
    cells = list(plan.tiles(plan.block(0, 0)))

    def painted(worker: int, block: int, cell: Window) -> float:
        shift_x = (x + 2 * worker + block) * size
        began = time.perf_counter()
        scene.paint(cell._replace(y=cell.y + y * size, x=cell.x + shift_x), canvas.depth)
        return time.perf_counter() - began

    def measured(worker: int) -> float:
        painted(worker, 0, cells[0])  # the library prepares itself for the shapes
        first = painted(worker, 1, cells[0])
        return first + painted(worker, 1, cells[-1]) * (len(cells) - 1)

    with SingleThreads(workers) as pool:
        return sum(pool.map(measured, range(workers))) / workers
