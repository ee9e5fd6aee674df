"""A model's far shores: the texture synthesizer is to paint an edge between land and water.

    scene -> land and water, painted each alone -> laid together px by px at the shore -> learnt

Features of land and of water mixed within a cell make a haze of some 16 px; an edge needs others,
which `Lakes.between` adds. They are learnt from frames of the model's own; all else stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.config import GeneratorConfig
from infinite_render.models import Model
from infinite_render.nn.generator import Generator
from infinite_render.nn.lakes import Lakes, Watered
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.lessons import frames_recipe, lesson
from infinite_render.training.painting import Scene, styles_of
from infinite_render.training.recipes import TrainRecipe
from infinite_render.training.waters import BATCH, draw_wet, shore_row_px

RATE = 0.001
LATENTS = 0.6, 1.4  # of every second frame, whose far shores lie as deep or deeper
SEEN_PX = 15  # above and below the shore
ALONG_PX = 15  # of means along the shore
TONE_PX, TONE_WEIGHT = 5, 0.5  # of means over squares
PIXEL_WEIGHT = 0.1


def draw_shores(recipe: TrainRecipe, images: int) -> Scene:
    """Wet frames as `draw_wet` draws them, every second one a lake of a width of its own.

    Widths come of the numbers that the scene's draw began with, too; those went to other frames.
    """
    scene = draw_wet(recipe, images)
    least, most = LATENTS
    part = Draws(recipe.seed, images, GENERATOR, rows=range(BATCH), batch=BATCH).uniform(1, 1, 1)
    scene.z_local[1::2, -1:] = (least + (most - least) * part)[1::2]
    return scene


def teach_shores(model: Model, steps: int, seed: int, dtype: torch.dtype) -> Iterator[float]:
    """Let a model whose water has learnt learn its far shores, in place; yields each loss."""
    recipe = frames_recipe(model, seed)
    generator = model.generator.requires_grad_(False)
    lakes = generator.structure.lakes
    assert lakes is not None

    def loss_of(step: int) -> Tensor:
        scene = draw_shores(recipe, step * BATCH)
        structure, texture = synthesizers(generator, lakes, scene, dtype)
        inputs = scene.z_local, scene.c
        with torch.no_grad():
            land, water = structure.land(*inputs), structure.water(*inputs)
            rgb_of_land, rgb_of_water = texture(land), texture(water)
        rgb = texture(structure.mixed(land, water, structure.weights(*inputs), *inputs))
        far_px = far_row_px(recipe.generator, lakes, scene.z_local[:, -1, 0, 0])
        return away_from_edge(rgb, rgb_of_land, rgb_of_water, far_px)

    learning = nn.ModuleList([lakes.shore_in, lakes.shore_out])
    yield from lesson(learning, steps, RATE, loss_of)


def far_row_px(config: GeneratorConfig, lakes: Lakes, latent: Tensor) -> Tensor:
    """The row of a frame at which the far shore lies, of the latent's shape."""
    return shore_row_px(config) + config.stride / lakes.cell_depth * lakes.far(latent)


def synthesizers(
    generator: Generator, lakes: Lakes, scene: Scene, dtype: torch.dtype
) -> tuple[Watered, Callable[[Tensor], Tensor]]:
    """(z_l, c) -> z_s and z_s -> RGB with the styles and noise of a scene."""
    w, z_global = styles_of(generator, scene), scene.psi * scene.z_global

    def layers(z_local: Tensor, c: Tensor) -> Tensor:
        return generator.structure.of_land(z_global, z_local.to(dtype), c.to(dtype))

    def texture(z_structure: Tensor) -> Tensor:
        laid_out = z_structure.to(memory_format=torch.channels_last)
        rgb: Tensor = generator.texture(laid_out, w, scene.noise)
        return rgb

    return Watered(layers, lakes), texture


def away_from_edge(rgb: Tensor, land: Tensor, water: Tensor, far_px: Tensor) -> Tensor:
    """How far frames [N,3,h,w] are from land above row `far_px` [N] and water below it.

    A texture may differ from px to px, but neither its mean along the shore nor its tones.
    """
    below = torch.arange(rgb.shape[2])[:, None] - far_px[:, None, None, None]
    wanted = torch.lerp(land, water, (below + 0.5).clamp(0, 1))
    seen = (below.abs() <= SEEN_PX).float()
    away = (rgb - wanted) * seen
    means = (
        F.avg_pool2d(away, (1, ALONG_PX), 1).abs().mean()
        + TONE_WEIGHT * F.avg_pool2d(away, TONE_PX, 1).abs().mean()
        + PIXEL_WEIGHT * away.abs().mean()
    )
    return means / seen.mean()
