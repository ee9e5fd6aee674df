"""First lakes: frames are flooded by the rule, and water comes to look like it; land stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import SMALL, random_model

from infinite_render.errors import ModelError
from infinite_render.training import waters
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.lessons import frames_recipe
from infinite_render.training.painting import draw_scene
from infinite_render.training.waters import (
    SHORE,
    flooded,
    shore_rows_px,
    teach_water,
    with_lakes,
)


def frame() -> np.ndarray:
    """Blue sky, a dark hill of 20 rows in the middle of the width, bright ground."""
    rgb = np.zeros((100, 60, 3), np.uint8)
    rgb[:60] = 90, 140, 220
    rgb[40:60, 20:40] = 30, 40, 20
    rgb[60:] = 200, 180, 150
    return rgb


def test_water_mirrors_the_hill_and_then_the_sky() -> None:
    rgb = frame()
    wet = flooded(rgb, 60.0)
    np.testing.assert_allclose(wet[:60] * 255, rgb[:60], atol=1e-3)
    grey = wet.mean(axis=2)
    assert (grey[62:70, 27:33] < 0.4).all()  # the hill's mirror picture
    assert (grey[62:70, :8] > grey[62:70, 27:33].max()).all()
    assert (wet[90:, :, 2] > wet[90:, :, 0] + 0.1).all()  # the sky's farther down
    assert wet[60:].mean() < wet[:40].mean()  # darker than what it mirrors


def test_shores_are_where_the_coordinate_says() -> None:
    recipe = frames_recipe(random_model(), seed=0)
    scene = draw_scene(recipe, Draws(0, 0, GENERATOR, rows=range(6), batch=6), paired=False)
    config = recipe.generator
    margin = config.structure_margin_cells
    v = torch.atanh(scene.c[:, 0, :, 0].double()).numpy()
    for values, row_px in zip(v, shore_rows_px(recipe, scene), strict=True):
        cell = np.interp(SHORE, values, np.arange(len(values))) - margin
        # The px painted from a cell alone lie about 8 cell + 0.5, the first one painted is 14.
        assert abs(row_px - (8 * cell + 0.5 - 14)) < 0.05


def test_lakes_are_given_once_and_to_latents_that_drift() -> None:
    still = random_model(replace(SMALL, drift=0.0))
    for wrong in (with_lakes(random_model()), still):
        with pytest.raises(ModelError, match="lakes already or latents without drift"):
            with_lakes(wrong)


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
