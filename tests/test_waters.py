"""First lakes: frames are flooded by the rule, and water comes to look like it; land stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import random_model

from infinite_render.errors import ModelError
from infinite_render.training import waters
from infinite_render.training.lessons import frames_recipe
from infinite_render.training.waters import (
    SHORE,
    draw_wet,
    flooded,
    shore_row_px,
    teach_water,
    with_lakes,
)


def frame() -> torch.Tensor:
    """Blue sky, a dark hill of 20 rows in the middle of the width, bright ground, [1,3,100,60]."""
    rgb = torch.empty(1, 3, 100, 60)
    rgb[:] = torch.tensor([0.4, 0.6, 0.9])[:, None, None]
    rgb[:, :, 40:60, 20:40] = 0.1
    rgb[:, :, 60:] = torch.tensor([0.8, 0.7, 0.6])[:, None, None]
    return rgb


def test_water_mirrors_the_hill_and_then_the_sky() -> None:
    rgb = frame()
    wet = flooded(rgb, 60.0)[0]
    assert wet[:, :60].equal(rgb[0, :, :60])
    grey = wet.mean(dim=0)
    hill = grey[60:66, 22:38]  # a third as high as the hill
    assert (hill < 0.25).all()
    assert (grey[60:66, :18] > hill.max() + 0.1).all()
    assert (grey[68:, 22:38] > hill.max() + 0.1).all()  # the sky's farther down
    assert (wet[2, 62:] > wet[0, 62:]).all()
    assert grey[60:].max() < grey[:40].min()  # darker than the sky


def test_shores_are_where_the_coordinate_says() -> None:
    recipe = frames_recipe(with_lakes(random_model()), seed=0)
    margin = recipe.generator.structure_margin_cells
    v = torch.atanh(draw_wet(recipe, 0).c[0, 0, :, 0].double()).numpy()
    cell = np.interp(SHORE, v, np.arange(len(v))) - margin
    # The px painted from a cell alone lie about 8 cell + 0.5, the first one painted is 14.
    assert abs(shore_row_px(recipe.generator) - (8 * cell + 0.5 - 14)) < 0.05


def test_all_below_the_shore_is_wet_in_what_is_learnt_from() -> None:
    model = with_lakes(random_model())
    scene = draw_wet(frames_recipe(model, seed=0), 0)
    lakes = model.generator.structure.lakes
    assert lakes is not None
    share = lakes.share(scene.z_local[:, -1:], scene.c)
    below = lakes.depth(scene.c) > 0.15
    assert below.any()
    assert (share[below] == 1).all()


def test_lakes_are_given_once() -> None:
    with pytest.raises(ModelError, match="lakes already"):
        with_lakes(with_lakes(random_model()))


def test_only_water_changes_and_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waters, "RATE", 0.03)
    dry = random_model()
    wet = with_lakes(dry)
    lakes = wet.generator.structure.lakes
    assert lakes is not None
    lakes.water.weight.data.mul_(3)  # nothing like what it mirrors
    before = {name: each.clone() for name, each in wet.generator.state_dict().items()}
    differences = list(teach_water(dry, wet, 60, seed=0, dtype=torch.float32))
    assert np.mean(differences[-8:]) < 0.9 * np.mean(differences[:4])
    for name, tensor in wet.generator.state_dict().items():
        assert tensor.equal(before[name]) != name.startswith("structure.lakes.water"), name
    for name, tensor in dry.generator.state_dict().items():
        assert tensor.equal(wet.generator.state_dict()[name]), name
