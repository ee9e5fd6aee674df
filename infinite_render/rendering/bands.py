"""Owns the meeting of those who paint blocks and those who want rows: a band is read once its row
of blocks is done, and whoever wants it earlier waits.

Spaces, all (y, x):
    block   (iy, ix), what is painted, in any order
    band    rows [i * band_rows, (i + 1) * band_rows) of the picture, what a file is fed, in order

A band is as high as a chunk of the store, not as a block: no row is decoded twice, and memory
is that of a chunk's height of the canvas.
"""

from __future__ import annotations

import threading
from typing import Protocol

from infinite_render.rendering.store import CanvasStore, Pixels


class Rows(Protocol):
    """A picture given by bands of rows, from top to bottom."""

    @property
    def height(self) -> int:
        """Height of the picture, px."""

    @property
    def width(self) -> int:
        """Width of the picture, px."""

    @property
    def band_rows(self) -> int:
        """Height of a band, px; the last one may be lower."""

    def read(self, band: int) -> Pixels:
        """Band as uint8 [rows, width, 3]; may wait, may raise."""

    def fail(self, error: BaseException) -> None:
        """Let every `read`, now and later, raise this error."""


class Bands:
    """The rows of a store that grows. Every file that is fed needs a `Bands` of its own."""

    def __init__(self, store: CanvasStore) -> None:
        self._store = store
        self.height, self.width, self.band_rows = store.height, store.width, store.chunk_px
        rows, columns = store.grid()
        self._left = [
            sum(not store.has_block(iy, ix) for ix in range(columns)) for iy in range(rows)
        ]
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def block_done(self, iy: int) -> None:
        """One more block of row `iy` is on the disk. For the thread that wrote it."""
        with self._changed:
            self._left[iy] -= 1
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Let every `read`, now and later, raise this error: there will be no more blocks."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def read(self, band: int) -> Pixels:
        """Band as uint8 [rows, width, 3]; waits until its row of blocks is done.

        Raises what `fail` was given, or UnreadableBlocks.
        """
        y0 = band * self.band_rows
        with self._changed:
            self._changed.wait_for(
                lambda: self._error is not None or self._left[y0 // self._store.block_px] <= 0
            )
            if self._error is not None:
                raise self._error
        return self._store.read(y0, 0, min(self.band_rows, self.height - y0), self.width)
