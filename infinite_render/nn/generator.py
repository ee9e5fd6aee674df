"""The generator G = texture(structure(z_l, c; z_g); w), and its one builder.

With lakes (`nn.lakes`) there are two of these pictures, of land and of water, laid together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.config import FLOORS, GeneratorConfig
from infinite_render.geometry import Window, texture_stage, windows_given
from infinite_render.nn.coordinates import lifted
from infinite_render.nn.floors import Floors
from infinite_render.nn.structure import StructureSynthesizer
from infinite_render.nn.surface import Surface, laid_over, surface_of
from infinite_render.nn.texture import TextureSynthesizer


class Generator(nn.Module):
    """Structure and texture synthesizers; parts are built outside and handed in.

    Floors are no part of the network: `nn.truncation` keeps styles up to `floors`, coarse ones then
    up to `coarse_floors`, and layouts, the structure's z_g, up to `layout_floors`; what drifts of
    z_l is drawn up to `drift_floors` (`fields.local`).
    """

    def __init__(
        self,
        structure: StructureSynthesizer,
        texture: TextureSynthesizer,
        floors: Floors | None = None,
        coarse_floors: Floors | None = None,
        layout_floors: Floors | None = None,
        drift_floors: Floors | None = None,
    ) -> None:
        super().__init__()
        self.structure = structure
        self.texture = texture
        self.floors = floors
        self.coarse_floors = coarse_floors
        self.layout_floors = layout_floors
        self.drift_floors = drift_floors

    @property
    def styles(self) -> int:
        """Entries of w a picture reads."""
        return 2 * len(self.texture.blocks) + 1

    def style(self, z_global: Tensor) -> Tensor:
        """z_g [N,D] -> the same w for every layer, [N,styles,D]."""
        w: Tensor = self.texture.mapping(z_global)
        return w[:, None].expand(-1, self.styles, -1)

    def mixed_style(self, z_first: Tensor, z_second: Tensor, crossover: Tensor) -> Tensor:
        """Styles of `z_first` before entry `crossover` [N] and of `z_second` from it on."""
        entry = torch.arange(self.styles, device=z_first.device)
        first = entry[None, :, None] < crossover[:, None, None]  # [N,styles,1]
        return torch.where(first, self.style(z_first), self.style(z_second))

    def forward(
        self,
        z_global: Tensor,
        z_local: Tensor,
        c: Tensor,
        *,
        w: Tensor | None = None,
        noise: Sequence[Tensor] | None = None,
        relief: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Paint a patch.

        z_global [N,D]; z_local [N,L,h+2m,w+2m], with lakes L + 1; c [N,3,h+2m,w+2m]; w
        [N,styles,D], by default the mapped z_global; noise one [N,1,H_i,W_i] per texture
        convolution, by default drawn; relief [N,1,h+2m,w+2m], what v of the land is raised by, by
        default nothing.
        Returns RGB [N,3,H,W] float32, about [-1, 1], and z_s [N,S,h,w], of land.
        """
        w = self.style(z_global) if w is None else w
        lakes = self.structure.lakes
        if lakes is None:
            c = c if relief is None else lifted(c, relief)
            z_structure = self.structure(z_global, z_local, c)
            return self.texture(z_structure, w, noise), z_structure
        relief = torch.zeros_like(c[:, :1]) if relief is None else relief
        of_land, latent = z_local[:, :-1], z_local[:, -1:]
        z_structure = self.structure(z_global, of_land, lakes.risen(latent, c, relief))
        noise = self._drawn_noise(z_structure) if noise is None else noise
        rgb = self.texture(z_structure, w, noise)
        surface = self._surface(lakes.inner(lakes.inside(latent, c)), noise)
        if surface.share.any():
            of_water = self.structure.of_water(z_global, of_land, c, relief)
            water = self.texture(of_water, w, noise)
            rgb = laid_over(rgb, water, surface)
        return rgb, z_structure

    def _lattices(self, height: int, width: int) -> list[Window]:
        """Windows of what each texture convolution paints from cells 0 .. height - 1 and so on."""
        stage = texture_stage(len(self.texture.blocks))
        return windows_given(stage, Window(0, 0, height, width))[1:]

    def _drawn_noise(self, z_structure: Tensor) -> list[Tensor]:
        lattices = self._lattices(*z_structure.shape[2:])
        return [
            torch.randn(len(z_structure), 1, *window[2:], device=z_structure.device)
            for window in lattices
        ]

    def _surface(self, inside: Tensor, noise: Sequence[Tensor]) -> Surface:
        """Of the patch; at its edges ripples lack the noise that lies beyond them."""
        lattices = self._lattices(*inside.shape[2:])

        def noise_of(layer: int, window: Window) -> Tensor:
            known, (y, x) = noise[layer], window[:2]
            left, top = (lattices[layer].x - x, lattices[layer].y - y)
            right = window.width - left - known.shape[3]
            return F.pad(known, (left, right, top, window.height - top - known.shape[2]))

        window_cell, blocks = Window(0, 0, *inside.shape[2:]), len(self.texture.blocks)
        return surface_of(inside, window_cell, noise_of, blocks, lattices[-1])


def build_generator(config: GeneratorConfig) -> Generator:
    """A freshly initialised generator of the sizes in `config`."""
    structure = StructureSynthesizer(
        config.local_dim,
        config.structure_dim,
        config.global_dim,
        layers=config.structure_layers,
        radius=config.structure_radius,
        coordinates=config.coordinates,
        shore=config.shore,
        foot=config.cut,
        span_cells=config.span_cells,
    )
    texture = TextureSynthesizer(
        config.structure_dim,
        config.texture_dims,
        config.global_dim,
        config.mapping_layers,
        padding=config.padding,
    )
    floors = {
        key: Floors(len(names), getattr(config, size))
        for key, size in FLOORS.items()
        if (names := getattr(config, key))
    }
    return Generator(structure, texture, **floors)
