"""Owns the canvas on disk: an OME-Zarr 0.5 group, one shard a block, and what may be read of it.

Napari, vizarr, neuroglancer and ome-zarr-py open it while it grows. What makes the picture stands
in the group's attributes under "infrender", the identity, so that no other picture is painted
into it.

Spaces, all (y, x):
    px      one pixel of the canvas at a level; level 0 is the picture, each level above half of it
    block   (iy, ix), one shard file: `block_px` a side at every level, less at the canvas's edge
    chunk   what is compressed alone inside a shard, with its own CRC32C: `chunk_px` a side

Shapes: arrays are uint8 [3, Y, X], pixels are uint8 [H, W, 3], planes are uint8 [3, H, W].

A shard that is there is done: it is written whole, by one writer, synced and renamed into place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import zarr
from numpy.typing import NDArray

from infinite_render.errors import IdentityMismatch, StoreError, UnreadableBlocks
from infinite_render.files import hold, partial_name, release, sync_file
from infinite_render.geometry import Span, Window, cover
from infinite_render.rendering.layout import (
    ATTRIBUTE,
    KEPT_EMPTY,
    check_values,
    create_arrays,
    level_shapes,
)
from infinite_render.rendering.shards import DurableStore, is_intact, is_whole
from infinite_render.rendering.targets import remove

Pixels = NDArray[np.uint8]
# The threads that read wide windows live on: threads made anew for every read leave what they
# held behind in ever more arenas of the allocator.
_READERS = ThreadPoolExecutor(2, thread_name_prefix="read")


class Block(NamedTuple):
    """One shard of a store."""

    level: int
    iy: int
    ix: int


class CanvasStore:
    """A canvas on disk, open. `open_store`, `create_store` and `open_or_create` make one.

    path                 the directory
    height, width        size of level 0, px
    block_px, chunk_px   sides of a shard and of a chunk, px at every level
    identity             what makes the picture, as it was given to `create_store`
    shapes               (height, width) of every level
    damaged              blocks whose shard was found cut short at opening; they count as not done

    One thread writes; any thread reads.
    """

    def __init__(self, path: Path, group: zarr.Group, *, writable: bool) -> None:
        self.path = path
        about: dict[str, Any] = json.loads(json.dumps(group.attrs[ATTRIBUTE]))
        self.identity: dict[str, Any] = about["identity"]
        self.height, self.width = int(about["height"]), int(about["width"])
        self.block_px, self.chunk_px = int(about["block_px"]), int(about["chunk_px"])
        self.pixel_size_um: float | None = about["pixel_size_um"]
        self.shapes = level_shapes(self.height, self.width)
        self.writable = writable
        try:
            self._lock = hold(path) if writable else None
        except BlockingIOError:
            why = "another process is writing into it; wait for it, or stop it"
            raise StoreError(f"{path}: {why}") from None
        self._arrays = [_array(group, str(level)) for level in range(len(self.shapes))]
        self._done = [np.zeros(self.grid(level), dtype=bool) for level in range(len(self.shapes))]
        self.damaged = self._look(clean=writable)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write. The store can still be read."""
        release(self._lock)
        self._lock = None
        self.writable = False

    def check_same(
        self, height: int, width: int, block_px: int, chunk_px: int, identity: dict[str, Any]
    ) -> None:
        """Raise IdentityMismatch where this is the store of another picture."""
        asked = {"height": height, "width": width, "block_px": block_px, "chunk_px": chunk_px}
        has = {key: getattr(self, key) for key in asked}
        check_values(self.path, has | self.identity, asked | identity)

    @property
    def levels(self) -> int:
        """How many levels there are, the picture included."""
        return len(self.shapes)

    def grid(self, level: int = 0) -> tuple[int, int]:
        """(rows, columns) of blocks at a level."""
        height, width = self.shapes[level]
        return -(-height // self.block_px), -(-width // self.block_px)

    def has_block(self, iy: int, ix: int, level: int = 0) -> bool:
        """Whether a block is done."""
        return bool(self._done[level][iy, ix])

    def blocks_left(self, level: int = 0) -> list[tuple[int, int]]:
        """(iy, ix) of the blocks that are not done, row by row."""
        return [(int(iy), int(ix)) for iy, ix in np.argwhere(~self._done[level])]

    def box(self, iy: int, ix: int, level: int = 0) -> tuple[int, int, int, int]:
        """(y0, x0, height, width) of a block in px of its level; the canvas's edge cuts it."""
        height, width = self.shapes[level]
        y0, x0 = iy * self.block_px, ix * self.block_px
        return y0, x0, min(self.block_px, height - y0), min(self.block_px, width - x0)

    def shard_path(self, iy: int, ix: int, level: int = 0) -> Path:
        """The file of a block."""
        return self.path / str(level) / "c" / "0" / str(iy) / str(ix)

    def write_block(self, iy: int, ix: int, pixels: Pixels) -> None:
        """Write a whole block of the picture, uint8 [H, W, 3]. On return it is on the disk."""
        # One plane after another: seven times as fast as one transposed copy.
        planes = np.stack([pixels[..., channel] for channel in range(pixels.shape[-1])])
        self.write_planes(Block(0, iy, ix), planes)

    def write_planes(self, block: Block, planes: Pixels) -> None:
        """Write a whole block of any level, uint8 [3, H, W]. For one writer at a time."""
        level, iy, ix = block
        if not self.writable:
            raise StoreError(f"{self.path} is open for reading; open it with mode='r+' to write")
        y0, x0, height, width = self.box(iy, ix, level)
        if planes.shape != (3, height, width) or planes.dtype != np.uint8:
            raise ValueError(
                f"block {iy, ix} of level {level} is uint8 {3, height, width}; "
                f"got {planes.dtype} {planes.shape}"
            )
        # zarr merges an edge block into the shard that is there, and a damaged one cannot be read.
        self.drop_block(iy, ix, level)
        self._arrays[level][:, y0 : y0 + height, x0 : x0 + width] = planes
        self._done[level][iy, ix] = True

    def read(self, y0: int, x0: int, height: int, width: int, level: int = 0) -> Pixels:
        """Pixels uint8 [height, width, 3] of a window of a level.

        Raises UnreadableBlocks, with the blocks, where some are damaged or not done.
        """
        self._require(Window(y0, x0, height, width), level)
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        # One block a reader at a time, or a wide window would be held twice.
        columns = cover(Span(x0, x0 + width), self.block_px)
        inner = [ix * self.block_px for ix in columns[1:]]

        def read_part(part: tuple[int, int]) -> None:
            left, right = part
            planes = self._decoded(Window(y0, left, height, right - left), level)
            for channel in range(3):
                pixels[:, left - x0 : right - x0, channel] = planes[channel]

        # A list, to raise what a part raised.
        list(_READERS.map(read_part, pairwise([x0, *inner, x0 + width])))
        return pixels

    def read_planes(self, y0: int, x0: int, height: int, width: int, level: int = 0) -> Pixels:
        """The same window as uint8 [3, height, width], checked against every checksum."""
        window = Window(y0, x0, height, width)
        self._require(window, level)
        return self._decoded(window, level)

    def is_intact(self, block: Block) -> bool:
        """Whether a block's shard is there and every byte of it as it was written."""
        return is_intact(self._path(block), *self._chunks(block))

    def verify(self, on_block: Callable[[Block], None] | None = None) -> list[Block]:
        """Check every byte of every block that is done; the damaged ones, in order.

        Nothing is decompressed: this runs at the speed of the disk, far above that of rendering.
        `on_block` is called after each block.
        """
        damaged = []
        for block in self._done_blocks():
            if not self.is_intact(block):
                damaged.append(block)
            if on_block is not None:
                on_block(block)
        return damaged

    def drop_block(self, iy: int, ix: int, level: int = 0) -> None:
        """Remove a block, to be made again. Those above it, made from it when whole, stay."""
        self._done[level][iy, ix] = False
        self.shard_path(iy, ix, level).unlink(missing_ok=True)

    def _require(self, window: Window, level: int) -> None:
        """Refuse a window that leaves the level, or of which blocks are not there.

        zarr would read a missing shard as black.
        """
        y0, x0, height, width = window
        tall, wide = self.shapes[level]
        if not (0 <= y0 < y0 + height <= tall and 0 <= x0 < x0 + width <= wide):
            raise ValueError(f"window {tuple(window)} leaves level {level}, {tall, wide}")
        self._refuse([block for block in self._under(window, level) if not self._is_whole(block)])

    def _decoded(self, window: Window, level: int) -> Pixels:
        """A window whose blocks are there, uint8 [3, height, width]."""
        y0, x0, height, width = window
        try:
            planes = self._arrays[level][:, y0 : y0 + height, x0 : x0 + width]
        except Exception as error:  # each codec has its own way to say that bytes are wrong
            blocks = self._under(window, level)
            self._refuse([block for block in blocks if not self.is_intact(block)], error)
            raise
        return np.asarray(planes, dtype=np.uint8)

    def _under(self, window: Window, level: int) -> list[Block]:
        """The blocks of which a window shows something."""
        rows = cover(window.y_span, self.block_px)
        columns = cover(window.x_span, self.block_px)
        return [Block(level, iy, ix) for iy in rows for ix in columns]

    def _done_blocks(self) -> Iterator[Block]:
        for level, done in enumerate(self._done):
            for iy, ix in np.argwhere(done):
                yield Block(level, int(iy), int(ix))

    def _path(self, block: Block) -> Path:
        return self.shard_path(block.iy, block.ix, block.level)

    def _chunks(self, block: Block) -> tuple[int, int]:
        """(slots in the shard's index, chunks of it that hold some of the picture)."""
        _, _, height, width = self.box(block.iy, block.ix, block.level)
        seen = -(-height // self.chunk_px) * -(-width // self.chunk_px)
        return (self.block_px // self.chunk_px) ** 2, seen

    def _is_whole(self, block: Block) -> bool:
        return is_whole(self._path(block), *self._chunks(block))

    def _look(self, *, clean: bool) -> tuple[Block, ...]:
        """Learn which blocks are done; `clean` removes what killed writes left behind."""
        damaged = []
        for level, done in enumerate(self._done):
            for file in sorted((self.path / str(level)).glob("c/0/[0-9]*/[0-9]*")):
                if file.name.endswith(".partial"):
                    if clean:
                        file.unlink()
                    continue
                block = Block(level, int(file.parent.name), int(file.name))
                if block.iy >= done.shape[0] or block.ix >= done.shape[1]:
                    continue
                whole = self._is_whole(block)
                done[block.iy, block.ix] = whole
                damaged += [] if whole else [block]
        return tuple(sorted(damaged))

    def _refuse(self, blocks: list[Block], cause: Exception | None = None) -> None:
        """Raise UnreadableBlocks for these, if any."""
        if not blocks:
            return
        missing = not any(self._path(block).exists() for block in blocks)
        raise UnreadableBlocks(
            f"{self.path}: {name_blocks(blocks)} {'not rendered yet' if missing else 'damaged'}; "
            "repeat the command that made it and they will be rendered",
            blocks,
        ) from cause


def name_blocks(blocks: Iterable[tuple[int, int, int]]) -> str:
    """The subject of a sentence about some blocks, the verb included.

    >>> name_blocks([(0, 1, 2)]), name_blocks([(0, 1, 2), (1, 0, 0)])
    ('block (1, 2) is', 'blocks (1, 2), (0, 0) of level 1 are')
    """
    names = [f"({iy}, {ix})" + (f" of level {n}" if n else "") for n, iy, ix in blocks]
    if len(names) == 1:
        return f"block {names[0]} is"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"blocks {', '.join(names[:8])}{more} are"


def create_store(
    path: Path,
    height: int,
    width: int,
    *,
    block_px: int,
    chunk_px: int = 512,
    identity: dict[str, Any],
    pixel_size_um: float | None = None,
) -> CanvasStore:
    """Make an empty store of `height` x `width` px at `path`, and open it for writing.

    block_px is an even multiple of chunk_px, or chunk_px itself; identity is plain JSON.
    The directory appears whole or not at all. Raises StoreError where `path` is taken.
    """
    if block_px % chunk_px or block_px % 2:
        raise ValueError(f"block_px {block_px} is not an even multiple of chunk_px {chunk_px}")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path} exists already; open it, or choose another name")
    about = {
        "identity": identity,
        "height": height,
        "width": width,
        "block_px": block_px,
        "chunk_px": chunk_px,
        "pixel_size_um": pixel_size_um,
    }
    temporary = partial_name(path)
    remove(temporary)
    create_arrays(DurableStore(temporary), path.name, about)
    temporary.rename(path)
    sync_file(path.parent)
    return open_store(path, "r+")


def open_store(path: Path, mode: Literal["r", "r+"] = "r") -> CanvasStore:
    """Open a store to read, mode "r", or to write as well, mode "r+".

    Raises StoreError where there is none, where it is none of ours, or where another process
    writes into it.
    """
    try:
        document = json.loads((path / "zarr.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        what = "no such directory" if not path.exists() else "not a zarr store"
        raise StoreError(f"{path}: {what}; give the .zarr that infrender wrote") from None
    except ValueError as error:
        raise StoreError(f"{path}: its zarr.json is damaged ({error}); render it anew") from None
    attributes = document.get("attributes") if isinstance(document, dict) else None
    if not isinstance(attributes, dict) or ATTRIBUTE not in attributes:
        raise StoreError(f"{path}: a zarr that infrender did not write; choose another name")
    try:
        group = zarr.open_group(DurableStore(path, read_only=mode == "r"), mode=mode, zarr_format=3)
        return CanvasStore(path, group, writable=mode == "r+")
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: its metadata is damaged ({error!r}); render it anew") from error


def open_or_create(
    path: Path,
    height: int,
    width: int,
    *,
    block_px: int,
    chunk_px: int = 512,
    identity: dict[str, Any],
    pixel_size_um: float | None = None,
) -> CanvasStore:
    """Open the store at `path` to go on with it, or create it where there is none.

    Raises IdentityMismatch where it is of another picture: what differs, with both values.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return create_store(
            path,
            height,
            width,
            block_px=block_px,
            chunk_px=chunk_px,
            identity=identity,
            pixel_size_um=pixel_size_um,
        )
    store = open_store(path, "r+")
    try:
        store.check_same(height, width, block_px, chunk_px, identity)
    except IdentityMismatch:
        store.close()
        raise
    return store


def discard_store(path: Path) -> None:
    """Remove a store of ours, as --overwrite asks. Raises StoreError for anything else."""
    open_store(path, "r+").close()  # ours, and nobody is writing into it
    # Renamed first: a kill half way must not leave something that looks like a store.
    remove(partial_name(path))
    path.rename(partial_name(path))
    remove(partial_name(path))


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """A level's array, opened so that black blocks are written like any other."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array.with_config(KEPT_EMPTY)
