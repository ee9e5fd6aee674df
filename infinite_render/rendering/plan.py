"""What one block of the plane needs: the window of every lattice, and the arithmetic it costs.

A picture of depth d is painted by a tower of stages: structure (cells) -> texture (px of depth 0)
-> d steps of the detail ladder (px of depth 1 .. d). For a block, every stage but the last is run
once over the window that the stages above it read; the last one paints the block cell by cell.

Spaces: px of a level 0 .. depth, cells. A block is aligned to multiples of its size on the plane of
its depth, and its size is a multiple of `stride << depth`; so all blocks have the same windows,
shifted, and every tensor of one block has the shape it has in all others.
"""

from __future__ import annotations

import bisect
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from infinite_render.config import DetailConfig, GeneratorConfig, RenderConfig
from infinite_render.errors import UsageError
from infinite_render.geometry import (
    Span,
    Stage,
    Window,
    detail_stage,
    pieces,
    spans_needed,
    structure_stage,
    texture_stage,
    window_needed,
    windows_given,
)
from infinite_render.nn.detail import GIVEN_CHANNELS
from infinite_render.nn.lakes import map_macs, wet_rows
from infinite_render.rendering.strips import strips

PLANE_LIMIT_PX = 2**40  # |y| and |x| of any pixel that can be asked for, at any depth
MOST_WASTE = 1.10  # arithmetic of a block over that of the same pixels without borders
# High and wide: small ones stay in the cache, and high ones are cut into narrow strips.
_PIECES_CELLS = ((1, 1), (2, 1), (2, 2), (4, 2))
COORDINATE_CHANNELS = 3


def check_window(window: Window) -> Window:
    """The window in Python's own integers.

    UsageError for one that is not of integers, is empty, or leaves the plane's +-2^40 px.
    """
    try:
        window = Window(*map(operator.index, window))
    except TypeError:
        raise UsageError(
            f"a window is four whole numbers (y, x, height, width), got {tuple(window)}"
        ) from None
    if window.height < 1 or window.width < 1:
        raise UsageError(
            f"a window of {window.width} x {window.height} px is empty; sizes must be 1 or more"
        )
    corners = (*window.y_span, *window.x_span)
    if max(map(abs, corners)) > PLANE_LIMIT_PX:
        raise UsageError(
            f"the window from {window.y},{window.x} of {window.width} x {window.height} px leaves "
            f"the plane; every pixel must lie within +-{PLANE_LIMIT_PX}: choose a smaller size, or "
            "an origin nearer to 0"
        )
    return window


def check_depth(
    generator: GeneratorConfig, render: RenderConfig, detail: DetailConfig | None, depth: int
) -> None:
    """UsageError for a depth the model has not: negative, without a ladder, or beyond a block."""
    deepest = max_depth(generator, render, detail)
    if not 0 <= depth <= deepest:
        lacks_ladder = "it has no detail ladder"
        why = lacks_ladder if detail is None else f"its blocks are {render.block_px} px"
        raise UsageError(f"--depth {depth} is not in 0..{deepest} for this model: {why}")


def max_depth(generator: GeneratorConfig, render: RenderConfig, detail: DetailConfig | None) -> int:
    """The deepest plane a model can be rendered at: a block must hold whole cells of latents."""
    if detail is None:
        return 0
    depth = 0
    while render.block_px % (generator.stride << (depth + 1)) == 0:
        depth += 1
    return depth


def default_depth(
    generator: GeneratorConfig, render: RenderConfig, detail: DetailConfig | None, height_px: int
) -> int:
    """The depth at which the vertical band that training showed spans about `height_px`.

    >>> default_depth(GeneratorConfig(), RenderConfig(), DetailConfig(), 8192)  # a band of 101 px
    6
    """
    first_px, stop_px = generator.band_px
    fitting = round(math.log2(max(1.0, height_px / (stop_px - first_px))))
    return min(fitting, max_depth(generator, render, detail))


@dataclass(frozen=True)
class BlockPlan:
    """Windows and costs of the blocks of one model at one depth."""

    generator: GeneratorConfig
    render: RenderConfig
    detail: DetailConfig | None = None
    depth: int = 0

    def __post_init__(self) -> None:
        check_depth(self.generator, self.render, self.detail, self.depth)

    @cached_property
    def structure(self) -> Stage:
        return structure_stage(self.generator.structure_layers, self.generator.structure_radius)

    @cached_property
    def texture(self) -> Stage:
        return texture_stage(self.generator.blocks)

    @cached_property
    def step(self) -> Stage:
        """One step of the ladder; only for a model that has one."""
        assert self.detail is not None
        return detail_stage(self.detail.low_layers)

    def stage(self, level: int) -> Stage:
        """The stage that paints the px of `level`: the texture, or a step of the ladder."""
        return self.texture if level == 0 else self.step

    def block(self, block_y: int, block_x: int) -> Window:
        """A block in px of the depth."""
        size = self.render.block_px
        return Window(block_y * size, block_x * size, size, size)

    def level_windows(self, block_y: int, block_x: int) -> list[Window]:
        """What a block needs of every lattice: z_s in cells, then px of level 0 .. depth."""
        return self.windows_for(self.block(block_y, block_x))

    def windows_for(self, window: Window) -> list[Window]:
        """The same for any window of px of the depth."""
        windows = [window]
        for level in range(self.depth, -1, -1):
            windows.append(window_needed(self.stage(level), windows[-1]))
        return windows[::-1]

    def latent_window(self, structure_window: Window) -> Window:
        """The window of z_l and c, in cells, that a window of z_s reads."""
        return window_needed(self.structure, structure_window)

    @cached_property
    def reach_px(self) -> Span:
        """The px, along one axis, that the local latent of cell 0 can change: nothing beyond."""

        def cells(px: int) -> Span:
            span = Span(px, px + 1)
            for level in range(self.depth, -1, -1):
                span = spans_needed(self.stage(level), span)[0]
            return spans_needed(self.structure, span)[0]

        config = self.generator
        far = 64 * (config.structure_margin_cells + 8) << (config.blocks + self.depth)
        px = range(-far, far)
        first = px[bisect.bisect_left(px, 1, key=lambda p: cells(p).stop)]
        stop = px[bisect.bisect_left(px, 1, key=lambda p: cells(p).start)]
        return Span(first, stop)

    def affected(self, window_cell: Window) -> Window:
        """The px that the local latents of a window of cells, or styles at its nodes, can change.

        Latents change no bit beyond. Styles change the rounding of their whole blocks, which the
        blended networks paint then in place of the plain ones.
        """
        near = 0 if self.generator.structure_margin_cells else 1
        stride_px = self.generator.stride << self.depth

        def reached(span: Span) -> Span:
            first, last = span.start - near, span.stop - 1 + near
            return Span(
                self.reach_px.start + first * stride_px, self.reach_px.stop + last * stride_px
            )

        return Window.of(reached(window_cell.y_span), reached(window_cell.x_span))

    @cached_property
    def piece_px(self) -> tuple[int, int]:
        """Height and width of what a stage paints alone: the smallest that wastes little enough.

        One cell, or a few together; one cell, too, where no piece is large enough for that.
        """
        cell_px, block_px = self.render.cell_px, self.render.block_px
        sizes = [(down * cell_px, across * cell_px) for down, across in _PIECES_CELLS]
        most_macs = MOST_WASTE * self.ideal_macs_per_px * block_px**2
        fitting = (
            size for size in sizes if max(size) <= block_px and self._macs_by(size) <= most_macs
        )
        return next(fitting, sizes[0])

    def tiles(self, window: Window) -> Iterator[Window]:
        """A window of one level cut into the pieces that a stage paints alone."""
        return pieces(window, *self.piece_px)

    def structure_macs(self, latent_window: Window) -> float:
        """Multiply-accumulates of the structure synthesizer run on a window of z_l."""
        config = self.generator
        extra = COORDINATE_CHANNELS if config.coordinates else 0
        taps = (2 * config.structure_radius + 1) ** 2
        dims = [config.local_dim] + [config.structure_dim] * config.structure_layers
        outputs = windows_given(self.structure, latent_window)[1:]
        return sum(
            taps * (before + extra) * after * _area(output)
            for (before, after), output in zip(pairwise(dims), outputs, strict=True)
        )

    def stage_macs(self, level: int, given: Window) -> float:
        """Multiply-accumulates of the dense convolutions of one stage run on its input window.

        An upsampling convolution has 9 products for each pixel of its input.
        """
        lattices = windows_given(self.stage(level), given)
        return self._step_macs(lattices) if level else self._texture_macs(lattices)

    def _texture_macs(self, lattices: list[Window]) -> float:
        dims = (self.generator.structure_dim, *self.generator.texture_dims)
        total = 0.0
        for b, (before, after) in enumerate(pairwise(dims)):
            given, _, painted = lattices[2 * b : 2 * b + 3]
            total += 9 * before * after * _area(given)
            total += (9 * after * after + 3 * after) * _area(painted)
        return total

    def _step_macs(self, lattices: list[Window]) -> float:
        config = self.detail
        assert config is not None
        low, painted = lattices[: config.low_layers + 1], lattices[config.low_layers + 2]
        dims = [GIVEN_CHANNELS] + [config.low_dim] * config.low_layers
        total = sum(
            9 * before * after * _area(output)
            for (before, after), output in zip(pairwise(dims), low[1:], strict=True)
        )
        total += 9 * config.low_dim * config.up_dim * _area(low[-1])
        return total + (9 * config.up_dim * config.high_dim + 3 * config.high_dim) * _area(painted)

    @cached_property
    def block_macs(self) -> float:
        """What a block costs as it is rendered: each stage over its window, piece by piece."""
        return self._macs_by(self.piece_px)

    def _macs_by(self, piece_px: tuple[int, int]) -> float:
        windows = self.level_windows(0, 0)
        total = self.structure_macs(self.latent_window(windows[0]))
        for level, window in enumerate(windows[1:]):
            for tile in pieces(window, *piece_px):
                given = window_needed(self.stage(level), tile)
                total += self.stage_macs(level, given) + self._repeated_macs(level, given)
        return total

    def _repeated_macs(self, level: int, given: Window) -> float:
        """What the strips of a step's high resolution compute more than once."""
        if level == 0:
            return 0.0
        config = self.detail
        assert config is not None
        low = windows_given(self.step, given)[config.low_layers]
        rows: int = sum(read.stop - read.start for read, _ in strips(low.height)) - low.height
        return 9.0 * config.low_dim * config.up_dim * rows * low.width

    @cached_property
    def ideal_macs_per_px(self) -> float:
        """What a pixel costs in one tile without borders: the limit of growing windows."""
        side = 1 << 20  # of the input: the margins of such a tile do not show
        endless = Window(0, 0, side, side)
        base = self.structure_macs(endless) + self.stage_macs(0, endless)
        total = base / _area(endless) / (self.generator.stride << self.depth) ** 2
        for level in range(1, self.depth + 1):
            per_px = self.stage_macs(level, endless) / (4 * _area(endless))
            total += per_px / (1 << 2 * (self.depth - level))
        return total

    @cached_property
    def water_macs_per_px(self) -> float:
        """What water adds to a pixel, at most: in a block that a lake crosses from side to side."""
        config = self.generator
        if config.shore is None:
            return 0.0
        rows = wet_rows(shore=config.shore, foot=config.cut, span_cells=config.span_cells)
        wet_px = Span(config.stride * rows.start, config.stride * rows.stop)
        size = self.render.block_px
        first, last = (px * 2**self.depth // size for px in wet_px)
        return max(self._water_macs(y, wet_px) for y in range(first, last + 1)) / size**2

    def _water_macs(self, block_y: int, wet_px: Span) -> float:
        """What a row of blocks costs more where all of base rows `wet_px` is lake."""
        painted_px = self.level_windows(block_y, 0)[1]
        lake_px = painted_px._replace(y=wet_px.start, height=wet_px.size).meet(painted_px)
        if not lake_px.height:
            return 0.0
        of_water = window_needed(self.texture, lake_px)
        total = self.structure_macs(self.latent_window(of_water))
        total += map_macs(self.generator.structure_dim) * _area(of_water)
        for part in (tile.meet(lake_px) for tile in self.tiles(painted_px)):
            if part.height:
                total += self.stage_macs(0, window_needed(self.texture, part))
        return total

    @property
    def waste(self) -> float:
        """Arithmetic of a block over the same pixels of one huge tile, 1.0 or a little more."""
        block_px2 = float(self.render.block_px**2)
        return self.block_macs / (self.ideal_macs_per_px * block_px2)


def _area(window: Window) -> int:
    return window.height * window.width
