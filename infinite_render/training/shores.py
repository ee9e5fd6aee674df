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

from infinite_render.models import Model
from infinite_render.nn.generator import Generator
from infinite_render.nn.lakes import Lakes, Watered
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.lessons import frames_recipe, learner
from infinite_render.training.painting import Scene, styles
from infinite_render.training.recipes import TrainRecipe
from infinite_render.training.waters import BATCH, draw_wet, shore_row_px

RATE = 0.001
LATENTS = 0.6, 1.4  # of every second frame, whose far shores lie deeper; the others are flooded
SEEN_PX = 15  # above and below the shore
ALONG_PX, TONE_PX, SHARP = 15, 5, 0.1  # means along the shore, over squares, and weight of pixels


def draw_shores(recipe: TrainRecipe, images: int) -> Scene:
    """Wet frames as `draw_wet` draws them, half of them with far shores as wide lakes have."""
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
    learning = nn.ModuleList([lakes.shore_in, lakes.shore_out])
    adam, rate = learner(learning, steps, RATE)
    px_per_depth = recipe.generator.stride / lakes.cell
    for step in range(steps):
        scene = draw_shores(recipe, step * BATCH)
        structure, texture = synthesizers(generator, lakes, scene, dtype)
        with torch.no_grad():
            land = texture(structure.land(scene.z_local, scene.c))
            water = texture(structure.water(scene.z_local, scene.c))
        rgb = texture(structure(scene.z_local, scene.c))
        far = lakes.far(scene.z_local[:, -1, 0, 0])
        far_px = shore_row_px(recipe.generator) + px_per_depth * far
        loss = away_from_edge(rgb, land, water, far_px)
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        rate.step()
        yield loss.item()


def synthesizers(
    generator: Generator, lakes: Lakes, scene: Scene, dtype: torch.dtype
) -> tuple[Watered, Callable[[Tensor], Tensor]]:
    """(z_l, c) -> z_s and z_s -> RGB with the styles and noise of a scene."""
    w, z_global = styles(generator, scene), scene.psi * scene.z_global

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
        + F.avg_pool2d(away, TONE_PX, 1).abs().mean() / 2
        + SHARP * away.abs().mean()
    )
    return means / seen.mean()
