"""Lessons: a generator comes to paint what was mended, and nothing but its structure changes."""

from __future__ import annotations

import numpy as np
import torch
from small_models import random_model

from infinite_render.pixels import Pixels
from infinite_render.training.lessons import BATCH, frames_recipe, painted_frames, teach
from infinite_render.training.waters import with_lakes


def test_frames_are_the_whole_band_drawn_by_seed() -> None:
    model = random_model()
    frames = painted_frames(model, frames_recipe(model, seed=0), 0)
    band_first, band_stop = model.recipe.generator.band_px
    assert {frame.rgb.shape for frame in frames} == {(band_stop - band_first,) * 2 + (3,)}
    assert [frame.row for frame in frames] == list(range(BATCH))
    again, other = (painted_frames(model, frames_recipe(model, seed), 0)[0] for seed in (0, 1))
    np.testing.assert_array_equal(again.rgb, frames[0].rgb)
    assert (other.rgb != frames[0].rgb).any()


def test_what_was_mended_is_learnt() -> None:
    model = random_model()
    recipe = frames_recipe(model, seed=0)
    first = painted_frames(model, recipe, 0)[0]
    middle = np.zeros_like(first.mended)
    middle[20:30, 20:30] = True
    wanted = np.where(middle[..., None], first.rgb // 2 + 60, first.rgb)
    texture = {name: each.clone() for name, each in model.generator.texture.state_dict().items()}
    lesson = [first._replace(rgb=wanted, mended=middle)]
    losses = list(teach(model.generator, recipe, lesson, 30, torch.float32))
    assert len(losses) == 30

    def away(rgb: Pixels) -> float:
        return float(abs(rgb[middle].astype(float) - wanted[middle]).mean())

    assert away(painted_frames(model, recipe, 0)[0].rgb) < 0.9 * away(first.rgb)
    for name, tensor in model.generator.texture.state_dict().items():
        assert tensor.equal(texture[name]), name


def test_lakes_stay_where_they_lie() -> None:
    wet = with_lakes(random_model())
    lakes = wet.generator.structure.lakes
    assert lakes is not None
    before = {name: each.clone() for name, each in lakes.state_dict().items()}
    recipe = frames_recipe(wet, seed=0)
    list(teach(wet.generator, recipe, painted_frames(wet, recipe, 0), 3, torch.float32))
    for name, tensor in lakes.state_dict().items():
        assert tensor.equal(before[name]), name
