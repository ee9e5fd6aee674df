"""The plane in float32 against one run of the plain network over the whole window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import SMALL, random_model

from infinite_render.config import GeneratorConfig
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.local import LocalLaw
from infinite_render.fields.relief import relief_in
from infinite_render.fields.styles import OneStyle, Style
from infinite_render.geometry import (
    Window,
    structure_stage,
    texture_stage,
    window_needed,
    windows_given,
)
from infinite_render.models import Model, load_model
from infinite_render.nn.coordinates import window_grid
from infinite_render.nn.surface import WAVE
from infinite_render.pixels import to_uint8
from infinite_render.rendering.scene import Picture, Scene


def plainly(model: Model, window: Window, seed: int) -> Picture:
    """The window by one run of the network of `nn`, over all of it and the length of a ripple."""
    config, latents = model.recipe.generator, SeededLatents(seed)
    texture = texture_stage(config.blocks)
    structure = structure_stage(config.structure_layers, config.structure_radius)
    ripple_px = 0 if config.shore is None else WAVE << (config.blocks - 1)
    longer = window._replace(x=window.x - ripple_px, width=window.width + 2 * ripple_px)
    cells = window_needed(texture, longer)
    latent_cells = window_needed(structure, cells)
    c = window_grid(
        latent_cells,
        cut=config.cut,
        span_cells=config.patch_cells + config.start_rows - 1,
        period_cells=config.period_cells,
    )
    lattices = windows_given(texture, cells)
    noise = [
        torch.from_numpy(latents.texture_noise(i, lattice))[None, None]
        for i, lattice in enumerate(lattices[1:])
    ]
    z_local = latents.z_local(latent_cells, config.latent_dim, LocalLaw.of(config))
    with torch.no_grad():
        rgb, _ = model.generator(
            torch.from_numpy(latents.z_global(config.global_dim))[None],
            torch.from_numpy(z_local)[None],
            c,
            noise=noise,
            relief=torch.from_numpy(relief_in(latent_cells, latents.relief, model.recipe)),
        )
    rows, columns = window.within(lattices[-1])
    return to_uint8(rgb[0][:, rows, columns])


def assert_hardly_apart(got: Picture, expected: Picture) -> None:
    apart = np.abs(got.astype(int) - expected.astype(int))
    assert apart.max() <= 1
    assert (apart.max(axis=2) > 0).mean() <= 1e-4


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, texture_dims=(6, 4), structure_radius=3, structure_layers=1),
        replace(SMALL, texture_dims=(7,), coordinates=False),
        replace(SMALL, structure_layers=0, structure_dim=4),
        replace(SMALL, texture_dims=(8, 8, 6, 6, 4), structure_radius=0),
    ],
)
@pytest.mark.parametrize(("y", "x"), [(-77, 33), (10**12 + 5, -(10**12) - 5)])
def test_the_plane_is_that_of_the_plain_network(config: GeneratorConfig, y: int, x: int) -> None:
    """At most one grey level apart, in at most one pixel of 10,000."""
    painter = random_model(config)
    window = Window(y, x, 230, 250)
    got = Scene(painter, seed=9, precision="float32").render(*window, workers=2)
    assert_hardly_apart(got, plainly(painter, window, 9))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_plane_of_the_default_model_is_that_of_its_plain_network(seed: int) -> None:
    painter = load_model("landscape")
    window = Window(-60, 300 - 10**9 * seed, 400, 700)
    one = OneStyle(Style(seed))
    scene = Scene(painter, seed=seed, styles=one, precision="float32", truncation=1.0)
    expected = plainly(painter, window, seed)
    assert_hardly_apart(scene.render(*window, depth=0, workers=2), expected)
