"""The latents of a photograph while they are found: what is learnt, how it is painted.

Spaces: base px; cells; the own lattice of each texture layer's noise.
Shapes: z_global [D]; w [styles,D]; z_local [L,h,w]; noise [h,w] a layer; RGB [3,h,w].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.fields.local import LAKES_DRY
from infinite_render.geometry import (
    Window,
    structure_stage,
    texture_stage,
    window_needed,
    windows_given,
)
from infinite_render.nn import coordinates
from infinite_render.nn.generator import Generator


@dataclass
class Latents:
    """All that is learnt. w is that of z_global plus `w_offset`."""

    z_global: Tensor
    w_offset: Tensor
    z_local: Tensor
    noise: list[Tensor]

    def tensors(self) -> list[Tensor]:
        return [self.z_global, self.w_offset, self.z_local, *self.noise]

    def copy(self) -> Latents:
        """Detached and apart from what is learnt on."""
        return Latents.from_tensors([t.detach().clone() for t in self.tensors()])

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> Latents:
        """From what `tensors` gave."""
        z_global, w_offset, z_local, *noise = tensors
        return cls(z_global, w_offset, z_local, noise)


@dataclass(frozen=True)
class Windows:
    """What a window of base px reads: cells of latents and points of each layer's noise."""

    cells: Window  # of structure
    latents: Window  # of z_local: `cells` and the margin of the structure synthesizer
    noise: tuple[Window, ...]
    painted: Window  # base px that the cells paint; holds the window asked for


def windows_of(config: GeneratorConfig, window_px: Window) -> Windows:
    """What a window of base px reads."""
    stage = texture_stage(config.blocks)
    cells = window_needed(stage, window_px)
    latents = window_needed(
        structure_stage(config.structure_layers, config.structure_radius), cells
    )
    lattices = windows_given(stage, cells)
    return Windows(cells, latents, tuple(lattices[1:]), lattices[-1])


def random_latents(config: GeneratorConfig, windows: Windows, numbers: torch.Generator) -> Latents:
    """Fresh ones, all N(0,1); no offset of w."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=numbers)

    return Latents(
        normal(config.global_dim),
        torch.zeros(config.styles, config.global_dim),
        normal(config.local_dim, *windows.latents[2:]),
        [normal(*window[2:]) for window in windows.noise],
    )


@dataclass(frozen=True)
class Painter:
    """Paints parts of the photograph's window, with gradients.

    whole        what the photograph's window reads; the latents given lie there
    shift_cell   (y, x) added to cells before their coordinates
    dtype        of the convolutions; the RGB is float32
    """

    generator: Generator
    config: GeneratorConfig
    whole: Windows
    shift_cell: tuple[float, float]
    dtype: torch.dtype

    def style(self, latents: Latents) -> Tensor:
        """w of every layer, [styles,D]."""
        return self.generator.style(latents.z_global[None])[0] + latents.w_offset

    def z_local(self, latents: Latents) -> Tensor:
        """z_l [L,h,w] with the channel of lakes, if there are any: none lies there."""
        lakes = self.config.latent_dim - self.config.local_dim
        return F.pad(latents.z_local, (0, 0, 0, 0, 0, lakes), value=LAKES_DRY)

    def paint(self, latents: Latents, part: Window) -> Tensor:
        """A window of base px within the whole -> RGB float32 [3,h,w], about [-1, 1]."""
        read = windows_of(self.config, part)
        rows, columns = read.latents.within(self.whole.latents)
        z_local = self._features(self.z_local(latents)[None, :, rows, columns])
        c = self._features(self.grid(read.latents))
        noise = []
        for values, window, whole in zip(latents.noise, read.noise, self.whole.noise, strict=True):
            rows, columns = window.within(whole)
            noise.append(values[None, None, rows, columns])
        w = self.style(latents)[None]
        rgb: Tensor = self.generator(latents.z_global[None], z_local, c, w=w, noise=noise)[0][0]
        rows, columns = part.within(read.painted)
        return rgb[:, rows, columns]

    def grid(self, window_cell: Window) -> Tensor:
        """Coordinates c [1,3,h,w] of shifted cells."""
        config = self.config
        return coordinates.window_grid(
            window_cell,
            cut=config.cut,
            span_cells=config.span_cells,
            period_cells=config.period_cells,
            shift_cell=self.shift_cell,
        )

    def _features(self, x: Tensor) -> Tensor:
        return x.to(self.dtype, memory_format=torch.channels_last)
