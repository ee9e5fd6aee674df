"""Local edits of a canvas that is painted already: only the blocks they reach are painted again.

A store whose picture differs from the one asked for by nothing but boxes of latents drawn again
becomes a store of the other: the blocks that the difference reaches are dropped, then the identity
is changed. A run killed in between leaves an unfinished store of the picture it was.

Spaces: cells of the local latents; px of the plane of the canvas's depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import zarr

from infinite_render.errors import RecipeError
from infinite_render.fields.reseeded import reseeds_from_plain
from infinite_render.geometry import Window
from infinite_render.rendering.layout import ATTRIBUTE, differences
from infinite_render.rendering.shards import DurableStore
from infinite_render.rendering.store import CanvasStore

EDITS = "reseeds"  # the one key of an identity that may differ


def edited_cells(there: dict[str, Any], here: dict[str, Any]) -> list[Window] | None:
    """The boxes of cells in which two identities differ; None where they differ in more."""
    if any(key != EDITS for key, _, _ in differences(there, here)):
        return None
    try:
        before, after = (reseeds_from_plain(values.get(EDITS, [])) for values in (there, here))
    except RecipeError:
        return None
    # Boxes may overlap and the later one holds: from the first difference on, all may change.
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    return [box for box, _ in (*before[same:], *after[same:])]


def blocks_reached(
    store: CanvasStore, window: Window, reached: Sequence[Window], wrap_px: int | None
) -> Iterator[tuple[int, int]]:
    """(iy, ix) of the blocks of a store of `window` that meet one of the windows `reached`."""
    rows, columns = store.grid()
    for iy in range(rows):
        for ix in range(columns):
            y, x, height, width = store.box(iy, ix)
            block = Window(window.y + y, window.x + x, height, width)
            if any(_meets(block, box, wrap_px) for box in reached):
                yield iy, ix


def _meets(block: Window, box: Window, wrap_px: int | None) -> bool:
    if wrap_px is not None:  # to the first place at which the box ends beyond the block's start
        box = box._replace(x=block.x + 1 - box.width + (box.x - block.x - 1 + box.width) % wrap_px)
    shared = block.meet(box)
    return shared.height > 0 and shared.width > 0


def adopt(store: CanvasStore, identity: dict[str, Any], blocks: Sequence[tuple[int, int]]) -> None:
    """Drop these blocks and all above them, then let the store be of another identity."""
    for iy, ix in blocks:
        for level in range(store.levels):
            store.drop_block(iy >> level, ix >> level, level)
    group = zarr.open_group(DurableStore(store.path), mode="r+", zarr_format=3)
    about: Any = group.attrs[ATTRIBUTE]
    group.attrs[ATTRIBUTE] = {**about, "identity": identity}
    store.identity = identity
