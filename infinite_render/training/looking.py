"""Frames of a model's own, painted to be measured: truncated, of one style each, without water."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from infinite_render.models import Model
from infinite_render.training.lessons import draw_inside, frames_recipe
from infinite_render.training.painting import Painted, Scene, paint

BATCH = 12


def look_at(
    model: Model, frames: int, seed: int, dtype: torch.dtype, *, apart: bool = False
) -> Iterator[tuple[Scene, Painted]]:
    """What batches of frames are painted from, and the frames; the last batch, too, is whole.

    `apart`: a frame's style is of `z_second`, its layout of `z_global`, so that what the one does
    is not taken for what the other does.
    """
    recipe = frames_recipe(model, seed)
    one_style = dataclasses.replace(recipe.loss, style_mixing=0.0)
    recipe = dataclasses.replace(recipe, truncated=1.0, loss=one_style)
    for done in range(0, frames, BATCH):
        scene = draw_inside(recipe, done, BATCH, model.generator.drift_floors)
        if apart:
            scene = dataclasses.replace(scene, crossover=torch.zeros_like(scene.crossover))
        with torch.inference_mode():
            painted = paint(model.generator, scene, dtype, torch.channels_last)
        yield scene, painted
