"""Sample sheets: patches and wide strips of the averaged generator, from latents that stay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyvips
import torch
from torch import Tensor

from infinite_render.fields.local import LocalLaw, local_latents
from infinite_render.files import replace_file
from infinite_render.geometry import Window
from infinite_render.nn import coordinates
from infinite_render.nn.generator import Generator
from infinite_render.nn.truncation import Truncation
from infinite_render.pixels import to_uint8
from infinite_render.training.draws import SHEET, Draws
from infinite_render.training.painting import draw_scene, noise_sizes, paint
from infinite_render.training.recipes import TrainRecipe

SHEET_SEED = 7
PATCH_AREA_PX = 1_500_000  # of all patches of a sheet, about
STRIPS = 6
STRIP_PATCHES = 8  # length of a strip, in patches
GAP_PX = 4


def to_image(rgb: Tensor) -> pyvips.Image:
    """rgb [3,H,W] in [-1, 1] -> an 8-bit image."""
    return pyvips.Image.new_from_array(to_uint8(rgb))


@torch.no_grad()
def patches(generator: Generator, recipe: TrainRecipe, device: torch.device) -> Iterator[Tensor]:
    """Patches as in training, float32 [3,P,P] each."""
    count = PATCH_AREA_PX // recipe.generator.patch_px**2
    for index in range(min(48, max(6, count))):
        numbers = Draws(SHEET_SEED, index, SHEET, rows=[0], batch=1, device=device)
        scene = draw_scene(recipe, numbers, paired=False, drift_floors=generator.drift_floors)
        yield paint(generator, scene, torch.float32, torch.contiguous_format).rgb[0]


@torch.no_grad()
def strips(generator: Generator, recipe: TrainRecipe, device: torch.device) -> Iterator[Tensor]:
    """Strips as high as the trained band and several patches wide, float32 [3,H,W] each.

    They are truncated as the model that is written will paint.
    """
    config, psi = recipe.generator, recipe.model_truncation
    truncation = Truncation(generator, psi)
    law = LocalLaw.of(config, psi, generator.drift_floors)
    margin = config.structure_margin_cells
    height = config.span_cells
    width = STRIP_PATCHES * config.patch_cells
    window_cell = Window(-margin, -margin, height + 2 * margin, width + 2 * margin)
    c = coordinates.window_grid(
        window_cell, cut=config.cut, span_cells=height, period_cells=config.period_cells
    ).to(device)
    sides = zip(noise_sizes(config, height), noise_sizes(config, width), strict=True)
    sizes = list(sides)
    for index in range(STRIPS):
        numbers = Draws(SHEET_SEED, 1000 + index, SHEET, rows=[0], batch=1, device=device)
        z_global, w = truncation.latents(numbers.normal(config.global_dim))
        drawn = local_latents(index, window_cell, config.latent_dim, law)
        noise = [numbers.normal(1, y, x) for y, x in sizes]
        z_local = torch.from_numpy(drawn)[None].to(device)
        yield generator(z_global, z_local, c, w=w, noise=noise)[0][0]


def write_sheets(
    generator: Generator, recipe: TrainRecipe, device: torch.device, folder: Path, images: int
) -> list[Path]:
    """Write `patches-IMAGES.png` and `strips-IMAGES.png` into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    squares = [to_image(rgb) for rgb in patches(generator, recipe, device)]
    across = math.ceil(math.sqrt(len(squares) * 2))
    bands = [to_image(rgb) for rgb in strips(generator, recipe, device)]
    sheets = {
        "patches": pyvips.Image.arrayjoin(squares, across=across, shim=GAP_PX),
        "strips": pyvips.Image.arrayjoin(bands, across=1, shim=GAP_PX),
    }
    paths = []
    for name, sheet in sheets.items():
        path = folder / f"{name}-{images:09d}.png"
        content = bytes(sheet.write_to_buffer(".png"))
        replace_file(path, partial(Path.write_bytes, data=content))
        paths.append(path)
    return paths
