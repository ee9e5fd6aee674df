"""What a generator paints for comparison: patches in batches, and frames of any scale.

Spaces, all (y, x):
    cell    one column of the local latents
    px      one pixel of the plane
    row     the cell row at which a patch starts: 0 .. rows - 1, as in training

A frame of scale s is the paper's picture of s times the training size along both axes: a square
of s * image_px, its middle on the middle of the vertical band that training showed. The plane is
fixed, so from s = 2 on it also holds what lies above and below that band. With `ladder`, of a model
that has one, it is the square that `generate` paints at that height: the band alone, at the default
depth.
Every sample has a seed of its own, and so its own z_g, z_l and noise, and its own column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from infinite_render.config import GeneratorConfig, RenderConfig
from infinite_render.errors import UsageError
from infinite_render.evaluation.photographs import View
from infinite_render.evaluation.protocols import Pictures
from infinite_render.fields.drifting_styles import StyleLaw, styles_of
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.local import LocalLaw
from infinite_render.fields.relief import relief_in
from infinite_render.fields.styles import AnyStyle
from infinite_render.geometry import (
    Window,
    first_px_of_cell,
    texture_stage,
    windows_given,
)
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.nn.truncation import Truncation
from infinite_render.pixels import to_uint8
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.rendering.plan import default_depth
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.style_latents import latents_of
from infinite_render.rendering.workers import choose_device

ANY_ROWS = 7  # vertical positions compared where the generator knows none
CELL_PX = 512  # about: what a frame's cells are cut to


class Painter(Protocol):
    """A generator as evaluation sees it."""

    @property
    def view(self) -> View:
        """What training showed."""

    @property
    def columns(self) -> int:
        """Cells after which the horizontal coordinate repeats: where columns are drawn from."""

    def patches(self, samples: Sequence[tuple[int, int, int]]) -> Pictures:
        """Patches of (seed, row, column of cells): uint8 [N,P,P,3]."""

    def frame(self, seed: int, column: int, scale: int) -> Pictures:
        """The frame of one scene at `scale`, uint8 [1,S,S,3] with S = scale * image_px."""


def draw_samples(
    view: View, period_cells: int, count: int, seed: int
) -> list[tuple[int, int, int]]:
    """`count` samples (seed, row, column), a function of `seed` alone."""
    rng = np.random.default_rng([seed, count])
    seeds = rng.integers(0, 2**63, count)
    rows = rng.permutation(np.arange(count) % view.rows)  # every row as often, to one
    columns = rng.integers(0, period_cells, count)
    return list(zip(seeds.tolist(), rows.tolist(), columns.tolist(), strict=True))


def view_of_config(config: GeneratorConfig, image_px: int) -> View:
    """What training on photographs of `image_px` of height showed; UsageError below the patch."""
    if image_px < config.patch_px:
        raise UsageError(
            f"photographs of {image_px} px of height are lower than the patch "
            f"({config.patch_px} px); give --image-px {config.patch_px} or more"
        )
    return View(image_px, config.patch_px, config.start_rows if config.coordinates else ANY_ROWS)


def view_of(model: Model, image_px: int | None = None) -> View:
    """What training showed to a model.

    `image_px` is the photographs' height; None reads it from the model's recipe, and where that
    does not say, takes the height of the vertical band.
    """
    first_px, stop_px = model.recipe.generator.band_px
    stated = int(model.recipe.trained.get("image_px", stop_px - first_px))
    return view_of_config(model.recipe.generator, stated if image_px is None else image_px)


@dataclass(frozen=True)
class ModelPainter:
    """A model folder's generator: patches by the plain network, frames by the renderer.

    A model that pads its texture cannot be rendered; its frames are painted whole by the plain
    network, which takes memory with their area.
    """

    model: Model
    view: View
    precision: str = "auto"
    device: str = "cpu"
    truncation: float | None = None  # None: the model's own
    ladder: bool = False  # frames at the depth of a canvas of their height, not at depth 0

    @property
    def columns(self) -> int:
        return self.model.recipe.generator.period_cells

    @property
    def psi(self) -> float:
        """The truncation of everything that is painted."""
        return self.model.recipe.render.truncation if self.truncation is None else self.truncation

    @property
    def climbs(self) -> bool:
        """Whether frames are painted by the detail ladder."""
        return self.ladder and self.model.recipe.detail is not None

    @cached_property
    def dtype(self) -> torch.dtype:
        return DTYPES[choose_precision(self.precision, choose_device(self.device))]

    def patches(self, samples: Sequence[tuple[int, int, int]]) -> Pictures:
        cells = self.model.recipe.generator.patch_cells
        return self._paint(
            [(seed, Window(row, column, cells, cells)) for seed, row, column in samples]
        )

    def frame(self, seed: int, column: int, scale: int) -> Pictures:
        if self.model.recipe.generator.padding:
            return self._padded_frame(seed, column, scale)
        if self.climbs:
            return self._climbed_frame(seed, column, scale)
        y_px, side, render = self.frame_window(scale)
        recipe = replace(self.model.recipe, render=render)
        scene = self._scene(replace(self.model, recipe=recipe), seed)
        window = Window(y_px, column * render.block_px, side, side)
        return scene.paint(window)[None]

    def _climbed_frame(self, seed: int, column: int, scale: int) -> Pictures:
        recipe = self.model.recipe
        side = scale * self.view.image_px
        depth = default_depth(recipe.generator, recipe.render, recipe.detail, side)
        y_px = ((sum(recipe.generator.band_px) << depth) - side) // 2
        window = Window(y_px, column * recipe.render.block_px, side, side)
        return self._scene(self.model, seed).paint(window, depth)[None]

    def _scene(self, model: Model, seed: int) -> Scene:
        return Scene(
            model,
            seed=seed,
            precision=self.precision,
            device=self.device,
            truncation=self.psi,
        )

    def frame_window(self, scale: int) -> tuple[int, int, RenderConfig]:
        """First pixel row and side of a frame, and cells that fit it with little waste."""
        config = self.model.recipe.generator
        first_px, stop_px = config.band_px
        side = scale * self.view.image_px
        y_px = (first_px + stop_px - side) // 2
        reach_px = max(-y_px, y_px + side)  # from row 0, where blocks meet
        cells = -(-reach_px // CELL_PX)
        cell_px = -(-reach_px // (cells * config.stride)) * config.stride
        own = self.model.recipe.render
        return y_px, side, replace(own, cell_px=cell_px, block_px=cells * cell_px)

    def _padded_frame(self, seed: int, column: int, scale: int) -> Pictures:
        config = self.model.recipe.generator
        side = scale * self.view.image_px
        cells = -(-side // config.stride)
        row = (config.span_cells - cells) // 2
        painted = self._paint([(seed, Window(row, column, cells, cells))])
        skip = (painted.shape[1] - side) // 2
        return painted[:, skip : skip + side, skip : skip + side]

    @torch.inference_mode()
    def _paint(self, wanted: Sequence[tuple[int, Window]]) -> Pictures:
        """Each scene's pixels over its window of structure, all of one size, uint8 [N,H,W,3]."""
        config = self.model.recipe.generator
        truncation = Truncation(self.model.generator.to(self.device), self.psi)
        fields = [SeededLatents(seed) for seed, _ in wanted]
        windows = [window for _, window in wanted]
        law = LocalLaw.of(config, self.psi, self.model.generator.drift_floors)
        m = config.structure_margin_cells
        wider = [Window(w.y - m, w.x - m, w.height + 2 * m, w.width + 2 * m) for w in windows]
        z_local = self._stack(
            [
                field.z_local(w, config.latent_dim, law)
                for field, w in zip(fields, wider, strict=True)
            ]
        )
        grids = [
            coordinates.window_grid(
                w, cut=config.cut, span_cells=config.span_cells, period_cells=config.period_cells
            )
            for w in wider
        ]
        relief = [
            relief_in(w, field.relief, self.model.recipe)[0]
            for field, w in zip(fields, wider, strict=True)
        ]
        lattices = [self._noise_windows(window) for window in windows]
        noise = [
            self._stack(
                [f.texture_noise(i, w[i])[None] for f, w in zip(fields, lattices, strict=True)]
            )
            for i in range(2 * config.blocks)
        ]
        z_global, w = self._global_latents(truncation, fields, windows)
        rgb, _ = truncation.generator(
            z_global,
            z_local.to(dtype=self.dtype, memory_format=torch.channels_last),
            torch.cat(grids).to(self.device),
            w=w,
            noise=noise,
            relief=self._stack(relief),
        )
        return np.stack([to_uint8(picture) for picture in rgb])

    def _global_latents(
        self,
        truncation: Truncation,
        fields: Sequence[SeededLatents],
        windows: Sequence[Window],
    ) -> tuple[Tensor, Tensor]:
        """z_g [N,D] and w [N,styles,D] in each window's middle; on the plane they drift."""
        law = StyleLaw.of(self.model.recipe)
        styles: list[AnyStyle] = []
        shares = np.zeros((len(windows), 3 * len(windows)), np.float32)
        for n, (field, (y, x, height, width)) in enumerate(zip(fields, windows, strict=True)):
            blend = styles_of(field.seed, law).blend(Window(y + height // 2, x + width // 2, 1, 1))
            shares[n, len(styles) : len(styles) + len(blend.styles)] = blend.shares[:, 0, 0]
            styles += blend.styles
        z_global, w = latents_of(styles, truncation)
        share_of = torch.from_numpy(shares[:, : len(styles)]).to(z_global)
        return share_of @ z_global, torch.einsum("nk,ksd->nsd", share_of, w)

    def _noise_windows(self, structure: Window) -> list[Window]:
        """The window of each texture layer's lattice that a window of structure gives."""
        config = self.model.recipe.generator
        if not config.padding:
            return windows_given(texture_stage(config.blocks), structure)[1:]
        doubled = [
            Window(*(value << (block + 1) for value in structure)) for block in range(config.blocks)
        ]
        return [window for window in doubled for _ in range(2)]

    def _stack(self, arrays: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self.device)


def origin_px(model: Model, row: int, column: int) -> tuple[int, int]:
    """First pixel of the patch that starts at a cell, on the plane (y, x)."""
    blocks = model.recipe.generator.blocks
    return first_px_of_cell(row, blocks), first_px_of_cell(column, blocks)
