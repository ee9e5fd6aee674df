"""Zooming never changes the scene: a window of any depth, shrunk, is that window at depth 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infinite_render.geometry import Halve, Window, window_needed, windows_given
from infinite_render.models import load_model
from infinite_render.nn.scale import halve
from infinite_render.rendering.scene import Scene

AT_DEPTH_0 = Window(40, 300, 48, 160)  # across the horizon


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(load_model("landscape"), seed=3)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_a_deeper_window_shrunk_is_the_window_of_depth_0(scene: Scene, depth: int) -> None:
    stage = (Halve(),) * depth
    fine = window_needed(stage, AT_DEPTH_0)
    picture = torch.from_numpy(scene.render(*fine, depth=depth, workers=2))
    shrunk = picture.permute(2, 0, 1)[None].float()
    for _ in range(depth):
        shrunk = halve(shrunk)
    cut = AT_DEPTH_0.within(windows_given(stage, fine)[-1])
    plain = scene.render(*AT_DEPTH_0).astype(np.float32)
    difference = np.abs(shrunk[0].permute(1, 2, 0).numpy()[cut] - plain)
    assert plain.std() > 15  # a picture, not a plain
    assert difference.mean() < 2
