"""Owns the way from rows to a file through libvips, and the pyramidal BigTIFF.

libvips pulls: it is given a source that poses as an uncompressed BigTIFF in strips, whose header is
made up here and whose pixels are asked of a `Rows` when they are wanted. So a file is written while
the picture is painted, and memory grows with the width of the picture, not with its height.
Why this form of all: it is the one that streams, and the one whose errors reach the caller.
A source in tiles goes on in black where a read fails.

    band    rows [i * band_rows, (i + 1) * band_rows), uint8 [rows, W, 3], what `Rows.read` gives
    strip   up to 64 rows, what the made-up header speaks of; bands are whole numbers of strips

The pyramid of the TIFF is libvips's own: each level the mean of 2x2 pixels of the one above it,
rounded half up, an odd last row or column left out.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from infinite_render.errors import OutputError
from infinite_render.files import partial_name
from infinite_render.rendering.bands import Rows
from infinite_render.rendering.targets import remove

STRIP_ROWS = 64
TILE_PX = 512
NEEDED_VIPS = (8, 17)
COMPRESSIONS = ("jpeg", "none", "deflate", "webp")
GIVE_UP_S = 15.0  # how long a cancelled save may take to end before it is left behind
SHORT, LONG, LONG8 = 3, 4, 16  # field types of TIFF


class Cancelled(Exception):
    """The file is no longer wanted."""


@functools.cache
def vips() -> ModuleType:
    """pyvips, with a libvips that hands a failed read on to the caller.

    Raises OutputError where libvips is missing or older than 8.17.
    """
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise OutputError(
            f"libvips cannot be loaded ({error}); pip install pyvips-binary"
        ) from None
    has = (pyvips.version(0), pyvips.version(1))
    if has < NEEDED_VIPS:
        raise OutputError(
            f"libvips is {has[0]}.{has[1]} and 8.17 is needed; pip install -U pyvips-binary"
        )
    pyvips.cache_set_max(0)  # or a file written anew is read as it was before
    # libvips's warnings of a failed read are not to be printed: the error itself is raised.
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    return pyvips  # type: ignore[no-any-return]


class StripSource:
    """The bytes of a strip BigTIFF that is nowhere, for libvips to read in order.

    error        what `Rows.read` raised, if it did; libvips itself only says that a read failed
    rows_read    rows handed over so far
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._row_bytes = rows.width * 3
        self._head = strip_header(rows.height, rows.width, math.gcd(STRIP_ROWS, rows.band_rows))
        self._end = len(self._head) + rows.height * self._row_bytes
        self._at = 0
        self._band: tuple[int, memoryview] | None = None
        self.error: BaseException | None = None

    @property
    def rows_read(self) -> int:
        return max(0, self._at - len(self._head)) // self._row_bytes

    def image(self) -> Any:
        """A pyvips image that reads this source once, top to bottom."""
        source = vips().SourceCustom()
        source.signal_connect("read", self._read)
        source.on_seek(self._seek)
        # The loader is named, for a header this large is not recognised; unlimited, for the strip
        # tables of a large picture pass libtiff's 50 MB.
        image = vips().Image.tiffload_source(
            source, access="sequential", fail_on="error", unlimited=True
        )
        image._references.append(source)  # or the callbacks are freed, and the process aborts
        return image

    def _seek(self, offset: int, whence: int) -> int:
        if self.error is not None:
            return -1
        self._at = (0, self._at, self._end)[whence] + offset
        return self._at

    def _read(self, buffer: Any) -> int:
        """Fill `buffer`, the bytes written; -1 stops libvips. Nothing may be raised into C."""
        if self.error is not None:
            return -1
        try:
            out = memoryview(buffer)
            filled = 0
            while filled < len(out) and self._at < self._end:
                piece = self._bytes_at(self._at)[: len(out) - filled]
                out[filled : filled + len(piece)] = piece
                filled += len(piece)
                self._at += len(piece)
            return filled
        except BaseException as error:
            self.error = error
            return -1

    def _bytes_at(self, at: int) -> memoryview:
        """What lies at a position, up to the end of the header or of the band."""
        if at < len(self._head):
            return self._head[at:]
        band_bytes = self._rows.band_rows * self._row_bytes
        band, offset = divmod(at - len(self._head), band_bytes)
        if self._band is None or self._band[0] != band:
            self._band = None  # freed before the next is made, so that only one is held
            pixels = np.ascontiguousarray(self._rows.read(band), dtype=np.uint8)
            height = min(self._rows.band_rows, self._rows.height - band * self._rows.band_rows)
            if pixels.shape != (height, self._rows.width, 3):
                raise ValueError(
                    f"band {band} is {pixels.shape}, not {height, self._rows.width, 3}"
                )
            self._band = band, pixels.reshape(-1).data
        return self._band[1][offset:]


def strip_header(height: int, width: int, strip_rows: int) -> memoryview:
    """The bytes of a little-endian BigTIFF before its pixels: RGB, 8 bits, uncompressed strips.

    Strips follow one another from the header's end, which is a multiple of 4096.
    """
    strips = -(-height // strip_rows)
    strip_bytes = strip_rows * width * 3
    counts = np.full(strips, strip_bytes, dtype="<u8")
    counts[-1] = height * width * 3 - (strips - 1) * strip_bytes
    entries = 10
    table = 16 + 8 + 20 * entries + 8  # the tables of offsets and of counts follow the entries
    start = -(-(table + 2 * counts.nbytes) // 4096) * 4096
    offsets = start + np.arange(strips, dtype="<u8") * np.uint64(strip_bytes)

    head = bytearray(start)
    struct.pack_into("<2sHHHQQ", head, 0, b"II", 43, 8, 0, 16, entries)

    def table_entry(values: np.ndarray[Any, Any], at: int) -> bytes:
        if len(values) == 1:  # a single value stands in the entry itself
            return values.tobytes()
        head[at : at + values.nbytes] = values.tobytes()
        return struct.pack("<Q", at)

    fields = [
        (256, LONG, 1, struct.pack("<I", width)),
        (257, LONG, 1, struct.pack("<I", height)),
        (258, SHORT, 3, struct.pack("<3H", 8, 8, 8)),  # bits a sample
        (259, SHORT, 1, struct.pack("<H", 1)),  # no compression
        (262, SHORT, 1, struct.pack("<H", 2)),  # RGB
        (273, LONG8, strips, table_entry(offsets, table)),
        (277, SHORT, 1, struct.pack("<H", 3)),  # samples a pixel
        (278, LONG, 1, struct.pack("<I", strip_rows)),
        (279, LONG8, strips, table_entry(counts, table + offsets.nbytes)),
        (284, SHORT, 1, struct.pack("<H", 1)),  # samples side by side
    ]
    for index, (tag, kind, count, value) in enumerate(fields):
        struct.pack_into("<HHQ8s", head, 24 + 20 * index, tag, kind, count, value)
    return memoryview(bytes(head))


class Sink(threading.Thread):
    """Writes one file, in a thread of its own, from rows as they come.

    save(image, temporary) writes the picture under the temporary name; publish(temporary, target)
    gives it its own. `start` it, look in with `check`, end with `finish`, or with `cancel`.
    """

    def __init__(
        self,
        target: Path,
        rows: Rows,
        save: Callable[[Any, Path], None],
        publish: Callable[[Path, Path], None],
    ) -> None:
        super().__init__(name=f"sink of {target.name}", daemon=True)
        self.target = target
        self._rows = rows
        self._source = StripSource(rows)
        self._save, self._publish = save, publish
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        vips()  # the loading and its error belong to the caller's thread

    @property
    def rows_read(self) -> int:
        """Rows taken so far, for a progress bar."""
        return self._source.rows_read

    def run(self) -> None:
        temporary = partial_name(self.target)
        try:
            remove(temporary)  # what a killed run left
            image = self._source.image()
            image.set_progress(True)
            image.signal_connect("eval", lambda whole, _: whole.set_kill(self._stop.is_set()))
            with _temporaries_in(self.target.parent):
                self._save(image, temporary)
            if self._source.error is not None:
                raise self._source.error
            if self._stop.is_set():
                raise Cancelled
            self._publish(temporary, self.target)
        except BaseException as error:
            self._error = self._source.error or self._explained(error)
            with contextlib.suppress(OSError):
                remove(temporary)
        finally:
            self._ended.set()

    def check(self) -> None:
        """Raise what ended the sink, if something did: to be called now and then while painting."""
        if self._ended.is_set() and self._error is not None:
            raise self._error

    def wait(self, seconds: float) -> bool:
        """Whether the file is done, after at most so many seconds. Raises what ended the sink."""
        # Never Thread.join: up to Python 3.12 a Ctrl-C inside it marks a live thread as dead.
        done = self._ended.wait(seconds)
        self.check()
        return done

    def finish(self) -> None:
        """Wait for the file, which then has its name. On Ctrl-C, or any error, nothing is left."""
        try:
            while not self.wait(0.2):
                pass
        except BaseException:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Stop and leave nothing behind. Returns within seconds. A finished file stays."""
        if self._ended.is_set():
            return
        self._stop.set()
        self._rows.fail(Cancelled())
        self._ended.wait(GIVE_UP_S)

    def _explained(self, error: BaseException) -> BaseException:
        """libvips's error as one line; any other as it is."""
        if self._stop.is_set():
            return Cancelled()
        if isinstance(error, vips().Error | OSError):
            said = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
            return OutputError(f"{self.target} could not be written: {said}")
        return error


@contextlib.contextmanager
def _temporaries_in(directory: Path) -> Iterator[None]:
    """Have libvips keep the levels it has not placed yet beside the output, not in /tmp.

    They come to a third of the file, more than a /tmp in memory should have to hold. A TMPDIR that
    the user has set is left as it is.
    """
    if "TMPDIR" in os.environ:
        yield
        return
    os.environ["TMPDIR"] = str(directory)
    try:
        yield
    finally:
        os.environ.pop("TMPDIR", None)


@functools.cache
def tiff_compressions() -> tuple[str, ...]:
    """Those of COMPRESSIONS that this libvips can write: they are tried, for it does not tell."""
    found = []
    for name in COMPRESSIONS:
        with contextlib.suppress(vips().Error):
            vips().Image.black(64, 64, bands=3).tiffsave_buffer(compression=name, tile=True)
            found.append(name)
    return tuple(found)


def check_compression(compression: str) -> None:
    """Raise OutputError for a compression of TIFF that is unknown, or that libvips lacks here."""
    if compression not in COMPRESSIONS:
        raise OutputError(
            f"--compression {compression} is not known; choose from {', '.join(COMPRESSIONS)}"
        )
    if compression not in tiff_compressions():
        raise OutputError(
            f"--compression {compression} is missing from this libvips, which has "
            f"{', '.join(tiff_compressions())}; choose one of these, or pip install pyvips-binary"
        )


def described(image: Any, description: str, pixel_size_um: float | None) -> Any:
    """The same image with its resolution and its description set, to be saved with them.

    pixel_size_um None leaves the 72 dots an inch that mean it is not known.
    """
    per_mm = 72 / 25.4 if pixel_size_um is None else 1000 / pixel_size_um
    image = image.copy(xres=per_mm, yres=per_mm)
    text = vips().GValue.gstr_type
    image.set_type(text, "image-description", description)  # TIFF
    # PNG, JPEG and WebP; libvips wants the value's kind and sizes after it, and finds them itself.
    exif = f"{description} ({description}, ASCII, 1 components, 1 bytes)"
    image.set_type(text, "exif-ifd0-ImageDescription", exif)
    return image


def save_tiff(image: Any, path: Path, *, compression: str, quality: int) -> None:
    """Write a pyvips image as a BigTIFF in tiles of 512 px at most, with its pyramid as pages.

    Pages, not sub-directories: OpenSlide sees no levels in those. quality is of JPEG and WebP.
    """
    # Tiles are multiples of 16 px; libvips does not read back one far larger than its picture.
    tile_px = min(TILE_PX, -(-max(image.height, image.width) // 16) * 16)
    image.tiffsave(
        str(path),
        bigtiff=True,
        tile=True,
        tile_width=tile_px,
        tile_height=tile_px,
        pyramid=True,
        region_shrink="mean",
        compression=compression,
        Q=quality,
        level=1,  # of deflate: twice as fast as the usual 6, for a tenth more bytes
        predictor="horizontal",
        resunit="cm",
    )
