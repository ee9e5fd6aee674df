"""A canvas: a window of a plane, painted block by block into a store and on into a file.

    workers (threads) --blocks--> this thread --shards--> store --bands--> the file's own thread

The thread that runs the generator is the only writer of the store. Whatever ends a run, the blocks
that are there stay, and the same call goes on with the others; the file appears when it is whole.

Spaces: px of the plane; the canvas's blocks are cut from its own first pixel.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from infinite_render.errors import UnreadableBlocks, UsageError
from infinite_render.geometry import Window
from infinite_render.rendering.bands import Bands
from infinite_render.rendering.edits import adopt, blocks_reached, edited_cells
from infinite_render.rendering.exports import (
    DEFAULT_COMPRESSION,
    DEFAULT_QUALITY,
    FORMS,
    STORE,
    check_form,
    open_sink,
)
from infinite_render.rendering.levels import build_above, catch_up
from infinite_render.rendering.plan import check_window
from infinite_render.rendering.recipe import PictureRecipe
from infinite_render.rendering.scene import Picture, Scene
from infinite_render.rendering.store import (
    CanvasStore,
    discard_store,
    name_blocks,
    open_or_create,
    open_store,
)
from infinite_render.rendering.workers import SingleThreads

CHUNK_PX = 512
# Blocks waiting for a free worker, beyond one each: no worker waits for the writing thread.
_AHEAD = 1

Order = Callable[[Sequence[tuple[int, int]]], Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class Progress:
    """How far a canvas is. `kept_px` were there already; `notice` is a line for the user, or ''."""

    phase: str  # "checking", "painting", "finishing"
    done_px: int
    total_px: int
    kept_px: int = 0
    notice: str = ""


class Stopped(Exception):
    """Raised inside a worker when its run has ended; nobody outside this module sees it."""


@dataclass(frozen=True)
class Canvas:
    """A window of a scene's plane of `depth`; its first pixel lies on the lattice of cells.

    Raises UsageError for an origin off that lattice, proposing the nearest, or an empty window.
    """

    scene: Scene
    window: Window
    depth: int = 0

    def __post_init__(self) -> None:
        check_window(self.window)
        self.scene.plan(self.depth)
        cell_px = self.scene.model.recipe.render.cell_px
        y, x = self.window.y, self.window.x
        if y % cell_px or x % cell_px:
            near = f"{round(y / cell_px) * cell_px},{round(x / cell_px) * cell_px}"
            raise UsageError(
                f"--origin {y},{x} is not a multiple of the cell ({cell_px} px); try {near}"
            )

    @property
    def recipe(self) -> PictureRecipe:
        return PictureRecipe(self.window, self.scene.identity(self.depth))

    def open_store(self, path: Path, pixel_size_um: float | None = None) -> CanvasStore:
        """The store of this canvas at `path`, made or gone on with.

        A store that differs by local edits alone becomes this canvas's; what they reach is dropped.
        Raises IdentityMismatch for a store of another picture, with both values.
        """
        if self.edits_of(path):
            with open_store(path, "r+") as store:
                self._adopt(store)
        return open_or_create(
            path,
            self.window.height,
            self.window.width,
            block_px=self.scene.block_px,
            chunk_px=min(CHUNK_PX, self.scene.block_px),
            identity=self.recipe.store_identity,
            pixel_size_um=pixel_size_um,
        )

    def check_store(self, path: Path) -> None:
        """Raise IdentityMismatch where the store at `path` is of another picture, local edits too.

        Nothing is written.
        """
        with open_store(path) as store:
            block_px = self.scene.block_px
            store.check_same(
                *self.window[2:], block_px, min(CHUNK_PX, block_px), self.recipe.store_identity
            )

    def edits_of(self, path: Path) -> list[Window]:
        """The boxes of cells in which alone the store at `path` shows another picture; or none."""
        if not path.is_dir() or not any(path.iterdir()):
            return []
        with open_store(path) as store:
            if (store.height, store.width) != self.window[2:]:
                return []
            return edited_cells(store.identity, self.recipe.store_identity) or []

    def _adopt(self, store: CanvasStore) -> None:
        identity, plan = self.recipe.store_identity, self.scene.plan(self.depth)
        boxes = edited_cells(store.identity, identity) or []
        reached = [plan.affected(box) for box in boxes]
        wrap_px = self.scene.wrap_px(self.depth)
        adopt(store, identity, list(blocks_reached(store, self.window, reached, wrap_px)))


def store_of(out: Path, asked: Path | None = None) -> Path:
    """Where a picture's store is: `out` itself, what was asked for, or hidden beside `out`.

    >>> store_of(Path("a/wall.zarr")).name, store_of(Path("a/wall.tif")).name
    ('wall.zarr', '.wall.tif.zarr')
    """
    if FORMS.get(out.suffix.lower()) is STORE:
        return out
    return asked or out.with_name(f".{out.name}.zarr")


def paint_canvas(
    canvas: Canvas,
    out: Path,
    *,
    store_path: Path | None = None,
    workers: int = 1,
    compression: str = DEFAULT_COMPRESSION,
    quality: int = DEFAULT_QUALITY,
    pixel_size_um: float | None = None,
    order: Order = list,
) -> Iterator[Progress]:
    """Paint a canvas to `out`, telling the progress; run it to the end.

    The store is `out` itself for a .zarr, else `store_path`, else one beside `out` that is removed
    when the file is whole. `order` may permute the blocks to be painted: the bits do not change.
    Raises what the store, the file or the scene raise; a closed or interrupted run can be repeated.
    """
    form = check_form(out, canvas.window.height, canvas.window.width)
    path = store_of(out, store_path)
    with canvas.open_store(path, pixel_size_um) as store:
        yield from _check_kept(store)
        bands = Bands(store)
        with contextlib.ExitStack() as stack:
            sink = None
            if form is not STORE:
                sink = open_sink(
                    out,
                    bands,
                    description=canvas.recipe.to_json(),
                    compression=compression,
                    quality=quality,
                    pixel_size_um=pixel_size_um,
                )
                stack.callback(sink.cancel)
            try:
                painting = _paint_blocks(canvas, store, bands, workers, order)
                for progress in stack.enter_context(contextlib.closing(painting)):
                    yield progress
                    if sink is not None:
                        sink.check()
                while sink is not None and not sink.wait(0.1):
                    done = sink.rows_read * store.width
                    total_px = store.height * store.width
                    yield Progress("finishing", done, total_px, progress.kept_px)
            except UnreadableBlocks as error:
                for level, iy, ix in error.blocks:
                    store.drop_block(iy, ix, level)
                raise
    if form is not STORE and store_path is None:
        discard_store(path)


def _check_kept(store: CanvasStore) -> Iterator[Progress]:
    """Check every byte of what an earlier run left; drop what is damaged, and say so."""
    rows, columns = store.grid()
    kept = rows * columns - len(store.blocks_left())
    total_px = store.height * store.width
    if kept or store.damaged:
        yield Progress("checking", 0, total_px)
        damaged = [*store.damaged, *store.verify()]
        for block in damaged:
            store.drop_block(block.iy, block.ix, block.level)
        if damaged:
            notice = f"{store.path}: {name_blocks(damaged)} damaged, rendering again"
            yield Progress("checking", total_px, total_px, notice=notice)
    catch_up(store)


def stream_blocks(
    canvas: Canvas, blocks: Sequence[tuple[int, int]] | None = None, *, workers: int = 1
) -> Generator[tuple[tuple[int, int], Picture], None, None]:
    """The canvas block by block, as each is done: ((iy, ix), uint8 [h,w,3]), cut by its edges.

    `blocks` says which and in what order they are begun, by default all, row by row; only a few
    are held in memory. Closing the generator stops the workers within a cell.
    """
    size, whole = canvas.scene.block_px, canvas.window
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def paint(iy: int, ix: int) -> Picture:
        block = Window(whole.y + iy * size, whole.x + ix * size, size, size)
        return canvas.scene.paint(block.meet(whole), canvas.depth, check)

    if blocks is None:
        rows, columns = -(-whole.height // size), -(-whole.width // size)
        blocks = [(iy, ix) for iy in range(rows) for ix in range(columns)]
    with SingleThreads(workers) as pool:
        try:
            yield from _in_flight(pool, paint, blocks, workers + _AHEAD)
        finally:
            stop.set()


def _paint_blocks(
    canvas: Canvas, store: CanvasStore, bands: Bands, workers: int, order: Order
) -> Generator[Progress, None, None]:
    """Paint what is missing in the store, a block a worker at a time."""
    total_px = store.height * store.width
    left = store.blocks_left()
    kept_px = done_px = total_px - sum(_area(store, block) for block in left)
    yield Progress("painting", done_px, total_px, kept_px)
    try:
        with contextlib.closing(stream_blocks(canvas, order(left), workers=workers)) as blocks:
            for (iy, ix), pixels in blocks:
                store.write_block(iy, ix, pixels)
                build_above(store, iy, ix)
                bands.block_done(iy)
                done_px += _area(store, (iy, ix))
                yield Progress("painting", done_px, total_px, kept_px)
    except BaseException as error:
        bands.fail(error)
        raise


def _in_flight(
    pool: ThreadPoolExecutor,
    paint: Callable[[int, int], Picture],
    blocks: Sequence[tuple[int, int]],
    most: int,
) -> Iterator[tuple[tuple[int, int], Picture]]:
    """Blocks and their pixels as they are done, never more than `most` begun or waiting."""
    finished: queue.SimpleQueue[Future[Picture]] = queue.SimpleQueue()
    running: dict[Future[Picture], tuple[int, int]] = {}
    waiting = list(blocks)[::-1]
    while waiting or running:
        while waiting and len(running) < most:
            block = waiting.pop()
            future = pool.submit(paint, *block)
            running[future] = block
            future.add_done_callback(finished.put)
        done = finished.get()
        yield running.pop(done), done.result()


def _area(store: CanvasStore, block: tuple[int, int]) -> int:
    _, _, height, width = store.box(*block)
    return height * width
