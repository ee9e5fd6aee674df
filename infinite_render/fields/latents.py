"""Latents as fields: what the generator reads at every place of the plane, from a seed.

Everything that changes the picture is such a field, a pure function of position, so that a renderer
need not know where its latents come from.

Spaces: z_l on the cell lattice; the noise of a layer on that layer's own lattice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from infinite_render.fields.drifting_styles import StyleLaw, styles_of
from infinite_render.fields.local import ALONE, LocalLaw, local_latents
from infinite_render.fields.relief import relief_of
from infinite_render.fields.styles import Style, StyleField
from infinite_render.geometry import Window
from infinite_render.noise import (
    NOISE_VERSION,
    Array,
    detail_stream,
    normal,
    texture_stream,
)


class LatentField(Protocol):
    """What a renderer asks of the latents.

    All values are float32, about N(0, 1), but for what truncation and floors make of z_l.
    `law` says how local latents are drawn; those that an inversion found are not drawn, and stay.
    """

    def z_global(self, dim: int) -> Array:
        """The global latent, [dim]."""

    def own_styles(self, law: StyleLaw) -> StyleField | None:
        """The styles that the global latent takes by a law; None: it stays as it is."""

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        """Local latents over a window of cells, [dim,h,w]."""

    def relief(self, window_cell: Window, wrap_cells: int | None = None) -> Array:
        """How high the land is over a window of cells, [h,w]; `wrap_cells` of a cylinder."""

    def texture_noise(self, layer: int, window: Window) -> Array:
        """Noise of texture convolution `layer` over a window of its own lattice, [h,w]."""

    def detail_noise(self, step: int, window: Window) -> Array:
        """Noise of step `step` of the detail ladder, on px of depth `step`, [h,w]."""

    def describe(self) -> dict[str, Any]:
        """Plain values that tell this field from every other; part of a picture's identity."""


@dataclass(frozen=True)
class SeededLatents:
    """The infinite Gaussian field of one seed. `seed` counts modulo 2^64."""

    seed: int

    def z_global(self, dim: int) -> Array:
        return Style(self.seed).z_global(dim)

    def own_styles(self, law: StyleLaw) -> StyleField | None:
        return styles_of(self.seed, law) if law.drift else None

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        return local_latents(self.seed, window_cell, dim, law)

    def relief(self, window_cell: Window, wrap_cells: int | None = None) -> Array:
        return relief_of(self.seed, window_cell, wrap_cells)

    def texture_noise(self, layer: int, window: Window) -> Array:
        noise: Array = normal(self.seed, texture_stream(layer), *window)[0]
        return noise

    def detail_noise(self, step: int, window: Window) -> Array:
        only_layer = 0  # a step's noise enters with the picture; it has streams for eight layers
        noise: Array = normal(self.seed, detail_stream(step, only_layer), *window)[0]
        return noise

    def describe(self) -> dict[str, Any]:
        return {"seed": self.seed % 2**64, "noise_version": NOISE_VERSION}


def points_of(layer: int) -> int:
    """Points of the noise lattice of a texture layer to a cell: two layers a block, each doubles.

    >>> [points_of(layer) for layer in range(6)]
    [2, 2, 4, 4, 8, 8]
    """
    return 2 << layer // 2
