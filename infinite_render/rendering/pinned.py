"""Photographs pinned on a plane: their own pixels at every level, and what leads over to the rest.

A photograph lies at its place on the plane of its depth d. P_d are its pixels, P_k-1 is P_k halved
by the ladder's own low-pass, mirrored at its borders, so that it holds for the photograph what it
holds for all that is painted. Right after a piece of level k is painted, whatever the piece, P_k
takes the place of the pixels inside the photograph, and around it the membrane of the residual
P_k - R_k along the border is added to what was painted, R_k; only then level k + 1 reads it. The
ladder continues P_k as it would its own pixels, so above level 0 the residual is detail alone. The
membrane carries what varies slowly along the border; the residual's own texture goes on mirrored
for a little while, and the first few pixels around are P_k itself, mirrored: where a photograph is
smoother or rougher than what is painted, a membrane alone would leave a line.

All of it is a pure function of position: R_k along the border is painted once, in pieces that
follow from the photograph's window.

Spaces: px of level k, whose pixel q lies where pixel 2^(d-k) q of the photograph's depth does.
Shapes: RGB float32 [3,h,w], about [-1, 1]; pixels uint8 [h,w,3].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinite_render.errors import UsageError
from infinite_render.fields.styles import smooth
from infinite_render.geometry import Halve, Span, Window, pieces
from infinite_render.nn.scale import halve
from infinite_render.pixels import pixels_sha256
from infinite_render.rendering.membrane import Array, Fades, band_of, membrane

PASTING_VERSION = 1  # in the identity: what this file computes can change every pixel around
# How far the correction reaches, px of a level. At level 0 it carries what the inversion has not
# met; above, where the ladder has kept all but the finest detail, a few pixels do.
FADE_BASE_PX, FADE_ABOVE_PX = 48, 12
TEXTURE_BASE_PX, TEXTURE_ABOVE_PX = 4, 12  # how far the mirrored residual goes over into it
MIRROR_BASE_PX, MIRROR_ABOVE_PX = 2, 4  # how far the mirrored photograph goes over into these
_PROBE_PX = 1024  # of the border at a time

Painter = Callable[[Window, int], Tensor]
"""(window, level) -> RGB [3,h,w] there, before photographs are laid over that very level."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph and its place on the plane of `depth`.

    pixels     uint8 [h,w,3]
    place_px   (y, x) of its first pixel; any whole numbers
    """

    pixels: NDArray[np.uint8]
    place_px: tuple[int, int]
    depth: int = 0

    @property
    def window_px(self) -> Window:
        """Where it lies on the plane of its depth."""
        return Window(*self.place_px, *self.pixels.shape[:2])

    @cached_property
    def sha256(self) -> str:
        """Of its pixels, in hex."""
        return pixels_sha256(self.pixels)

    def describe(self) -> dict[str, Any]:
        """Plain values that tell it, and where it lies, from every other."""
        return {"sha256": self.sha256, "window": list(self.window_px)}

    def window_at(self, level: int) -> Window:
        """The pixels of a level that lie inside the photograph."""
        window = self.window_px
        for _ in range(self.depth - level):
            window = _halved(window)
        return window


def from_bytes(pixels: NDArray[np.uint8]) -> Array:
    """uint8 [h,w,3] -> RGB [3,h,w] that `to_uint8` gives back as it was."""
    return np.moveaxis(pixels.astype(np.float32) / np.float32(127.5) - np.float32(1), 2, 0)


def pyramid_of(photograph: Photograph) -> list[Array]:
    """P_0 .. P_d of a photograph, each over `window_at` its level."""
    levels = [from_bytes(photograph.pixels)]
    for level in range(photograph.depth, 0, -1):
        window = photograph.window_at(level)
        lower = photograph.window_at(level - 1)
        needed = [Halve().needs(lower.y_span), Halve().needs(lower.x_span)]
        sides = zip(needed, (window.y_span, window.x_span), strict=True)
        margins = [(own.start - need.start, need.stop - own.stop) for need, own in sides]
        wide = np.pad(levels[-1], [(0, 0), *margins], mode="reflect")
        levels.append(halve(torch.from_numpy(wide)[None])[0].numpy())
    return levels[::-1]


def _halved(window: Window) -> Window:
    """The pixels of the next level down that lie inside a window."""

    def span(fine: Span) -> Span:
        return Span(-(-fine.start // 2), (fine.stop - 1) // 2 + 1)

    return Window.of(span(window.y_span), span(window.x_span))


class _Around(NamedTuple):
    """What becomes of RGB around a photograph: keep RGB + added; keep [h,w], added [3,h,w]."""

    window: Window
    keep: Array
    added: Array


class _Laid(NamedTuple):
    """What one photograph lays over one level: its pixels, and what changes around them."""

    window: Window
    pixels: Array | None  # None on the photograph's own level, where it has them itself
    around: list[_Around]
    photograph: Photograph

    def part(self, window: Window) -> Array:
        """The pixels of a part of the photograph's window, [3,h,w]."""
        rows, columns = window.within(self.window)
        if self.pixels is None:
            return from_bytes(self.photograph.pixels[rows, columns])
        return self.pixels[:, rows, columns]


class PinnedPhotographs:
    """Photographs that lie on one plane, at one depth, none over another.

    paint   paints windows of a level on which they are not laid yet; it is called from the thread
            that first lays them over that level

    Raises UsageError for photographs that overlap, have several depths or are too small.
    """

    def __init__(self, photographs: Sequence[Photograph], paint: Painter) -> None:
        self.photographs, self._paint = tuple(photographs), paint
        self.depth = photographs[0].depth
        self._laid: list[list[_Laid]] = []
        self._pyramids: list[list[Array]] = []
        self._lock = RLock()
        for photograph in photographs:
            _check(photograph, self.depth)
        for one, other in combinations(photographs, 2):
            if _meet(one.window_px, other.window_px):
                raise UsageError(
                    f"photographs at {_place(one)} and {_place(other)} overlap; "
                    "place them apart from each other"
                )

    def describe(self) -> dict[str, Any]:
        """Plain values for a picture's identity."""
        rows = [photograph.describe() for photograph in self.photographs]
        return {"version": PASTING_VERSION, "depth": self.depth, "laid": rows}

    def lay(self, rgb: Tensor, tile: Window, level: int) -> None:
        """Lay the photographs over RGB [3,h,w] painted on a tile of a level, in place."""
        if level > self.depth:
            return
        laid = self._at(level)
        for layer in laid:
            for window, keep, added in layer.around:
                shared = window.meet(tile)
                if shared.height and shared.width:
                    rows, columns = shared.within(window)
                    part = rgb[:, *shared.within(tile)]
                    part *= torch.from_numpy(keep[rows, columns]).to(rgb.device)
                    part += torch.from_numpy(added[:, rows, columns]).to(rgb.device)
        for layer in laid:
            shared = layer.window.meet(tile)
            if shared.height and shared.width:
                own = torch.from_numpy(layer.part(shared)).to(rgb.device)
                rgb[:, *shared.within(tile)] = own

    def _at(self, level: int) -> list[_Laid]:
        """What lies over a level; prepared when it is first asked for, and those below before."""
        if len(self._laid) <= level:
            with self._lock:
                while len(self._laid) <= level:
                    self._laid.append(self._prepared(len(self._laid)))
        return self._laid[level]

    def _prepared(self, level: int) -> list[_Laid]:
        if not self._pyramids:
            self._pyramids = [pyramid_of(photograph) for photograph in self.photographs]
        windows = [photograph.window_at(level) for photograph in self.photographs]
        laid = []
        for index, window in enumerate(windows):
            others = [*windows[:index], *windows[index + 1 :]]
            pixels = self._pyramids[index][level]
            residual = self._residual(pixels, window, level)
            corrections = membrane(window, fades_of(window, others, level), residual)
            around = [_over(pixels, residual, window, *patch, level) for patch in corrections]
            kept = pixels if level < self.depth else None
            laid.append(_Laid(window, kept, around, self.photographs[index]))
        if level == self.depth:
            self._pyramids = [[]]
        return laid

    def _residual(self, pixels: Array, window: Window, level: int) -> Array:
        """P - R in a band along the border, painted in pieces of a bounded length; 0 elsewhere."""
        residual = np.zeros_like(pixels)
        for band in band_of(window, 1 + (TEXTURE_ABOVE_PX if level else TEXTURE_BASE_PX)):
            for piece in pieces(band, _PROBE_PX):
                where = piece.within(window)
                painted = self._paint(piece, level).cpu().numpy()
                residual[:, *where] = pixels[:, *where] - painted
        return residual


def _over(
    pixels: Array, residual: Array, window: Window, piece: Window, correction: Array, level: int
) -> _Around:
    """From the pixels of a photograph, mirrored, to what is painted and corrected around it."""
    rows, down = _mirrored(piece.y_span, window.y_span)
    columns, across = _mirrored(piece.x_span, window.x_span)
    away = np.sqrt(down[:, None] ** 2 + across**2)

    def share(reach_px: int) -> Array:
        return smooth(1 - away / (reach_px + 1)).astype(np.float32)

    def beyond(values: Array) -> Array:
        near, far = (
            values[:, row[:, None], column] for row, column in zip(rows, columns, strict=True)
        )
        return near * np.float32(0.75) + far * np.float32(0.25)

    texture = share(TEXTURE_ABOVE_PX if level else TEXTURE_BASE_PX)
    mirror = share(MIRROR_ABOVE_PX if level else MIRROR_BASE_PX)
    one = np.float32(1)
    added = (one - texture) * correction + texture * beyond(residual)
    added = (one - mirror) * added + mirror * beyond(pixels)
    return _Around(piece, one - mirror, added)


def _mirrored(
    outer: Span, inner: Span
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]:
    """For every place of `outer`: the two in `inner` between which its mirror lies, as indices, and
    how far away `inner` is: a quarter of the way from the first to the second. With the mirror on
    the border pixels, an odd first column (they are common) would have a step on either side; with
    it just outside of them, the first step would always be none.

    >>> _mirrored(Span(-2, 1), Span(0, 4))[0]
    (array([1, 0, 0]), array([2, 1, 0]))
    """
    place = np.arange(outer.start, outer.stop) - inner.start
    last = inner.size - 1
    away = np.maximum(np.maximum(-place, place - last), 0)
    inside = np.clip(place, 0, last)
    inward = np.sign(inside - place)
    near, far = inside + inward * (away - 1), inside + inward * away
    return (np.clip(near, 0, last), np.clip(far, 0, last)), away.astype(np.float64)


def fades_of(window: Window, others: Sequence[Window], level: int) -> Fades:
    """How far the frame reaches on every side: never over another photograph."""
    reach = FADE_ABOVE_PX if level else FADE_BASE_PX
    fades = dict.fromkeys(Fades._fields, reach)
    for other in others:
        gaps = {
            "top": window.y - other.y_span.stop,
            "left": window.x - other.x_span.stop,
            "bottom": other.y - window.y_span.stop,
            "right": other.x - window.x_span.stop,
        }
        side = max(gaps, key=lambda name: gaps[name])
        fades[side] = max(0, min(fades[side], gaps[side]))
    return Fades(**fades)


def _check(photograph: Photograph, depth: int) -> None:
    if photograph.depth != depth:
        raise UsageError(
            f"photographs of depth {depth} and {photograph.depth} cannot lie on one plane; "
            "pin them at one depth"
        )
    least = photograph.window_at(0)
    if least.height < 2 or least.width < 2:
        height, width = photograph.pixels.shape[:2]
        raise UsageError(
            f"a photograph of {width} x {height} px is too small to be pinned at depth {depth}; "
            f"give {4 << depth} px or more each way"
        )


def _meet(one: Window, other: Window) -> bool:
    shared = one.meet(other)
    return shared.height > 0 and shared.width > 0


def _place(photograph: Photograph) -> str:
    y, x, height, width = photograph.window_px
    return f"{x},{y} ({width} x {height} px)"
