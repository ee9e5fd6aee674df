"""Far shores: frames are laid together at the shore, and an edge is what is learnt."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from small_models import SMALL, random_model

from infinite_render.nn.generator import build_generator
from infinite_render.training.lessons import frames_recipe
from infinite_render.training.painting import paint
from infinite_render.training.shores import (
    away_from_edge,
    draw_shores,
    far_row_px,
    synthesizers,
    teach_shores,
)
from infinite_render.training.waters import FLOOD, SHORE, with_lakes

CONFIG = replace(SMALL, shore=SHORE)

LAND, WATER = torch.full((1, 3, 60, 40), 0.5), torch.full((1, 3, 60, 40), -0.5)


def edge(row_px: float, width_px: float) -> torch.Tensor:
    """Land that goes over to water in `width_px` about a row."""
    below = (torch.arange(60.0) - row_px)[:, None] / width_px
    return torch.lerp(LAND, WATER, (below + 0.5).clamp(0, 1))


def test_an_edge_is_near_and_haze_is_away_and_so_is_an_edge_elsewhere() -> None:
    sharp, soft, lower = (
        away_from_edge(frame, LAND, WATER, torch.tensor([30.0])).item()
        for frame in (edge(30, 1), edge(30, 12), edge(33, 1))
    )
    assert sharp == 0
    assert soft > 0.05
    assert lower > 0.05


def test_a_texture_along_the_shore_counts_less_than_haze() -> None:
    grain = torch.rand(1, 1, 60, 40, generator=torch.Generator().manual_seed(1)) - 0.5
    frames = edge(30, 1) + 0.2 * grain, edge(30, 12)
    grained, soft = (
        away_from_edge(frame, LAND, WATER, torch.tensor([30.0])).item() for frame in frames
    )
    assert grained < soft / 2


def test_half_of_the_frames_have_far_shores_of_their_own() -> None:
    recipe = frames_recipe(with_lakes(random_model()), seed=0)
    latent = draw_shores(recipe, 0).z_local[:, -1]
    assert (latent[0::2] == FLOOD).all()
    narrower = latent[1::2, 0, 0]
    assert (latent[1::2] == narrower[:, None, None]).all()
    assert narrower.min() > 0.59
    assert narrower.max() < 1.41
    assert narrower.std() > 0.1


@pytest.mark.parametrize("shore", [SHORE, 0.2])
def test_the_far_shore_is_at_the_row_that_frames_are_laid_together_at(shore: float) -> None:
    recipe = frames_recipe(random_model(replace(SMALL, shore=shore)), seed=0)
    config = recipe.generator
    lakes = build_generator(config).structure.lakes
    assert lakes is not None
    c = draw_shores(recipe, 0).c
    for latent in (0.6, FLOOD):
        like = torch.full_like(c[:, :1], latent)
        from_far = lakes.inner(lakes.from_far(like, c))[0, 0, :, 0].double().numpy()
        row = np.interp(0, from_far, np.arange(len(from_far)))
        far_px = far_row_px(config, lakes, torch.tensor(latent)).item()
        # The px painted from a cell alone lie about 8 cell + 0.5, the first one painted is 14.
        assert abs(far_px - (8 * row + 0.5 - 14)) < 0.05


def test_only_shores_change_and_they_learn() -> None:
    model = with_lakes(random_model())
    before = {name: each.clone() for name, each in model.generator.state_dict().items()}
    away = list(teach_shores(model, 40, seed=0, dtype=torch.float32))
    for name, tensor in model.generator.state_dict().items():
        assert tensor.equal(before[name]) != name.startswith("structure.lakes.shore"), name
    taught = next(teach_shores(model, 1, seed=0, dtype=torch.float32))
    assert taught < 0.97 * away[0]  # of the same frames
    again = teach_shores(with_lakes(random_model()), 40, seed=0, dtype=torch.float32)
    assert list(islice(again, 3)) == away[:3]


def test_a_lesson_paints_what_a_patch_is_painted_as() -> None:
    model = random_model(CONFIG)
    recipe = frames_recipe(model, seed=0)
    scene = draw_shores(recipe, 0)
    lakes = model.generator.structure.lakes
    assert lakes is not None
    structure, texture = synthesizers(model.generator, lakes, scene, torch.float32)
    z_local, c = scene.z_local, scene.c
    land, water = structure.land(z_local, c), structure.water(z_local, c)
    with torch.no_grad():
        weights = structure.weights(z_local, c)
        rgb = texture(structure.mixed(land, water, weights, z_local, c))
        expected = paint(model.generator, scene, torch.float32, torch.channels_last).rgb
    torch.testing.assert_close(rgb, expected, atol=1e-4, rtol=1e-4)
