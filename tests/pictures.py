"""Pictures to test the output with, and stores filled with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinite_render.rendering.canvas import Canvas
from infinite_render.rendering.levels import build_above
from infinite_render.rendering.preparation import check
from infinite_render.rendering.store import CanvasStore, create_store

Pixels = NDArray[np.uint8]


def noisy(height: int, width: int, seed: int = 0) -> Pixels:
    """uint8 [H, W, 3]: slow waves under noise, no two channels alike, some of it black."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 31) + np.cos(y / 17), np.sin((x + y) / 23), np.cos(x / 7)], -1)
    noise = np.random.default_rng(seed).normal(0, 8, (height, width, 3))
    return np.asarray((128 + 40 * waves + noise).clip(0, 255) * (y + x > 90)[..., None], np.uint8)


def empty(path: Path, picture: Pixels, block_px: int = 256, chunk_px: int = 64) -> CanvasStore:
    """A store for a picture, with nothing in it."""
    height, width, _ = picture.shape
    identity = {"seed": 7, "model": {"digest": "abc"}, "origin": [0, 512]}
    return create_store(
        path, height, width, block_px=block_px, chunk_px=chunk_px, identity=identity
    )


def blocks_of(store: CanvasStore) -> list[tuple[int, int]]:
    rows, columns = store.grid()
    return [(iy, ix) for iy in range(rows) for ix in range(columns)]


def paint(store: CanvasStore, picture: Pixels, blocks: Iterable[tuple[int, int]]) -> None:
    """Write some blocks of the picture, and what of the pyramid they complete."""
    for iy, ix in blocks:
        y, x, height, width = store.box(iy, ix)
        store.write_block(iy, ix, picture[y : y + height, x : x + width])
        build_above(store, iy, ix)


def filled(path: Path, picture: Pixels) -> CanvasStore:
    store = empty(path, picture)
    paint(store, picture, blocks_of(store))
    return store


def digest(directory: Path) -> str:
    """One hash of every name and byte under a directory."""
    total = hashlib.sha256()
    for file in sorted(directory.rglob("*")):
        total.update(str(file.relative_to(directory)).encode())
        if file.is_file():
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


class ArrayRows:
    """A picture in memory as `Rows`; `error` is raised from band `fails_at` on."""

    def __init__(self, picture: Pixels, band_rows: int = 64, fails_at: int | None = None) -> None:
        self.height, self.width, _ = picture.shape
        self.band_rows = band_rows
        self.error: BaseException = RuntimeError("the painter fell off the ladder")
        self._picture, self._fails_at = picture, fails_at

    def read(self, band: int) -> Pixels:
        if self._fails_at is not None and band >= self._fails_at:
            raise self.error
        return self._picture[band * self.band_rows : (band + 1) * self.band_rows]

    def fail(self, error: BaseException) -> None:
        self.error, self._fails_at = error, 0


def prepare(canvas: Canvas, out: Path, **asked: Any) -> bool:
    """Check a canvas and make room for it, as a command does; False when it is painted already."""
    ready = check(canvas, out, **asked)
    ready.make_room()
    return not ready.is_painted
