"""Owns the store's pyramid: each block of a level is the mean of the four below it, and no more.

    level l, blocks (2i, 2j) (2i, 2j+1) (2i+1, 2j) (2i+1, 2j+1)  ->  level l + 1, block (i, j)

A block is made as soon as the four (at the edge: two, or one) under it are done, whatever the
order they came in, and is read from the disk, never kept: so nothing has to be remembered, memory
is that of two blocks, and a killed run goes on where it was. Level 0 is read back once, which at
over 200 Mpx/s is nothing beside rendering it.

Means are rounded half to even. Half up, as libvips does for the TIFF, brightens by an eighth of a
grey level at every level; the two pyramids differ by that, at most one grey level in one step.

Shapes: planes are uint8 [3, H, W].
"""

from __future__ import annotations

import numpy as np

from infinite_render.rendering.store import Block, CanvasStore, Pixels


def halve(planes: Pixels) -> Pixels:
    """uint8 [3, H, W] to [3, ceil(H/2), ceil(W/2)]: means of 2x2; an odd edge counts twice.

    >>> halve(np.array([[[1, 2], [3, 4]]], dtype=np.uint8))  # 2.5, to even
    array([[[2]]], dtype=uint8)
    """
    _, height, width = planes.shape
    if height % 2 or width % 2:
        planes = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    sums = planes[:, 0::2].astype(np.uint16)
    sums += planes[:, 1::2]
    sums = sums[:, :, 0::2] + sums[:, :, 1::2]
    sums += ((sums >> 2) & 1) + 1  # +1 below an even quarter, +2 below an odd one
    return (sums >> 2).astype(np.uint8)


def build_above(store: CanvasStore, iy: int, ix: int, level: int = 0) -> None:
    """After block (iy, ix) of `level` was written: make every block above it that can be made.

    To be called by the thread that writes. Raises UnreadableBlocks where one below is damaged.
    """
    while level + 1 < store.levels:
        iy, ix = iy // 2, ix // 2
        below = _below(store, level + 1, iy, ix)
        if store.has_block(iy, ix, level + 1) or not all(
            store.has_block(block.iy, block.ix, block.level) for block in below
        ):
            return
        level += 1
        store.write_planes(Block(level, iy, ix), _mean_of(store, Block(level, iy, ix), below))


def catch_up(store: CanvasStore) -> None:
    """Make what a killed run did not come to: every missing block whose four below are done."""
    for level in range(1, store.levels):
        for iy, ix in store.blocks_left(level):
            below = _below(store, level, iy, ix)
            if all(store.has_block(block.iy, block.ix, block.level) for block in below):
                store.write_planes(
                    Block(level, iy, ix), _mean_of(store, Block(level, iy, ix), below)
                )


def _below(store: CanvasStore, level: int, iy: int, ix: int) -> list[Block]:
    """The blocks of the level below that block (iy, ix) of `level` is made from."""
    rows, columns = store.grid(level - 1)
    return [
        Block(level - 1, y, x)
        for y in range(2 * iy, min(2 * iy + 2, rows))
        for x in range(2 * ix, min(2 * ix + 2, columns))
    ]


def _mean_of(store: CanvasStore, block: Block, below: list[Block]) -> Pixels:
    """Planes of a block from those below, read one at a time."""
    _, _, height, width = store.box(block.iy, block.ix, block.level)
    planes = np.empty((3, height, width), dtype=np.uint8)
    half = store.block_px // 2
    for level, iy, ix in below:
        quarter = halve(store.read_planes(*store.box(iy, ix, level), level))
        y, x = (iy % 2) * half, (ix % 2) * half
        planes[:, y : y + quarter.shape[1], x : x + quarter.shape[2]] = quarter
    return planes
