"""Photographs at many zooms, and the patches the detail ladder learns from.

A photograph is shrunk to a height of about one scene at depth 0 (`base_px`), times the highest
power of two it reaches, and from there halved by the ladder's own inverse (`nn.scale.halve`): its
level d is what a perfect ladder would show at depth d. A pair for zoom d is a patch of level d + 1
and that patch halved.
Spaces: levels are uint8 [h,w,3]; level d of a photograph is entry d of its list, coarse to fine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips
import torch
import torch.nn.functional as F

from infinite_render.errors import DataError
from infinite_render.files import replace_file
from infinite_render.nn.scale import halve
from infinite_render.pixels import Pixels
from infinite_render.training.data import (
    READERS,
    Entry,
    Listing,
    Photographs,
    decode,
    listing_digest,
)
from infinite_render.training.events import Notice, Reading

CACHE_VERSION = 1
HALVE_MARGIN_PX = 4
CANDIDATES = 3  # patches drawn where the busiest is kept
DRAWS = 4 + 2 * CANDIDATES  # zoom, photograph, whether to choose, flip; y and x of each candidate


@dataclass(frozen=True)
class DetailBatch:
    """Real patches. pixels uint8 [n,P,P,3] at depth zoom + 1, from an even pixel; zoom int64 [n]"""

    pixels: Pixels
    zoom: npt.NDArray[np.int64]


def halved(pixels: Pixels) -> Pixels:
    """Half a photograph, mirrored at its edges: [h,w,3] -> [(h+1)//2,(w+1)//2,3]."""
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    x = F.pad(x, (HALVE_MARGIN_PX,) * 4, mode="reflect")
    y = halve(x).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(y[0].permute(1, 2, 0).numpy())


def read_levels(
    path: Path, base_px: tuple[int, int], zooms: int, patch_px: int
) -> list[Pixels] | str:
    """A photograph's levels, coarse to fine, or why it is left out.

    Its height at depth 0 lies in `base_px`, by the hash of its name; a photograph that reaches one
    more level at the least height is taken at that.
    """
    lowest, highest = base_px
    word = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:8])
    height_px = lowest + word % (highest - lowest + 1)
    try:
        for top in range(zooms, 0, -1):
            for height in (height_px, lowest):
                pixels = decode(path, height << top)
                if pixels is not None and min(pixels.shape[:2]) >= patch_px:
                    levels = [pixels]
                    for _ in range(top):
                        levels.append(halved(levels[-1]))
                    return levels[::-1]
    except pyvips.Error as error:
        return f"damaged: {' '.join(str(error).split())[:120]}"
    return f"too small: needs {max(2 * lowest, patch_px)} px of height and {patch_px} px of width"


def levels_path(
    cache: Path, listing: Listing, base_px: tuple[int, int], zooms: int, patch_px: int
) -> Path:
    """The cache file of a listing's levels."""
    key = f"levels {CACHE_VERSION} {listing_digest(listing)} {base_px} {zooms} {patch_px}"
    return cache / f"levels-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bin"


def cache_levels(
    folder: Path,
    listing: Listing,
    path: Path,
    base_px: tuple[int, int],
    zooms: int,
    patch_px: int,
) -> Iterator[Reading | Notice]:
    """Decode every photograph's levels into `path`, unless it is there already; yields progress.

    Names each file that is left out. DataError when none is left.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.decoding")
        entries: list[Entry] = []
        left_out: dict[str, str] = {}
        try:
            yield from _decode_all(
                folder, list(listing), partial, entries, left_out, base_px, zooms, patch_px
            )
            if not entries:
                name, reason = next(iter(left_out.items()))
                raise DataError(
                    f"none of the {len(listing)} images under {folder} can be used; {name} is "
                    f"{reason}"
                )
            text = json.dumps({"entries": entries, "left_out": left_out})
            replace_file(path.with_suffix(".json"), lambda file: file.write_text(text))
            replace_file(path, lambda file: partial.rename(file))
        finally:
            partial.unlink(missing_ok=True)
    dropped: dict[str, str] = json.loads(path.with_suffix(".json").read_text())["left_out"]
    for name, reason in dropped.items():
        yield Notice(f"left out {name}: {reason}")
    if dropped:
        yield Notice(f"{len(dropped)} of {len(listing)} images left out")


def _decode_all(
    folder: Path,
    names: Sequence[str],
    target: Path,
    entries: list[Entry],
    left_out: dict[str, str],
    base_px: tuple[int, int],
    zooms: int,
    patch_px: int,
) -> Iterator[Reading]:
    """Write the levels of every photograph to `target`, one after another; fills the lists."""
    offset = 0
    with target.open("wb") as file, ThreadPoolExecutor(READERS) as pool:
        jobs = pool.map(lambda name: read_levels(folder / name, base_px, zooms, patch_px), names)
        for photograph, (name, read) in enumerate(zip(names, jobs, strict=True)):
            if isinstance(read, str):
                left_out[name] = read
                read = []
            for pixels in read:
                entries.append(Entry(photograph, offset, *pixels.shape[:2]))
                file.write(pixels.data)
                offset += pixels.nbytes
            yield Reading(photograph + 1, len(names), len(left_out))


class DetailPhotographs(Photographs):
    """Levels of photographs, mapped from the cache, and the pairs drawn from them."""

    def __init__(self, path: Path, patch_px: int, zooms: int) -> None:
        super().__init__(path, patch_px)
        # by_zoom[d]: the photographs that show what zoom d must paint
        self.by_zoom = [
            [levels for levels in self.photographs if len(levels) > zoom + 1]
            for zoom in range(zooms)
        ]

    def pairs(self, seed: int, images: int, size: int) -> DetailBatch:
        """The batch of `size` patches shown after `images` images: a pure function of both.

        Zooms are drawn evenly among those some photograph reaches; half of the patches are the
        busiest of three, so that plain sky is not most of what is seen.
        """
        uniform = np.random.Generator(np.random.Philox(key=[seed, images])).random((size, DRAWS))
        reached = [zoom for zoom, some in enumerate(self.by_zoom) if some]
        pixels = np.empty((size, self.patch_px, self.patch_px, 3), np.uint8)
        zooms = np.empty(size, np.int64)
        for row, (u_zoom, u_photograph, u_choose, u_flip, *u_places) in enumerate(uniform):
            zoom = reached[int(u_zoom * len(reached))]
            some = self.by_zoom[zoom]
            picture = self.picture(some[int(u_photograph * len(some))][zoom + 1])
            places = np.reshape(u_places, (CANDIDATES, 2))
            candidates = [self._patch(picture, y, x) for y, x in places]
            patch = max(candidates, key=_busyness) if u_choose < 0.5 else candidates[0]
            pixels[row] = patch[:, ::-1] if u_flip < 0.5 else patch
            zooms[row] = zoom
        return DetailBatch(pixels, zooms)

    def _patch(self, picture: Pixels, u_y: float, u_x: float) -> Pixels:
        side = self.patch_px
        y = int(u_y * (picture.shape[0] - side + 1))
        x = int(u_x * (picture.shape[1] - side + 1))
        return picture[y : y + side, x : x + side]


def _busyness(patch: Pixels) -> float:
    green = patch[::2, ::2, 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=1)).mean())
