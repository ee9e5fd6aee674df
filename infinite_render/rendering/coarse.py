"""What the lowest stages of a block hand up: features or RGB of a window, and the water over it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from infinite_render.geometry import Window
from infinite_render.nn.lakes import Lakes
from infinite_render.nn.surface import NoiseOf, Surface, surface_of


@dataclass(frozen=True)
class Shores:
    """The surface of water over a window of base px."""

    surface: Surface
    window_px: Window

    def part(self, window_px: Window) -> Surface:
        """What lies in a window within."""
        rows, columns = window_px.within(self.window_px)
        return Surface(*(values[:, :, rows, columns] for values in self.surface))


@dataclass(frozen=True)
class Water:
    """z_s of water [S,h,w] over a window of cells, as the texture reads it, and its shores."""

    z_structure: Tensor
    window_cell: Window
    shores: Shores


@dataclass(frozen=True)
class Coarse:
    """What a stage reads: z_s [S,h,w] for the texture, RGB [3,h,w] of the level below beyond.

    Water lies over z_s alone, where it lies at all.
    """

    values: Tensor
    window: Window
    water: Water | None = None


def shores_in(
    painted_px: Window,
    lakes: Lakes,
    latent: Tensor,
    c: Tensor,
    latent_window: Window,
    noise: NoiseOf,
    blocks: int,
) -> Shores | None:
    """The rows of `painted_px` in which water may lie, and its surface; None where none lies.

    latent [1,1,h,w] of lakes and c [1,3,h,w] over a window of z_l, in cells. Rows follow from the
    coordinates alone: what a piece of picture is painted from has its shape wherever lakes lie.
    """
    stride = 1 << blocks
    rows = lakes.rows(c)
    window_px = painted_px._replace(
        y=stride * (latent_window.y + rows.start), height=stride * (rows.stop - rows.start)
    ).meet(painted_px)
    if not window_px.height:
        return None
    read = slice(max(0, rows.start - 1), rows.stop + 1)  # px lie between rows of cells
    inside = lakes.inside(latent[:, :, read], c[:, :, read])
    window_cell = latent_window._replace(y=latent_window.y + read.start, height=inside.shape[2])
    surface = surface_of(inside, window_cell, noise, blocks, window_px)
    return Shores(surface, window_px) if surface.share.any() else None
