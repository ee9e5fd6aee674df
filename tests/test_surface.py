"""The surface of lakes: water over land, shores where their depth says, ripples."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from small_models import SMALL, random_generator, random_model
from torch import Tensor
from wet_models import CONFIG, LEVEL, inputs, lakes_of

from infinite_render.fields.latents import SeededLatents
from infinite_render.geometry import (
    Window,
    first_px_of_cell,
    texture_stage,
    window_needed,
    windows_given,
)
from infinite_render.models import Model
from infinite_render.nn import surface
from infinite_render.nn.coordinates import window_grid
from infinite_render.nn.lakes import Lakes
from infinite_render.nn.surface import FINE, RIPPLES, SHALLOWS_PX, Surface, laid_over, surface_of


def painted(model: Model, z_local: Tensor, c: Tensor) -> Tensor:
    """RGB [1,3,h,w] of the generator, by noise of its own."""
    z_global, _, _ = inputs(CONFIG)
    torch.manual_seed(4)
    rgb: Tensor = model.generator(z_global[None], z_local, c)[0]
    return rgb


def share_over(lakes: Lakes, z_local: Tensor, c: Tensor) -> Tensor:
    """Share of water [h,w] of the px painted there, of smooth shores."""
    inside = lakes.inner(lakes.inside(z_local[:, -1:], c))
    cells = Window(0, 0, *inside.shape[2:])
    painted_px = windows_given(texture_stage(CONFIG.blocks), cells)[-1]

    def flat(_layer: int, window: Window) -> Tensor:
        return torch.zeros(1, 1, *window[2:])

    return surface_of(inside, cells, flat, CONFIG.blocks, painted_px).share[0, 0]


def depth_of_px(lakes: Lakes, rows: int) -> Tensor:
    """How deep the middle of each px of what `inputs` paints lies."""
    first_px = first_px_of_cell(0, CONFIG.blocks)
    cell = (first_px + torch.arange(rows) - 0.5) / CONFIG.stride
    v = CONFIG.cut * (2 * cell / CONFIG.span_cells - 1)
    return (v - lakes.shore) / (lakes.foot - lakes.shore)


def test_water_lies_over_land_and_land_is_land_elsewhere() -> None:
    model = random_model(CONFIG)
    lakes = lakes_of(model)
    z_global, z_local, c = inputs(CONFIG)
    share = share_over(lakes, z_local, c)
    depth = depth_of_px(lakes, len(share))
    assert (share[depth < -0.15] == 0).all()
    below = share[(depth > 0.3) & (depth < 0.9)]
    assert 0.2 < below.mean() < 0.8
    assert below.min() == 0
    assert below.max() == 1
    rgb, dry = painted(model, z_local, c)[0], random_generator(SMALL)
    dry.load_state_dict(model.generator.state_dict(), strict=False)
    torch.manual_seed(4)
    lattices = windows_given(texture_stage(CONFIG.blocks), Window(0, 0, 40, 30))[1:]
    noise = [torch.randn(1, 1, *window[2:]) for window in lattices]
    land = dry(
        z_global[None], z_local[:, :-1], lakes.risen(z_local[:, -1:], c, LEVEL), noise=noise
    )[0][0]
    far_from_water = F.max_pool2d(share[None], 17, 1, 8)[0] == 0  # shores are rough
    assert far_from_water.any()
    assert rgb[:, far_from_water].equal(land[:, far_from_water])
    assert not torch.isclose(rgb[:, share == 1], land[:, share == 1]).all()
    water = model.generator.texture(
        model.generator.structure.of_water(z_global[None], z_local[:, :-1], c, LEVEL),
        model.generator.style(z_global[None]),
        noise,
    )[0]
    deep = F.max_pool2d(1 - share[None], 17, 1, 8)[0] == 0
    assert deep.any()
    lighter = ((rgb + 1) / (water + 1))[:, deep]
    torch.testing.assert_close(lighter[0], lighter[1], atol=1e-3, rtol=0)
    assert lighter.mean() == pytest.approx(1, abs=0.03)
    assert 0.3 * RIPPLES < lighter.std() < 1.2 * RIPPLES


def test_shores_lie_where_their_depth_says_and_the_near_one_has_shallows() -> None:
    lakes = lakes_of(random_model(CONFIG))
    _, z_local, c = inputs(CONFIG)
    z_local[:, -1] = 0.8
    share = share_over(lakes, z_local, c)[:, 0]
    depth = depth_of_px(lakes, len(share))
    per_px = lakes.cell_depth / CONFIG.stride
    at = torch.tensor(0.8)
    far, near = (depth - lakes.far(at)) / per_px, (lakes.near(at) - depth) / per_px
    expected = (far + 0.5).clamp(0, 1) * (near / SHALLOWS_PX + 0.5).clamp(0, 1)
    torch.testing.assert_close(share, expected, atol=0.06, rtol=0)
    assert 2 <= ((share > 0) & (share < 1)).sum() <= 5


def surface_in(window: Window, latent: float = 0.8) -> Surface:
    """The surface of a lake of one width, of the noise of a seed, over a window of px."""
    cells = window_needed(texture_stage(CONFIG.blocks), window)
    c = window_grid(
        cells, cut=CONFIG.cut, span_cells=CONFIG.span_cells, period_cells=CONFIG.period_cells
    )
    lakes, field = lakes_of(random_model(CONFIG)), SeededLatents(5)

    def noise(layer: int, window: Window) -> Tensor:
        return torch.from_numpy(field.texture_noise(layer, window))[None, None]

    inside = lakes.inside(torch.full_like(c[:, :1], latent), c)
    return surface_of(inside, cells, noise, CONFIG.blocks, window)


def test_shores_are_rough_and_the_near_one_more() -> None:
    share = surface_in(Window(60, 0, 100, 400)).share[0, 0]
    wet = share.mean(dim=1) > 0.5
    middle = int(wet.nonzero().float().mean())
    far, near = share[:middle].sum(dim=0), share[middle:].sum(dim=0)
    assert 0.1 < far.std() < 1.0
    assert near.std() > 1.5 * far.std()


def test_ripples_are_longer_than_high_and_larger_the_nearer() -> None:
    ripples = surface_in(Window(60, 0, 120, 400), 9.0).ripples[0, 0]

    def alike(values: Tensor, px: int, dim: int) -> float:
        """Correlation of values so far apart."""
        size = values.shape[dim] - px
        one, other = values.narrow(dim, 0, size), values.narrow(dim, px, size)
        return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])

    near = ripples[90:]
    assert near.std() == pytest.approx(math.hypot(0.7, FINE) * RIPPLES, rel=0.3)
    assert alike(near, 8, 1) > alike(near, 8, 0) + 0.4
    far = ripples[int((ripples.abs().sum(dim=1) > 0).nonzero()[0]) :][:6]
    assert alike(far, 2, 0) < 0.3 < alike(near, 2, 0)


def test_fine_ripples_lie_on_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    near = surface_in(Window(60, 0, 120, 400), 9.0).ripples[0, 0, 90:]
    monkeypatch.setattr(surface, "FINE", 0.0)
    without = surface_in(Window(60, 0, 120, 400), 9.0).ripples[0, 0, 90:]
    fine = near - without
    assert fine.std() == pytest.approx(FINE * RIPPLES, rel=0.3)
    pairs = torch.stack([fine[:-2].flatten(), fine[2:].flatten()])
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 0.1  # a px high


def test_windows_agree_on_the_surface_of_water() -> None:
    whole, part = Window(60, 0, 100, 400), Window(83, 117, 41, 90)
    rows, columns = part.within(whole)
    for one, other in zip(surface_in(whole), surface_in(part), strict=True):
        torch.testing.assert_close(one[:, :, rows, columns], other, atol=1e-5, rtol=0)


def test_land_stays_as_it_is_where_no_water_lies() -> None:
    land, water = torch.rand(2, 1, 3, 4, 5) * 2 - 1
    half = torch.zeros(1, 1, 4, 5)
    half[..., 2:] = 1
    over = laid_over(land, water, Surface(half, torch.full_like(half, 0.1)))
    assert over[..., :2].equal(land[..., :2])
    torch.testing.assert_close(over[..., 2:] + 1, 1.1 * (water[..., 2:] + 1))
