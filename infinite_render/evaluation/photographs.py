"""Photographs as training showed them, held in memory, and the patches and frames cut from them.

Spaces, all (y, x), px:
    image     a photograph shrunk to the height `image_px` that training gave it
    patch     `patch_px` square, at one of `rows` heights in the image: what the trainer sees
    frame     `image_px` square, the whole height of the image: what ScaleInv figures compare

Pictures are uint8 [N,H,W,3]; every draw follows from its seed alone.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips

from infinite_render.errors import DataError
from infinite_render.evaluation.protocols import Pictures
from infinite_render.training.data import decode, list_photographs, listing_digest

Integers = npt.NDArray[np.int64]
Picture = npt.NDArray[np.uint8]  # [H,W,3]

MEMORY_BYTES = 400 << 20  # of decoded photographs; beyond it a part of them stands for all
USUAL_ASPECT = 1.8  # width over height, to foresee that memory
READERS = 4


@dataclass(frozen=True)
class View:
    """What training showed: sizes in px, and the number of vertical positions of a patch."""

    image_px: int
    patch_px: int
    rows: int

    def patch_y_px(self, row: int) -> int:
        """First image row of a patch at position `row`, spread evenly from top to bottom.

        >>> [View(101, 53, 7).patch_y_px(row) for row in range(7)]
        [0, 8, 16, 24, 32, 40, 48]
        """
        return round((self.image_px - self.patch_px) * row / max(1, self.rows - 1))

    def band_of(self, row: int, bands: int) -> int:
        """Which of `bands` vertical bands a patch at position `row` belongs to, 0 the topmost.

        >>> [View(101, 53, 7).band_of(row, 3) for row in range(7)]
        [0, 0, 0, 1, 1, 2, 2]
        """
        return row * bands // self.rows


@dataclass(frozen=True)
class Cuts:
    """Where squares of `side_px` are cut: [N] each. `row` is a patch's vertical position."""

    side_px: int
    source: Integers  # index of the photograph
    row: Integers
    y_px: Integers
    x_px: Integers
    mirrored: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class Photographs:
    """Decoded photographs of one folder at one height.

    digest tells the folder's files (and the choice of a part of them) from every other.
    """

    pictures: tuple[Picture, ...]
    image_px: int
    digest: str
    files: int
    left_out: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def patches(self, view: View, count: int, seed: int) -> Cuts:
        """`count` patches: photographs and rows in turn, columns and mirror images at random."""
        rng = np.random.default_rng([seed, count, view.patch_px])
        row = rng.permutation(np.arange(count) % view.rows)
        y_px = np.array([view.patch_y_px(value) for value in row.tolist()], np.int64)
        return self._draw(view.patch_px, row, y_px, rng)

    def frames(self, count: int, seed: int) -> Cuts:
        """`count` square frames of the photographs' whole height."""
        rng = np.random.default_rng([seed, count, self.image_px])
        top = np.zeros(count, np.int64)
        return self._draw(self.image_px, top, top, rng)

    def grid(self, side_px: int, step_px: int) -> Cuts:
        """Every square whose corner lies on a lattice of `step_px` in its photograph."""
        places = [
            (source, y, x)
            for source, picture in enumerate(self.pictures)
            for y in range(0, picture.shape[0] - side_px + 1, step_px)
            for x in range(0, picture.shape[1] - side_px + 1, step_px)
        ]
        source, y_px, x_px = np.array(places, np.int64).reshape(-1, 3).T
        zeros = np.zeros(len(source), np.int64)
        return Cuts(side_px, source, zeros, y_px, x_px, zeros.astype(bool))

    def pixels(self, cuts: Cuts, part: slice = slice(None)) -> Pictures:
        """The pixels of some of the cuts, uint8 [n,S,S,3]."""
        indices = range(len(cuts))[part]
        side = cuts.side_px
        pixels = np.empty((len(indices), side, side, 3), np.uint8)
        for out, i in enumerate(indices):
            y, x = cuts.y_px[i], cuts.x_px[i]
            cut = self.pictures[cuts.source[i]][y : y + side, x : x + side]
            pixels[out] = cut[:, ::-1] if cuts.mirrored[i] else cut
        return pixels

    def _draw(self, side_px: int, row: Integers, y_px: Integers, rng: np.random.Generator) -> Cuts:
        widths = np.array([picture.shape[1] for picture in self.pictures])
        wide = np.flatnonzero(widths >= side_px)
        if not len(wide):
            raise DataError(
                f"no photograph is {side_px} px wide at a height of {self.image_px} px; "
                "give wider photographs"
            )
        count = len(row)
        source = rng.permutation(wide)[np.arange(count) % len(wide)]
        x_px = (rng.random(count) * (widths[source] - side_px + 1)).astype(np.int64)
        return Cuts(side_px, source, row, y_px, x_px, rng.random(count) < 0.5)


def halves(source: Integers, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Two masks [N] that part samples by the photograph they lay in: no photograph is in both."""
    names = np.unique(source)
    first = np.random.default_rng([seed, len(names)]).permutation(names)[: len(names) // 2]
    inside = np.isin(source, first)
    return inside, ~inside


def read_photographs(folder: Path, image_px: int, seed: int = 0) -> Photographs:
    """Decode the photographs of a folder to `image_px` of height.

    Where all would take more than about 400 MiB, as many as fit are chosen at random by `seed`.
    Those that are damaged or not tall enough are left out, by name. DataError when fewer than four
    are left: two halves of two is the least that a floor can be had from.
    """
    listing = list_photographs(folder)
    names = list(listing)
    fitting = max(64, int(MEMORY_BYTES / (3 * USUAL_ASPECT * image_px**2)))
    if len(names) > fitting:
        chosen = np.random.default_rng([seed, fitting]).permutation(len(names))[:fitting]
        names = [names[i] for i in sorted(chosen)]

    def read(name: str) -> Picture | str:
        try:
            pixels = decode(folder / name, image_px)
        except pyvips.Error as error:
            return f"{name}: damaged: {' '.join(str(error).split())[:120]}"
        return f"{name}: not {image_px} px high" if pixels is None else pixels

    with ThreadPoolExecutor(READERS) as pool:
        results = list(pool.map(read, names))
    pictures = tuple(picture for picture in results if not isinstance(picture, str))
    left_out = tuple(reason for reason in results if isinstance(reason, str))
    if len(pictures) < 4:
        why = f"; {left_out[0]}" if left_out else ""
        raise DataError(
            f"DATA {folder} holds {len(pictures)} photographs that can be read at {image_px} px; "
            f"give 4 or more{why}"
        )
    digest = listing_digest({name: listing[name] for name in names})
    return Photographs(pictures, image_px, digest, len(listing), left_out)
