"""The generator G = texture(structure(z_l, c; z_g); w), and its one builder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from infinite_render.config import GeneratorConfig
from infinite_render.nn.structure import StructureSynthesizer
from infinite_render.nn.texture import TextureSynthesizer


class Generator(nn.Module):
    """Structure and texture synthesizers; parts are built outside and handed in."""

    def __init__(self, structure: StructureSynthesizer, texture: TextureSynthesizer) -> None:
        super().__init__()
        self.structure = structure
        self.texture = texture

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
    ) -> tuple[Tensor, Tensor]:
        """Paint a patch.

        z_global [N,D]; z_local [N,L,h+2m,w+2m]; c [N,3,h+2m,w+2m]; w [N,styles,D], by default the
        mapped z_global; noise one [N,1,H_i,W_i] per texture convolution, by default drawn.
        Returns RGB [N,3,H,W] float32, about [-1, 1], and z_s [N,S,h,w].
        """
        z_structure = self.structure(z_global, z_local, c)
        w = self.style(z_global) if w is None else w
        return self.texture(z_structure, w, noise), z_structure


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
    return Generator(structure, texture)
