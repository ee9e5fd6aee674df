"""Photographs as training patches: listed, decoded once into a cache, drawn by a pure function.

A photograph is kept at each of the recipe's heights, as uint8 [h,w,3] one after another in one file
that is mapped into memory; a patch is then a copy of a few kilobytes. Which patches a step shows
follows from (seed, images shown) alone, so that a resumed run needs no state of the loader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyvips

from infinite_render.errors import DataError
from infinite_render.files import replace_file
from infinite_render.pixels import Pixels, srgb_pixels
from infinite_render.training.events import Notice, Reading
from infinite_render.training.recipes import Outside, TrainRecipe

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})
HEAD_BYTES = 1 << 16  # of a file's beginning, part of its digest
CACHE_VERSION = 1
ANY_WIDTH = 10_000_000  # the box of a thumbnail that only its height bounds
DRAWS = 5  # uniform numbers a patch takes: photograph, zoom, y, x, flip
OUTSIDE_DRAWS = 2  # and these: whether it lies partly outside the band, how far
READERS = 4

Listing = dict[str, str]  # relative name -> size and digest


class Heights(NamedTuple):
    """Heights at which photographs are kept."""

    shown_px: tuple[int, ...]
    outer_px: tuple[int, ...] = ()  # for patches 1, 2, ... rows outside the band

    @classmethod
    def of(cls, recipe: TrainRecipe) -> Self:
        """Those of a recipe."""
        outside = recipe.outside
        return cls(recipe.data.heights_px, outside.heights_px if outside else ())

    @property
    def by_row(self) -> list[tuple[int, int]]:
        """(rows outside the band, height): what is shown, from the lowest, then the outer ones."""
        return [(0, height_px) for height_px in sorted(self.shown_px)] + [
            (row + 1, height_px) for row, height_px in enumerate(self.outer_px)
        ]


class Entry(NamedTuple):
    """Where one photograph at one height lies in the cache."""

    photograph: int
    offset: int
    height: int
    width: int
    outside: int = 0  # rows outside the band that its edge stands for; 0: shown as it is


@dataclass(frozen=True)
class Batch:
    """Real patches, this process's rows of the global batch.

    pixels uint8 [n,P,P,3]; position float32 [n], that of the patch in its photograph, from -1 at
    the top to 1 at the foot, outside of that for what stands for patches outside the band;
    label_per_px float32 [n], how much a vertical shift by one pixel moves the position.
    """

    pixels: Pixels
    position: npt.NDArray[np.float32]
    label_per_px: npt.NDArray[np.float32]


def list_photographs(folder: Path, without: Path | None = None) -> Listing:
    """Every image file under `folder`, by relative name; DataError when there is none.

    without: a folder that is no part of it wherever it lies; a run's own sheets are no photographs.
    The value holds the size and a SHA-256 of the first 64 KiB: enough to tell a changed file, and
    quick on any number of photographs.
    """
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "does not exist"
        raise DataError(f"DATA {folder} {what}; give a folder of photographs")
    paths = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if without is not None:
        apart = without.resolve()
        if folder.resolve().is_relative_to(apart):
            raise DataError(f"DATA {folder} lies in --out {without}; choose another --out")
        paths = (p for p in paths if not p.resolve().is_relative_to(apart))
    listing = {}
    for path in sorted(paths):
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()[:16]
        listing[path.relative_to(folder).as_posix()] = f"{path.stat().st_size} {head}"
    if not listing:
        allowed = ", ".join(sorted(SUFFIXES))
        raise DataError(f"DATA {folder} holds no image ({allowed}); give a folder of photographs")
    return listing


def listing_digest(listing: Listing) -> str:
    """SHA-256 in hex of a listing."""
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()


def listing_difference(old: Listing, new: Listing) -> str:
    """How two listings differ, in words; '' when they do not.

    >>> listing_difference({"a.jpg": "1", "b.jpg": "2"}, {"b.jpg": "3", "c.jpg": "4"})
    '1 added (c.jpg), 1 removed (a.jpg), 1 changed (b.jpg)'
    """
    kinds = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(key for key in old.keys() & new.keys() if old[key] != new[key]),
    }
    parts = []
    for word, names in kinds.items():
        if names:
            more = ", ..." if len(names) > 3 else ""
            parts.append(f"{len(names)} {word} ({', '.join(names[:3])}{more})")
    return ", ".join(parts)


def decode(path: Path, height_px: int) -> Pixels | None:
    """A photograph as sRGB uint8 [height_px,w,3], upright; None where it is not that tall.

    Shrinks while loading; grey, CMYK (by its profile), 16 bit and alpha (over white) become RGB.
    Raises pyvips.Error when the file is damaged.
    """
    image = pyvips.Image.thumbnail(
        str(path), ANY_WIDTH, height=height_px, size="down", export_profile="srgb", fail_on="error"
    )
    if image.height < height_px:
        return None
    return srgb_pixels(image)


def _read(path: Path, heights: Heights, patch_px: int) -> list[tuple[int, Pixels]] | str:
    """The photograph at each height it reaches, and rows outside; or why it is left out."""
    kept: list[tuple[int, Pixels]] = []
    try:
        for outside, height_px in heights.by_row:
            pixels = decode(path, height_px)
            if pixels is not None and pixels.shape[1] >= patch_px:
                kept.append((outside, pixels))
    except pyvips.Error as error:
        reason = " ".join(str(error).split())
        return f"damaged: {reason[:120]}"
    if not any(outside == 0 for outside, _ in kept):
        least = min(heights.shown_px)
        return f"too small: needs {least} px of height and then {patch_px} px of width"
    return kept


def read_photographs(
    folder: Path, listing: Listing, heights: Heights, patch_px: int, cache: Path
) -> Iterator[Reading | Notice]:
    """Decode every photograph into `cache` at each height, unless it is there; yields progress.

    Names each file that is left out. DataError when none is left.
    """
    path = cache_path(cache, listing, heights, patch_px)
    if path.is_file():
        left_out: dict[str, str] = json.loads(path.with_suffix(".json").read_text())["left_out"]
        yield from _notices(left_out, len(listing))
        return
    cache.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    left_out = {}

    def write(temporary: Path) -> Iterator[Reading]:
        names, offset = list(listing), 0
        with temporary.open("wb") as file, ThreadPoolExecutor(READERS) as pool:
            jobs = pool.map(lambda name: _read(folder / name, heights, patch_px), names)
            for photograph, (name, read) in enumerate(zip(names, jobs, strict=True)):
                if isinstance(read, str):
                    left_out[name] = read
                    read = []
                for outside, pixels in read:
                    height, width = pixels.shape[:2]
                    entries.append(Entry(photograph, offset, height, width, outside))
                    file.write(np.ascontiguousarray(pixels).data)
                    offset += pixels.nbytes
                yield Reading(photograph + 1, len(names), len(left_out))

    partial = path.with_name(f".{path.name}.decoding")
    try:
        yield from write(partial)
        if not entries:
            name, reason = next(iter(left_out.items()))
            raise DataError(
                f"none of the {len(listing)} images under {folder} can be used; {name} is {reason}"
            )
        text = json.dumps({"entries": entries, "left_out": left_out})
        replace_file(path.with_suffix(".json"), lambda file: file.write_text(text))
        replace_file(path, lambda file: partial.rename(file))
    finally:
        partial.unlink(missing_ok=True)
    yield from _notices(left_out, len(listing))


def _notices(left_out: dict[str, str], total: int) -> Iterator[Notice]:
    for name, reason in left_out.items():
        yield Notice(f"left out {name}: {reason}")
    if left_out:
        yield Notice(f"{len(left_out)} of {total} images left out")


def cache_path(cache: Path, listing: Listing, heights: Heights, patch_px: int) -> Path:
    """The cache file of a listing at these heights."""
    key = f"{CACHE_VERSION} {listing_digest(listing)} {heights.shown_px} {patch_px}"
    if heights.outer_px:
        key += f" {heights.outer_px}"
    return cache / f"photographs-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin"


class Photographs:
    """Decoded photographs, mapped from the cache, and the patches drawn from them."""

    def __init__(self, path: Path, patch_px: int) -> None:
        index: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        self.pixels: Pixels = np.memmap(path, dtype=np.uint8, mode="r")
        self.patch_px = patch_px
        by_photograph: dict[int, list[Entry]] = {}
        for values in index["entries"]:
            entry = Entry(*values)
            by_photograph.setdefault(entry.photograph, []).append(entry)
        kept = by_photograph.values()
        self.photographs = [[e for e in entries if e.outside == 0] for entries in kept]
        self.outer = [[e for e in entries if e.outside > 0] for entries in kept]
        self.left_out: dict[str, str] = index["left_out"]

    def __len__(self) -> int:
        return len(self.photographs)

    def picture(self, entry: Entry) -> Pixels:
        """A view of one photograph, [h,w,3]."""
        size = entry.height * entry.width * 3
        flat = self.pixels[entry.offset : entry.offset + size]
        return flat.reshape(entry.height, entry.width, 3)

    def batch(
        self,
        seed: int,
        images: int,
        rows: Sequence[int],
        size: int,
        flip: bool,
        outside: Outside | None = None,
    ) -> Batch:
        """Rows `rows` of the global batch of `size` patches shown after `images` images."""
        random = np.random.Generator(np.random.Philox(key=[seed, images])).random
        uniform, uniform_outside = random((size, DRAWS)), random((size, OUTSIDE_DRAWS))
        side = self.patch_px
        pixels = np.empty((len(rows), side, side, 3), np.uint8)
        position = np.empty(len(rows), np.float32)
        label_per_px = np.empty(len(rows), np.float32)
        for out, row in enumerate(rows):
            u_photograph, u_zoom, u_y, u_x, u_flip = uniform[row]
            u_outside, u_row = uniform_outside[row]
            photograph = int(u_photograph * len(self.photographs))
            zooms, outer = self.photographs[photograph], self.outer[photograph]
            if outside is not None and outer and u_outside < outside.share:
                entry = outer[int(u_row * len(outer))]
                above = u_y < 0.5
                y = 0 if above else entry.height - side
                position[out] = (outside.above if above else outside.below)[entry.outside - 1]
                label_per_px[out] = outside.label_per_px
            else:
                entry = zooms[int(u_zoom * len(zooms))]
                y = int(u_y * (entry.height - side + 1))
                label_per_px[out] = 2 / max(1, entry.height - side)
                position[out] = y * label_per_px[out] - 1
            x = int(u_x * (entry.width - side + 1))
            patch = self.picture(entry)[y : y + side, x : x + side]
            pixels[out] = patch[:, ::-1] if flip and u_flip < 0.5 else patch
        return Batch(pixels, position, label_per_px)


class Prefetched:
    """Batches one step ahead, drawn by a thread while the networks run."""

    def __init__(self, draw: Callable[[int], Batch], size: int) -> None:
        self.draw, self.size = draw, size
        self.pool = ThreadPoolExecutor(1)
        self.next_images = -1
        self.future: Future[Batch] | None = None

    def batch(self, images: int) -> Batch:
        """The batch shown after `images` images."""
        waiting = self.future if images == self.next_images else None
        ready = self.draw(images) if waiting is None else waiting.result()
        self.next_images = images + self.size
        self.future = self.pool.submit(self.draw, self.next_images)
        return ready

    def close(self) -> None:
        """End the thread."""
        self.pool.shutdown(cancel_futures=True)
