"""What one block of the plane needs: the window of every lattice, and the arithmetic it costs.

Spaces: px of the canvas's depth, px of each coarser depth, cells. A block is aligned to multiples
of its size on the plane, and its size is a multiple of `stride << depth`; so all blocks have the
same windows, shifted, and every tensor of one block has the shape it has in all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from infinite_render.config import GeneratorConfig, RenderConfig
from infinite_render.geometry import (
    Stage,
    Window,
    pieces,
    structure_stage,
    texture_stage,
    window_needed,
    windows_given,
)

PLANE_LIMIT_PX = 2**40  # |y| and |x| of any pixel that can be asked for, at any depth
COORDINATE_CHANNELS = 3


@dataclass(frozen=True)
class BlockPlan:
    """Windows and costs of the block at (block_y, block_x) = (0, 0); others are this one,
    shifted."""

    generator: GeneratorConfig
    render: RenderConfig

    @property
    def block(self) -> Window:
        return Window(0, 0, self.render.block_px, self.render.block_px)

    @cached_property
    def texture(self) -> Stage:
        return texture_stage(self.generator.blocks)

    @cached_property
    def structure(self) -> Stage:
        return structure_stage(self.generator.structure_layers, self.generator.structure_radius)

    def structure_window(self, block_y: int, block_x: int) -> Window:
        """The window of z_s, in cells, that a block's texture reads."""
        cells = self.render.block_px // self.generator.stride
        origin = window_needed(self.texture, self.block)
        return origin._replace(y=origin.y + block_y * cells, x=origin.x + block_x * cells)

    def latent_window(self, structure_window: Window) -> Window:
        """The window of z_l and c, in cells, that a window of z_s reads."""
        return window_needed(self.structure, structure_window)

    def cells(self, block_y: int, block_x: int) -> Iterator[Window]:
        """The cells of a block, px, row by row."""
        size = self.render.block_px
        yield from pieces(Window(block_y * size, block_x * size, size, size), self.render.cell_px)

    def texture_macs(self, z_structure_window: Window) -> float:
        """Multiply-accumulates of the dense texture convolutions run on a window of z_s."""
        lattices = windows_given(self.texture, z_structure_window)
        dims = (self.generator.structure_dim, *self.generator.texture_dims)
        total = 0.0
        for b, (before, after) in enumerate(pairwise(dims)):
            given, up, conv = lattices[2 * b : 2 * b + 3]
            total += 9 * before * after * _area(given)
            total += 9 * after * after * _area(conv) + 3 * after * _area(conv)
            assert up.height == 2 * given.height - 3
        return total

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

    @property
    def block_macs(self) -> float:
        """What a block costs as it is rendered: one structure, and its cells one by one."""
        latent = self.latent_window(self.structure_window(0, 0))
        cells = (window_needed(self.texture, cell) for cell in self.cells(0, 0))
        return self.structure_macs(latent) + sum(self.texture_macs(cell) for cell in cells)

    @property
    def ideal_macs_per_px(self) -> float:
        """What a pixel costs in one tile without borders: the limit of growing windows."""
        config, side = self.generator, 2**20  # cells; the margins of such a tile do not show
        window = Window(0, 0, side, side)
        macs = self.texture_macs(window) + self.structure_macs(window)
        return macs / (side * config.stride) ** 2

    @property
    def waste(self) -> float:
        """Arithmetic of a block over the same pixels of one huge tile, 1.0 or a little more."""
        return self.block_macs / (self.ideal_macs_per_px * _area(self.block))


def _area(window: Window) -> int:
    return window.height * window.width
