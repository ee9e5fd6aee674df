"""First lakes: frames are flooded by the rule, and water comes to look like it; land stays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_models import random_model
from wet_models import LEVEL

from infinite_render.errors import ModelError
from infinite_render.fields.local import LAKES_DRY
from infinite_render.nn import coordinates
from infinite_render.nn.lakes import COMPRESSION
from infinite_render.training import waters
from infinite_render.training.lessons import draw_inside, frames_recipe
from infinite_render.training.painting import paint
from infinite_render.training.waters import (
    BATCH,
    SHORE,
    flooded,
    paint_water,
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
    rows = int(20 / COMPRESSION)  # lower than the hill
    hill = grey[60 : 60 + rows, 22:38]
    assert (hill < 0.25).all()
    assert (grey[60 : 60 + rows, :18] > hill.max() + 0.1).all()
    assert (grey[62 + rows :, 22:38] > hill.max() + 0.1).all()  # the sky's farther down
    assert (wet[2, 62:] > wet[0, 62:]).all()
    assert grey[60:].max() < grey[:40].min()  # darker than the sky


def test_shores_are_where_the_coordinate_says() -> None:
    recipe = frames_recipe(with_lakes(random_model()), seed=0)
    margin = recipe.generator.structure_margin_cells
    v = torch.atanh(draw_inside(recipe, 0, BATCH, None).c[0, 0, :, 0].double()).numpy()
    cell = np.interp(SHORE, v, np.arange(len(v))) - margin
    # The px painted from a cell alone lie about 8 cell + 0.5, the first one painted is 14.
    assert abs(shore_row_px(recipe.generator) - (8 * cell + 0.5 - 14)) < 0.05


def test_frames_to_learn_from_lie_in_the_band_and_have_no_lake() -> None:
    recipe = frames_recipe(with_lakes(random_model()), seed=0)
    scene = draw_inside(recipe, 0, BATCH, None)
    assert scene.z_local.shape[1] == recipe.generator.latent_dim
    assert (scene.z_local[:, -1] == LAKES_DRY).all()
    rows = torch.arange(scene.c.shape[2]) - recipe.generator.structure_margin_cells
    sizes = {"cut": recipe.generator.cut, "span_cells": recipe.generator.span_cells}
    whole = coordinates.vertical(rows.double(), **sizes)
    torch.testing.assert_close(scene.c[:, 0, :, 0].double(), whole.expand(len(scene.c), -1))


def test_water_is_painted_from_what_lies_above_the_shore() -> None:
    model = with_lakes(random_model())  # its water is what it mirrors
    scene = draw_inside(frames_recipe(model, seed=0), 0, BATCH, None)
    lakes = model.generator.structure.lakes
    assert lakes is not None
    flipped = dataclasses.replace(
        scene, c=lakes.mirrored(scene.c, LEVEL), z_local=scene.z_local[:, :-1]
    )
    expected = paint(random_model().generator, flipped, torch.float32, torch.channels_last).rgb
    torch.testing.assert_close(paint_water(model.generator, scene, torch.float32), expected)


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
