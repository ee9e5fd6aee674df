"""Owns the forms a picture can be written in: what each can hold, and who writes it.

    .tif .tiff       pyramidal BigTIFF, any size
    .zarr            the store itself, any size
    .dzi             Deep Zoom: NAME.dzi and the tiles in NAME_files, any size
    .png             one image, lossless, to 1,000,000 px a side
    .jpg .jpeg       one image, to 65,500 px a side
    .webp            one image, to 16,383 px a side

One `open_sink` serves them all, while a picture is painted and from a store that is done.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from infinite_render.errors import OutputError, UnreadableBlocks, nearest
from infinite_render.files import sync_file
from infinite_render.rendering.bands import Bands, Rows
from infinite_render.rendering.pyramid import (
    TILE_PX,
    Sink,
    check_compression,
    described,
    save_tiff,
    vips,
)
from infinite_render.rendering.store import Block, CanvasStore, name_blocks
from infinite_render.rendering.targets import publish, remove

DEFAULT_COMPRESSION = "jpeg"
DEFAULT_QUALITY = 90
RECIPE_FILE = "infrender.json"  # beside the tiles of a .dzi, which has no place for a description
# What a column of a picture costs libvips while a TIFF is written: a row of tiles of every level.
BYTES_PER_COLUMN = 5000


@dataclass(frozen=True)
class Form:
    """A form a picture can be written in.

    name          as it is called
    longest_px    the longest side it can hold, px
    bytes_per_px  what it takes on the disk for a px of a noisy photograph, its pyramid included
    """

    name: str
    longest_px: int
    bytes_per_px: float


STORE = Form("OME-Zarr", 2**40, 3.3)
TIFF = Form("BigTIFF", 99_999_999, 1.1)
DEEP_ZOOM = Form("Deep Zoom", 99_999_999, 1.1)
PNG = Form("PNG", 1_000_000, 2.6)  # libpng, and so most programs, opens nothing longer
JPEG = Form("JPEG", 65_500, 0.8)
WEBP = Form("WebP", 16_383, 0.5)
FORMS = {
    ".tif": TIFF,
    ".tiff": TIFF,
    ".zarr": STORE,
    ".dzi": DEEP_ZOOM,
    ".png": PNG,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": WEBP,
}
TIFF_BYTES_PER_PX = {"jpeg": 1.1, "none": 4.0, "deflate": 3.4, "webp": 0.6}


class Progress(NamedTuple):
    """How far a file is: rows written of the picture's height."""

    done: int
    total: int


def check_form(path: Path, height: int, width: int) -> Form:
    """The form that the name asks for.

    Raises OutputError where it is unknown or too small, or where another's files would be lost: the
    tiles of a .dzi have a directory of their own.
    """
    form = FORMS.get(path.suffix.lower())
    if form is None:
        known = ", ".join(FORMS)
        raise OutputError(
            f"{path}: {path.suffix or 'a name without an ending'} is no form that infrender writes;"
            f" choose from {known}{nearest(path.suffix.lower(), FORMS)}"
        )
    if max(height, width) > form.longest_px:
        fitting = [
            name
            for name in (".tif", ".dzi", ".zarr")
            if max(height, width) <= FORMS[name].longest_px
        ]
        raise OutputError(
            f"{path}: {form.name} holds at most {form.longest_px} px a side, and this is "
            f"{width} x {height} (width x height); "
            f"choose {' or '.join(fitting) or 'a smaller size'}"
        )
    if (
        form is DEEP_ZOOM
        and tiles_of(path).exists()
        and not (tiles_of(path) / RECIPE_FILE).exists()
    ):
        raise OutputError(
            f"{path}: its tiles would go to {tiles_of(path)}, which infrender did not write; "
            "choose another name, or move that away"
        )
    return form


def plan_bytes(form: Form, height: int, width: int, compression: str = DEFAULT_COMPRESSION) -> int:
    """About how much disk a file takes, its pyramid included, on the safe side."""
    rate = TIFF_BYTES_PER_PX.get(compression, 4.0) if form is TIFF else form.bytes_per_px
    return int(height * width * rate) + 2**20


def plan_memory_bytes(rows: Rows) -> int:
    """About how much memory writing a file takes: the width counts, the height does not."""
    return rows.width * (BYTES_PER_COLUMN + 3 * 3 * rows.band_rows)


def open_sink(
    path: Path,
    rows: Rows,
    *,
    description: str,
    compression: str = DEFAULT_COMPRESSION,
    quality: int = DEFAULT_QUALITY,
    pixel_size_um: float | None = None,
) -> Sink:
    """Start to write `rows` to `path`, in a thread; see Sink for how to end it.

    description is JSON text, kept in the file; compression is of TIFF alone, quality of whatever is
    lossy, 1 to 100. A file of that name is replaced when the new one is whole: refusing is for
    `check_target`. Raises OutputError for a form, a size or a compression that cannot be.
    """
    form = check_form(path, rows.height, rows.width)
    if form is STORE:
        raise OutputError(f"{path}: a store is painted, not exported; copy its directory instead")
    if not 1 <= quality <= 100:
        raise OutputError(f"--quality {quality} is not in 1..100; try {DEFAULT_QUALITY}")
    if form is TIFF:
        check_compression(compression)

    def save(image: Any, temporary: Path) -> None:
        image = described(image, description, pixel_size_um)
        if form is TIFF:
            save_tiff(image, temporary, compression=compression, quality=quality)
        elif form is DEEP_ZOOM:
            _save_dzi(image, temporary, path, description, quality)
        elif form is PNG:
            image.pngsave(str(temporary), compression=3)
        elif form is JPEG:
            image.jpegsave(str(temporary), Q=quality)
        else:
            image.webpsave(str(temporary), Q=quality)

    sink = Sink(path, rows, save, _publish_dzi if form is DEEP_ZOOM else publish)
    sink.start()
    return sink


def export_store(
    store: CanvasStore,
    path: Path,
    *,
    description: str | None = None,
    compression: str = DEFAULT_COMPRESSION,
    quality: int = DEFAULT_QUALITY,
) -> Generator[Progress, None, None]:
    """Write a finished store to `path`, telling the progress; run it to the end.

    description None takes the store's identity. Raises UnreadableBlocks, with all the blocks that
    are not done, before anything is written, and for damaged ones when they are met.
    """
    left = [Block(0, iy, ix) for iy, ix in store.blocks_left()]
    if left:
        raise UnreadableBlocks(
            f"{store.path}: {name_blocks(left)} not rendered yet; "
            "repeat the command that made it, then export",
            left,
        )
    sink = open_sink(
        path,
        Bands(store),
        description=json.dumps(store.identity) if description is None else description,
        compression=compression,
        quality=quality,
        pixel_size_um=store.pixel_size_um,
    )
    try:
        while not sink.wait(0.1):
            yield Progress(sink.rows_read, store.height)
        yield Progress(store.height, store.height)
    except BaseException:  # Ctrl-C, and the generator being closed, too
        sink.cancel()
        raise


def description_of(path: Path) -> str | None:
    """The description a file was written with; None where there is none, or no picture.

    It tells whether a target is ours, and which picture it is.
    """
    if path.suffix.lower() == ".dzi":
        with contextlib.suppress(OSError):
            return (tiles_of(path) / RECIPE_FILE).read_text()
        return None
    with contextlib.suppress(vips().Error):
        image = vips().Image.new_from_file(str(path))
        if "image-description" in image.get_fields():
            return str(image.get("image-description"))
        if "exif-ifd0-ImageDescription" in image.get_fields():
            shown = str(image.get("exif-ifd0-ImageDescription"))
            with contextlib.suppress(
                ValueError
            ):  # libvips shows the text, then what it consists of
                return shown[: json.JSONDecoder().raw_decode(shown)[1]]
    return None


def tiles_of(path: Path) -> Path:
    """The directory of a .dzi's tiles.

    >>> tiles_of(Path("sea.dzi")).name
    'sea_files'
    """
    return path.with_name(f"{path.stem}_files")


def size_on_disk(path: Path) -> int:
    """Bytes of a file, of a store, or of a .dzi with its tiles."""
    trees = [path, tiles_of(path)] if path.suffix.lower() == ".dzi" else [path]
    files = (file for tree in trees for file in ([tree] if tree.is_file() else tree.rglob("*")))
    return sum(file.stat().st_size for file in files if file.is_file())


def _save_dzi(image: Any, temporary: Path, target: Path, description: str, quality: int) -> None:
    """Write a Deep Zoom pyramid of 512 px JPEG tiles into the directory `temporary`."""
    temporary.mkdir()
    image.dzsave(
        str(temporary / target.stem),
        imagename=target.stem,
        suffix=f".jpg[Q={quality}]",  # an option Q would be passed over in silence
        tile_size=TILE_PX,
        overlap=0,
        keep="none",  # or every tile repeats the description
    )
    (tiles_of(temporary / target.name) / RECIPE_FILE).write_text(description)


def _publish_dzi(temporary: Path, target: Path) -> None:
    """Put the tiles in place, then the .dzi that speaks of them: its presence says all is there."""
    if hasattr(os, "sync"):
        os.sync()  # thousands of small files: one by one takes longer than writing them did
    else:
        sync_file(temporary / target.name)
    target.unlink(missing_ok=True)
    if tiles_of(target).exists():
        tiles_of(target).rename(temporary / "replaced")
    tiles_of(temporary / target.name).rename(tiles_of(target))
    (temporary / target.name).replace(target)
    sync_file(target.parent)
    remove(temporary)
