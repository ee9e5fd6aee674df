"""Far shores: frames are laid together at the shore, and an edge is what is learnt."""

from __future__ import annotations

import numpy as np
import torch
from small_models import random_model

from infinite_render.training.lessons import frames_recipe
from infinite_render.training.shores import away_from_edge, draw_shores, teach_shores
from infinite_render.training.waters import FLOOD, with_lakes

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


def test_only_shores_change_and_they_learn() -> None:
    model = with_lakes(random_model())
    before = {name: each.clone() for name, each in model.generator.state_dict().items()}
    away = list(teach_shores(model, 40, seed=0, dtype=torch.float32))
    assert np.mean(away[-8:]) < 0.97 * np.mean(away[:4])
    for name, tensor in model.generator.state_dict().items():
        assert tensor.equal(before[name]) != name.startswith("structure.lakes.shore"), name
    again = list(teach_shores(with_lakes(random_model()), 2, seed=0, dtype=torch.float32))
    assert again[0] == away[0]
