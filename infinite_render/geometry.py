"""Sizes of the padding-free generator, and the windows a piece of picture needs.

Spaces, all (y, x), all integers, of both signs:
    cell   one column of the local latents; the structure lattice has the same index
    px     one pixel of the plane; `stride = 2**blocks` px per cell at depth 0
    depth  a plane `2**depth` times finer: its px lattice is that of depth 0, doubled `depth` times

One rule covers every layer: it knows, in integers, which input span it needs for an output span,
and which output span an input span gives. A stage is a tuple of layers; nothing else does margin
arithmetic. Lattices are aligned so that a convolution keeps the index and an upsampling maps index
q to 2q.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

MARGIN_CELLS = 5  # cells the texture synthesizer consumes, whatever its depth


class Span(NamedTuple):
    """A half-open interval [start, stop) of one lattice along one axis."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def holds(self, other: Span) -> bool:
        """Whether `other` lies inside this span."""
        return self.start <= other.start and other.stop <= self.stop

    def slice_in(self, outer: Span) -> slice:
        """Where this span lies in an array that covers `outer`."""
        return slice(self.start - outer.start, self.stop - outer.start)


class Window(NamedTuple):
    """A rectangle of one lattice: its first row and column, and its size."""

    y: int
    x: int
    height: int
    width: int

    @property
    def y_span(self) -> Span:
        return Span(self.y, self.y + self.height)

    @property
    def x_span(self) -> Span:
        return Span(self.x, self.x + self.width)

    @classmethod
    def of(cls, y_span: Span, x_span: Span) -> Window:
        return cls(y_span.start, x_span.start, y_span.size, x_span.size)

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Index of this window in an array that covers `outer`.

        >>> Window(2, 3, 1, 1).within(Window(0, 0, 4, 4))
        (slice(2, 3, None), slice(3, 4, None))
        """
        return self.y_span.slice_in(outer.y_span), self.x_span.slice_in(outer.x_span)

    def meet(self, other: Window) -> Window:
        """The window both share; of size zero when they do not touch."""
        y0, x0 = max(self.y, other.y), max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - y0
        width = min(self.x + self.width, other.x + other.width) - x0
        return Window(y0, x0, max(0, height), max(0, width))


class Layer(Protocol):
    """What geometry needs to know of a layer."""

    def needs(self, out: Span) -> Span:
        """The smallest input span from which `out` can be computed."""

    def gives(self, given: Span) -> Span:
        """The whole output span that the input span `given` determines."""


@dataclass(frozen=True)
class Conv:
    """A convolution of `2 radius + 1` taps without padding: n -> n - 2 radius."""

    radius: int = 1

    def needs(self, out: Span) -> Span:
        return Span(out.start - self.radius, out.stop + self.radius)

    def gives(self, given: Span) -> Span:
        return Span(given.start + self.radius, given.stop - self.radius)


@dataclass(frozen=True)
class Up:
    """Transposed 3-tap convolution of stride 2, cropped by 1, blurred by 3 taps: n -> 2n - 3."""

    def needs(self, out: Span) -> Span:
        return Span((out.start - 1) // 2, -(-out.stop // 2) + 1)

    def gives(self, given: Span) -> Span:
        return Span(2 * given.start + 1, 2 * given.stop - 2)


@dataclass(frozen=True)
class SkipUp:
    """Transposed [1,2,1] of stride 2, cropped by one (the running RGB): n -> 2n - 1."""

    def needs(self, out: Span) -> Span:
        return Span(out.start // 2, -(-(out.stop - 1) // 2) + 1)

    def gives(self, given: Span) -> Span:
        return Span(2 * given.start, 2 * given.stop - 1)


@dataclass(frozen=True)
class Halve:
    """Nine taps of stride 2 on the even pixels (`nn.scale.halve`): n -> (n - 7) // 2 from an even.

    The one layer that goes down: pixel 2q becomes pixel q.
    """

    def needs(self, out: Span) -> Span:
        return Span(2 * out.start - 4, 2 * out.stop + 3)

    def gives(self, given: Span) -> Span:
        return Span(-(-given.start // 2) + 2, (given.stop - 5) // 2 + 1)


@dataclass(frozen=True)
class Double:
    """Seven taps of stride 1/2 (`nn.scale.double`): n -> 2n - 5."""

    def needs(self, out: Span) -> Span:
        return Span((out.start - 2) // 2, (out.stop + 2) // 2 + 1)

    def gives(self, given: Span) -> Span:
        return Span(2 * given.start + 2, 2 * given.stop - 3)


Stage = tuple[Layer, ...]


def structure_stage(layers: int, radius: int) -> Stage:
    """The structure synthesizer: `layers` convolutions of radius `radius`."""
    return (Conv(radius),) * layers


def texture_stage(blocks: int) -> Stage:
    """The texture synthesizer: `blocks` times an upsampling convolution and a convolution."""
    return (Up(), Conv()) * blocks


def detail_stage(low_layers: int) -> Stage:
    """One step of the detail ladder, from the lattice of depth d to that of depth d + 1.

    Its features, then the two filters that put the input back as the low-pass of what was painted:
    layer i of the network computes entry i + 1 of `spans_given`; the lattices are low (input and
    `low_layers`), high (the painted picture last), low (what `Halve` gives), high (the output).
    """
    return (Conv(),) * low_layers + (Up(), Conv(), Halve(), Double())


def spans_needed(stage: Stage, out: Span) -> list[Span]:
    """The span each lattice of `stage` needs for `out`: its input's first, `out` itself last.

    >>> spans_needed(texture_stage(1), Span(2, 19))
    [Span(start=0, stop=11), Span(start=1, stop=20), Span(start=2, stop=19)]
    """
    spans = [out]
    for layer in reversed(stage):
        spans.append(layer.needs(spans[-1]))
    return spans[::-1]


def spans_given(stage: Stage, given: Span) -> list[Span]:
    """The span of each lattice when `stage` runs on the whole of `given`: `given` first.

    >>> [span.size for span in spans_given(texture_stage(4), Span(0, 11))]
    [11, 19, 17, 31, 29, 55, 53, 103, 101]
    """
    spans = [given]
    for layer in stage:
        spans.append(layer.gives(spans[-1]))
    return spans


def window_needed(stage: Stage, out: Window) -> Window:
    """The window of the stage's input lattice that `out` needs."""
    return Window.of(spans_needed(stage, out.y_span)[0], spans_needed(stage, out.x_span)[0])


def windows_given(stage: Stage, given: Window) -> list[Window]:
    """The window of each lattice when `stage` runs on the whole of `given`: `given` first."""
    y_spans, x_spans = spans_given(stage, given.y_span), spans_given(stage, given.x_span)
    return [Window.of(y_span, x_span) for y_span, x_span in zip(y_spans, x_spans, strict=True)]


def texture_out_px(cells: int, blocks: int) -> int:
    """Pixels painted from `cells` columns of structure by `blocks` up-and-convolve blocks.

    One block maps n -> (2n - 3) - 2, so k blocks map n -> 2^k (n - 5) + 5.

    >>> [texture_out_px(11, k) for k in (4, 5, 6)]
    [101, 197, 389]
    """
    return (1 << blocks) * (cells - MARGIN_CELLS) + MARGIN_CELLS


def texture_in_cells(patch_px: int, blocks: int) -> int:
    """Columns of structure that paint exactly `patch_px` pixels, or raise ValueError.

    >>> texture_in_cells(101, 4)
    11
    """
    cells, rest = divmod(patch_px - MARGIN_CELLS, 1 << blocks)
    if rest or cells < 1:
        raise ValueError(f"{patch_px} px is not {2**blocks} m + {MARGIN_CELLS} px")
    return cells + MARGIN_CELLS


def first_px_of_cell(cell: int, blocks: int) -> int:
    """The first pixel painted when `cell` is the first column of structure.

    >>> [first_px_of_cell(0, k) for k in (1, 3, 4)]
    [2, 14, 30]
    """
    return (1 << blocks) * (cell + 2) - 2


def cover(span: Span, tile: int) -> range:
    """Indices of the tiles of size `tile` that meet `span`, on the lattice through 0.

    >>> list(cover(Span(-1, 513), 512))
    [-1, 0, 1]
    """
    return range(span.start // tile, -(-span.stop // tile))


def tiles_of(window: Window, tile: int) -> Iterator[Window]:
    """The whole tiles of size `tile` that meet `window`, row by row."""
    for y in cover(window.y_span, tile):
        for x in cover(window.x_span, tile):
            yield Window(y * tile, x * tile, tile, tile)


def turns(window: Window, period: int) -> Iterator[tuple[Window, slice]]:
    """A window of a cylinder, cut at the seam: parts in columns [0, period), where each lies.

    >>> [(part.x, part.width, columns) for part, columns in turns(Window(0, 7, 1, 6), 10)]
    [(7, 3, slice(0, 3, None)), (0, 3, slice(3, 6, None))]
    """
    done = 0
    while done < window.width:
        x = (window.x + done) % period
        width = min(period - x, window.width - done)
        yield Window(window.y, x, window.height, width), slice(done, done + width)
        done += width


def pieces(window: Window, height: int, width: int | None = None) -> Iterator[Window]:
    """`window` cut into near-equal pieces of about that size, row by row; width None: as high.

    >>> [piece.width for piece in pieces(Window(0, 0, 4, 1040), 512)]
    [520, 520]
    """
    for y_span in _near_equal(window.y_span, height):
        for x_span in _near_equal(window.x_span, height if width is None else width):
            yield Window.of(y_span, x_span)


def _near_equal(span: Span, about: int) -> list[Span]:
    count = max(1, round(span.size / about))
    edges = [span.start + span.size * i // count for i in range(count + 1)]
    return [Span(a, b) for a, b in pairwise(edges)]
