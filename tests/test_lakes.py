"""Lakes: where water lies, that land does not notice, and that every way to paint agrees on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import SMALL, random_generator, random_model
from torch import Tensor

from infinite_render.config import GeneratorConfig, RenderConfig
from infinite_render.describe import describe_model
from infinite_render.errors import RecipeError
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.styles import Points, Style, StyledPoint
from infinite_render.geometry import Window
from infinite_render.models import Model
from infinite_render.nn.coordinates import vertical, window_grid
from infinite_render.nn.lakes import NEAREST, Lakes
from infinite_render.rendering.compiled import compile_structure
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene

CONFIG = replace(SMALL, shore=0.4)


def lakes_of(model: Model) -> Lakes:
    lakes = model.generator.structure.lakes
    assert lakes is not None
    return lakes


def lake_model(config: GeneratorConfig = CONFIG) -> Model:
    """A random model about half of whose places below the far shore are wet."""
    model = random_model(config)
    lakes = lakes_of(model)
    lakes.direction.copy_(torch.tensor([0.5, -0.5, 0.5, 0.5]))
    lakes.law.copy_(torch.tensor([3.0, -0.4]))
    return model


def inputs(config: GeneratorConfig) -> tuple[Tensor, Tensor, Tensor]:
    m = config.structure_margin_cells
    window = Window(-m, 5 - m, 40 + 2 * m, 30 + 2 * m)
    z_global = SeededLatents(3).z_global(config.global_dim)
    z_local = SeededLatents(3).z_local(window, config.local_dim)
    c = window_grid(
        window, cut=config.cut, span_cells=config.span_cells, period_cells=config.period_cells
    )
    return torch.from_numpy(z_global), torch.from_numpy(z_local)[None], c


def test_water_lies_below_the_far_shore_and_land_is_as_it_was() -> None:
    model = lake_model()
    lakes, structure = lakes_of(model), model.generator.structure
    z_global, z_local, c = inputs(CONFIG)
    share = lakes.share(z_local, c)
    v = CONFIG.cut * (2 * torch.arange(40) / CONFIG.span_cells - 1)
    assert (share[0, 0, v < 0.2] == 0).all()
    below = share[0, 0, v > 1]
    assert 0.2 < below.mean() < 0.8
    assert below.min() == 0
    assert below.max() == 1
    z_structure = structure(z_global[None], z_local, c)
    land = structure.of_land(z_global[None], z_local, c)
    dry = (share == 0).expand_as(land)
    assert z_structure[dry].equal(land[dry])
    assert not torch.isclose(z_structure[~dry], land[~dry]).all()


def test_wetter_places_have_their_near_shore_deeper() -> None:
    lakes = lakes_of(lake_model())
    _, z_local, c = inputs(CONFIG)
    depth, wetness = lakes.depth(c)[0, 0], lakes.wetness(z_local)[0, 0]
    under = lakes.share(z_local, c)[0, 0] == 1
    assert under.any()
    assert (wetness[under] > NEAREST * depth[under]).all()


def test_coordinates_are_mirrored_about_the_far_shore() -> None:
    lakes = lakes_of(lake_model())
    rows = torch.arange(-3.0, 20.0)[None]
    tanh_v = vertical(rows, cut=CONFIG.cut, span_cells=CONFIG.span_cells)
    v = CONFIG.cut * (2 * rows / CONFIG.span_cells - 1)
    c = torch.stack([tanh_v, rows, rows], dim=1)[..., None]
    mirrored = lakes.mirrored(c)
    torch.testing.assert_close(mirrored[0, 0, :, 0], torch.tanh(0.8 - v)[0], atol=1e-4, rtol=0)
    assert mirrored[:, 1:].equal(c[:, 1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_lakes_are_those_of_the_plain_network(dtype: torch.dtype) -> None:
    structure = lake_model().generator.structure
    z_global, z_local, c = inputs(CONFIG)
    compiled = compile_structure(structure, z_global, dtype)
    got = compiled(z_local.to(dtype), c.to(dtype)).float()
    expected = structure(z_global[None], z_local, c)
    apart = (got - expected).abs().mean() / expected.std()
    assert apart < (1e-5 if dtype == torch.float32 else 0.03)


def test_every_window_paints_the_same_lakes() -> None:
    model = lake_model()
    whole = Scene(model, seed=5).render(0, 0, 256, 384)
    dry = Scene(random_model(SMALL), seed=5).render(0, 0, 256, 384)
    assert (whole != dry).any(axis=2).mean() > 0.05  # there are lakes
    part = Scene(model, seed=5).render(70, 101, 90, 140, workers=2)
    np.testing.assert_array_equal(part, whole[70:160, 101:241])


def test_lakes_lie_where_styles_meet_as_well() -> None:
    model = lake_model()
    styles = Points((StyledPoint(3, 4, Style(1)), StyledPoint(9.5, 30, Style(2))), 20.0)
    whole = Scene(model, seed=5, styles=styles).render(60, 0, 160, 384)
    part = Scene(model, seed=5, styles=styles).render(90, 120, 100, 130)
    np.testing.assert_array_equal(part, whole[30:130, 120:250])


def test_lakes_are_counted() -> None:
    window = Window(0, 0, 20, 20)
    wet, dry = (BlockPlan(c, RenderConfig(64, 128)).structure_macs(window) for c in (CONFIG, SMALL))
    dim = SMALL.structure_dim
    assert wet == 2 * dry + 16 * 16 * (dim + 2) * dim


def test_lakes_need_a_shore_in_the_plane_and_coordinates() -> None:
    for wrong in ({"shore": 3.0}, {"structure_layers": 0}, {"coordinates": False}):
        with pytest.raises(RecipeError, match="shore"):
            replace(SMALL, **{"shore": 0.4, **wrong})  # type: ignore[arg-type]


def test_a_description_tells_where_the_far_shore_lies() -> None:
    wet, dry = (dict(describe_model(model)[1]) for model in (lake_model(), random_model(SMALL)))
    row_px = 8 * 17 * (0.4 / 3 + 1) / 2
    assert wet["lakes"] == f"their far shore lies about row {row_px:.0f} px"
    assert "lakes" not in dry


def test_a_model_without_lakes_is_as_before() -> None:
    assert random_generator(SMALL).structure.lakes is None
    assert not any("lakes" in name for name in random_generator(SMALL).state_dict())
