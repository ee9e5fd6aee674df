"""Lessons: a generator learns from its own frames, mended of what floats in their skies.

    scene -> frame -> mended -> the same scene, painted by the structure synthesizer that learns

What was mended is to be painted as it is now, and all else as it was (knowledge distillation:
Hinton et al., 2015). The texture synthesizer stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from infinite_render.fields.local import LAKES_DRY
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.nn.floors import Floors
from infinite_render.nn.generator import Generator
from infinite_render.pixels import Pixels, to_uint8
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.painting import Scene, draw_scene, paint
from infinite_render.training.recipes import TrainRecipe, load_recipe
from infinite_render.training.skies import Mask, mended

BATCH = 32
RATE = 0.001
MENDED_WEIGHT = 600.0  # of a mended pixel; another's is 1
BLURRED_WEIGHT = 3.0  # of what differs seen from afar: clouds stay where they were


class Frame(NamedTuple):
    """Row `row` of the batch drawn after `images`: what to paint [h,w,3], what was mended [h,w]."""

    images: int
    row: int
    rgb: Pixels
    mended: Mask


def frames_recipe(model: Model, seed: int) -> TrainRecipe:
    """Whole frames of the model's band: a fifth partly outside it, 0.85 of them truncated."""
    recipe, config = load_recipe("default-whole"), model.recipe.generator
    whole = dataclasses.replace(config, patch_cells=config.span_cells, start_rows=1)
    return dataclasses.replace(
        recipe,
        seed=seed,
        generator=whole,
        data=dataclasses.replace(recipe.data, image_px=whole.patch_px, outside=0.2),
        truncated=0.85,
        truncation=model.recipe.render.truncation,
    )


def draw_inside(recipe: TrainRecipe, images: int, batch: int, drift_floors: Floors | None) -> Scene:
    """The whole frames drawn after `images`, none of them outside the band, and no water in them.

    `drift_floors` as of `draw_scene`.
    Coordinates are those of whole rows, as on every canvas; z_l keeps the jitter of the draw.
    """
    config = recipe.generator
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, outside=0.0))
    draws = Draws(recipe.seed, images, GENERATOR, rows=range(batch), batch=batch)
    scene = draw_scene(recipe, draws, paired=False, drift_floors=drift_floors)
    rows = torch.arange(scene.c.shape[2]) - config.structure_margin_cells
    tanh_v = coordinates.vertical(rows.double(), cut=config.cut, span_cells=config.span_cells)
    scene.c[:, 0] = tanh_v[:, None].float()
    scene.z_local[:, config.local_dim :] = LAKES_DRY
    return scene


def scene_of(
    recipe: TrainRecipe, images: int, rows: Sequence[int], drift_floors: Floors | None
) -> Scene:
    """Rows of the batch drawn after `images` frames, which is drawn whole for any of them.

    `drift_floors` as of `draw_scene`.
    """
    draws = Draws(recipe.seed, images, GENERATOR, rows=rows, batch=BATCH)
    return draw_scene(recipe, draws, paired=False, drift_floors=drift_floors)


def joined(scenes: Sequence[Scene]) -> Scene:
    """Several scenes as one."""
    parts: dict[str, Any] = {}
    for name in (field.name for field in dataclasses.fields(Scene)):
        values = [getattr(scene, name) for scene in scenes]
        if isinstance(values[0], list):
            parts[name] = [torch.cat(each) for each in zip(*values, strict=True)]
        else:
            parts[name] = torch.cat(values) if isinstance(values[0], Tensor) else values[0]
    return Scene(**parts)


def painted_frames(model: Model, recipe: TrainRecipe, images: int) -> list[Frame]:
    """A batch of the model's frames, mended where they are truncated and inside the band."""
    scene = scene_of(recipe, images, range(BATCH), model.generator.drift_floors)
    with torch.inference_mode():
        rgb = paint(model.generator, scene, torch.float32, torch.channels_last).rgb
    inside = (scene.position + 1).abs() <= 0.6 * recipe.label_per_row  # whole frames begin at -1
    as_generated = inside & ((scene.psi[:, 0] < 1) | (scene.truncation == 1))
    frames = []
    for row, picture in enumerate(map(to_uint8, rgb)):
        unchanged = picture, np.zeros(picture.shape[:2], np.bool_)
        frames.append(Frame(images, row, *(mended(picture) if as_generated[row] else unchanged)))
    return frames


def lesson(
    module: nn.Module, steps: int, most: float, loss_of: Callable[[int], Tensor]
) -> Iterator[float]:
    """Let a module alone learn, in place; yields the loss of each step.

    The rate rises to `most`, and falls to 0.
    """
    warm = max(1, min(20, steps // 5))
    adam = Adam(module.requires_grad_(True).parameters(), lr=most, betas=(0.9, 0.99))
    rate = LambdaLR(adam, lambda n: min(1.0, (n + 1) / warm) * (1 + np.cos(np.pi * n / steps)) / 2)
    for step in range(steps):
        loss = loss_of(step)
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        rate.step()
        yield loss.item()


def teach(
    generator: Generator,
    recipe: TrainRecipe,
    frames: Sequence[Frame],
    steps: int,
    dtype: torch.dtype,
) -> Iterator[float]:
    """Let the generator's structure synthesizer learn frames, in place; yields each step's loss.

    Half of a batch were mended, if any were.
    """
    draw = np.random.default_rng(recipe.seed)
    groups = [[f for f in frames if f.mended.any()], [f for f in frames if not f.mended.any()]]
    generator.requires_grad_(False)
    floors = generator.drift_floors

    def loss_of(_step: int) -> Tensor:
        chosen = [g[i] for g in groups if g for i in draw.integers(0, len(g), BATCH // 2)]
        scene = joined([scene_of(recipe, f.images, [f.row], floors) for f in chosen])
        target = torch.from_numpy(np.stack([f.rgb for f in chosen])).permute(0, 3, 1, 2) / 127.5 - 1
        gone = torch.from_numpy(np.stack([f.mended for f in chosen]))[:, None].float()
        rgb = paint(generator, scene, dtype, torch.channels_last).rgb
        away = rgb.clamp(-1.05, 1.05) - target
        blurred = F.avg_pool2d(away * (1 - gone), 9, 4).abs().mean()
        weight = 1 + (MENDED_WEIGHT - 1) * gone
        return (weight * away.abs()).mean() + BLURRED_WEIGHT * blurred

    yield from lesson(generator.structure.layers, steps, RATE, loss_of)  # lakes stay as they are
