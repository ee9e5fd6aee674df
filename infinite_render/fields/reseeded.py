"""Local edits: the local latents of some boxes of cells, drawn again from other seeds.

Spaces: z_l on the cell lattice. Nothing else of the field changes, so what a box can change of the
picture is what its latents reach (`rendering.edits`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from infinite_render.errors import RecipeError
from infinite_render.fields.drifting_styles import StyleLaw
from infinite_render.fields.latents import LatentField
from infinite_render.fields.local import ALONE, LocalLaw, local_latents
from infinite_render.fields.styles import StyleField
from infinite_render.geometry import Window, cover, turns
from infinite_render.noise import Array


class Reseed(NamedTuple):
    """A box of cells whose local latents are those of the plane of `seed`."""

    window_cell: Window
    seed: int


@dataclass(frozen=True)
class ReseededLatents:
    """`inner` with the boxes drawn again; where boxes overlap, the later one holds."""

    inner: LatentField
    reseeds: tuple[Reseed, ...]

    def z_global(self, dim: int) -> Array:
        return self.inner.z_global(dim)

    def own_styles(self, law: StyleLaw) -> StyleField | None:
        return self.inner.own_styles(law)

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        z_local = self.inner.z_local(window_cell, dim, law)
        for box, seed in self.reseeds:
            shared = box.meet(window_cell)
            if shared.height and shared.width:
                rows, columns = shared.within(window_cell)
                land = dim - law.lakes  # a lake goes through a box, for its shores are level
                drawn = local_latents(seed, shared, land, replace(law, lakes=False))
                z_local[:land, rows, columns] = drawn
        return z_local

    def relief(self, window_cell: Window, wrap_cells: int | None = None) -> Array:
        return self.inner.relief(window_cell, wrap_cells)

    def texture_noise(self, layer: int, window: Window) -> Array:
        return self.inner.texture_noise(layer, window)

    def detail_noise(self, step: int, window: Window) -> Array:
        return self.inner.detail_noise(step, window)

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "reseeds": reseeds_to_plain(self.reseeds)}


def reseed_box(
    window_px: Window, seed: int, cell_px: int, wrap_cells: int | None = None
) -> list[Reseed]:
    """All cells of `cell_px` that meet a box of the plane; on a cylinder, cut at its seam.

    >>> reseed_box(Window(0, 100, 8, 100), 5, 64)
    [Reseed(window_cell=Window(y=0, x=1, height=1, width=3), seed=5)]
    """
    rows, columns = cover(window_px.y_span, cell_px), cover(window_px.x_span, cell_px)
    width = len(columns) if wrap_cells is None else min(len(columns), wrap_cells)
    cells = Window(rows.start, columns.start, len(rows), width)
    parts = [(cells, slice(0))] if wrap_cells is None else turns(cells, wrap_cells)
    return [Reseed(part, seed) for part, _ in parts]


def reseeds_to_plain(reseeds: Sequence[Reseed]) -> list[list[int]]:
    """As JSON holds them: [y, x, height, width, seed] each, in cells."""
    return [[*box, seed % 2**64] for box, seed in reseeds]


def reseeds_from_plain(values: Any) -> tuple[Reseed, ...]:
    """`reseeds_to_plain` read back; RecipeError for anything else."""
    try:
        rows = [[int(number) for number in row] for row in values]
        return tuple(Reseed(Window(y, x, h, w), seed) for y, x, h, w, seed in rows)
    except (TypeError, ValueError):
        raise RecipeError(
            f"reseeds = {values!r} are not boxes of cells, [y, x, height, width, seed] each"
        ) from None
