"""Before a canvas is painted: whether it can be, and making room for it.

Everything is checked before anything is removed, so that a mistake costs nothing. A plan makes the
same checks and writes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from infinite_render.errors import InfrenderError, OutputError, UsageError
from infinite_render.rendering.canvas import Canvas, store_of
from infinite_render.rendering.estimate import memory_bytes
from infinite_render.rendering.exports import (
    DEFAULT_COMPRESSION,
    STORE,
    Form,
    check_form,
    plan_bytes,
)
from infinite_render.rendering.pyramid import check_compression
from infinite_render.rendering.recipe import read_recipe
from infinite_render.rendering.store import CanvasStore, discard_store, open_store
from infinite_render.rendering.targets import check_target, human_bytes


@dataclass(frozen=True)
class Readiness:
    """What painting a canvas to a target begins with.

    is_painted     the target is this very picture, and so is the store that was asked for: nothing
                   is left to do
    stale_store    a store that stands in the way and is to be removed first
    """

    is_painted: bool = False
    stale_store: Path | None = None

    def make_room(self) -> None:
        """Remove what stands in the way."""
        if self.stale_store is not None:
            discard_store(self.stale_store)


def check(
    canvas: Canvas,
    out: Path,
    *,
    store_path: Path | None = None,
    overwrite: bool = False,
    compression: str = DEFAULT_COMPRESSION,
    workers: int = 1,
) -> Readiness:
    """Whether `out` can be painted; nothing is written.

    `overwrite` lets the target be replaced, and a store of another picture, but not one that
    differs from the target's by local edits alone.
    Raises OutputError (form, place, permission, disk, memory, a target that is not this picture),
    UsageError (a store where none can be), StoreError or IdentityMismatch (another's store).
    """
    height, width = canvas.window[2:]
    form = check_form(out, height, width)
    _check_store_path(out, store_path, form)
    if form is not STORE:
        check_compression(compression)
    path = store_of(out, store_path)
    painted = not overwrite and form is not STORE and is_painted(canvas, out)
    if painted and (store_path is None or _is_whole(canvas, path)):
        return Readiness(is_painted=True)
    share_left, stale = _check_store(canvas, path, form, overwrite=overwrite)
    store_bytes = int(share_left * plan_bytes(STORE, height, width))
    if form is STORE:
        check_target(out, store_bytes, overwrite=True)
    else:
        file_bytes = plan_bytes(form, height, width, compression)
        check_target(out, file_bytes, overwrite=overwrite or painted)
        if store_path is not None:
            check_target(store_path, store_bytes, overwrite=True)
        if store_path is None or _disk(store_path) == _disk(out):
            check_target(out, file_bytes + store_bytes, overwrite=True)
    _check_memory(canvas, workers, form)
    return Readiness(stale_store=path if stale else None)


def is_painted(canvas: Canvas, out: Path) -> bool:
    """Whether the file `out` is this very canvas, painted to the end by an earlier run."""
    try:
        return out.exists() and read_recipe(out) == canvas.recipe
    except InfrenderError:
        return False


def _is_whole(canvas: Canvas, path: Path) -> bool:
    """Whether the store of a canvas is there, with every block, every byte as it was written."""
    if not path.exists():
        return False
    canvas.check_store(path)
    with open_store(path) as store:
        return not (store.blocks_left() or store.damaged or store.verify())


def _check_store_path(out: Path, store_path: Path | None, form: Form) -> None:
    if store_path is None:
        return
    if form is STORE:
        raise UsageError(f"--store {store_path} is of no use: {out} is the store itself; leave it")
    if store_path.suffix != ".zarr":
        raise UsageError(f"--store {store_path} does not end in .zarr; call it {out.stem}.zarr")


def _check_memory(canvas: Canvas, workers: int, form: Form) -> None:
    need, has = memory_bytes(canvas, workers, file=form is not STORE), _memory_of_machine()
    if has is not None and need > has:
        less = "fewer --workers" if form is STORE else "a smaller width, .zarr, or fewer --workers"
        raise OutputError(
            f"a canvas {canvas.window.width} px wide needs about {human_bytes(need)} of memory "
            f"with {workers} workers and this machine has {human_bytes(has)}; choose {less}"
        )


def _memory_of_machine() -> int | None:
    """Bytes of memory there are; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _check_store(canvas: Canvas, path: Path, form: Form, *, overwrite: bool) -> tuple[float, bool]:
    """The share of blocks still to be painted, and whether the store at `path` is to be removed."""
    if not path.exists():
        return 1.0, False
    with open_store(path) as store:  # a StoreError where it is none of ours: never removed
        share_left = _share_left(store)
    if not os.access(path, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: no permission to write into it; choose another --store")
    edited = bool(canvas.edits_of(path))
    if overwrite and not (edited and form is not STORE):
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path}: no permission to remove it; choose another place")
        return 1.0, True
    if not edited:
        canvas.check_store(path)
    return share_left, False


def _share_left(store: CanvasStore) -> float:
    rows, columns = store.grid()
    return len(store.blocks_left()) / (rows * columns)


def _disk(path: Path) -> int:
    return path.parent.stat().st_dev
