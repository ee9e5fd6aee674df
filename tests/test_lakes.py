"""Lakes: where water lies and land rises, and that every way to paint agrees on it."""

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
from infinite_render.fields.local import (
    LAKES_DRY,
    LAKES_LEAST,
    LocalLaw,
    _wet_or_dry,
    local_latents,
)
from infinite_render.fields.reseeded import Reseed, ReseededLatents
from infinite_render.fields.styles import Points, Style, StyledPoint
from infinite_render.geometry import Window
from infinite_render.inversion.latents import Painter, random_latents, windows_of
from infinite_render.models import Model
from infinite_render.nn.coordinates import vertical, window_grid
from infinite_render.nn.lakes import COMPRESSION, FAR_LEAST, REACH, RISE, RISING, SCALE, Lakes
from infinite_render.rendering.compiled import compile_structure
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene
from infinite_render.training.own import paint_strip
from infinite_render.training.painting import with_channel_of_lakes

CONFIG = replace(SMALL, shore=0.4)


def lakes_of(model: Model) -> Lakes:
    lakes = model.generator.structure.lakes
    assert lakes is not None
    return lakes


def inputs(config: GeneratorConfig) -> tuple[Tensor, Tensor, Tensor]:
    """z_g, z_l, c over 40 rows; a lake begins at the left and widens to the right."""
    m = config.structure_margin_cells
    window = Window(-m, 5 - m, 40 + 2 * m, 30 + 2 * m)
    z_global = SeededLatents(3).z_global(config.global_dim)
    z_local = SeededLatents(3).z_local(window, config.latent_dim, LocalLaw.of(config))
    z_local[config.local_dim :] = np.linspace(-0.5, 1.0, window.width)
    c = window_grid(
        window, cut=config.cut, span_cells=config.span_cells, period_cells=config.period_cells
    )
    return torch.from_numpy(z_global), torch.from_numpy(z_local)[None], c


def test_water_lies_below_the_far_shore_and_land_is_land_elsewhere() -> None:
    model = random_model(CONFIG)
    lakes, structure = lakes_of(model), model.generator.structure
    z_global, z_local, c = inputs(CONFIG)
    share = lakes.inner(lakes.share(z_local[:, -1:], c))
    at_shore = lakes.inner(lakes.at_far_shore(z_local[:, -1:], c))
    v = CONFIG.cut * (2 * torch.arange(40) / CONFIG.span_cells - 1)
    assert (share[0, 0, v < 0.2] == 0).all()
    below = share[0, 0, (v > 1) & (v < 3)]
    assert 0.2 < below.mean() < 0.8
    assert below.min() == 0
    assert below.max() == 1
    z_structure = structure(z_global[None], z_local, c)
    land = structure.of_land(z_global[None], z_local[:, :-1], lakes.risen(z_local[:, -1:], c))
    dry = ((share == 0) & (at_shore == 0)).expand_as(land)
    assert z_structure[dry].equal(land[dry])
    assert not torch.isclose(z_structure[~dry], land[~dry]).all()


def test_land_rises_about_lakes_and_stays_as_it_is_far_from_them() -> None:
    structure = random_model(CONFIG).generator.structure
    assert structure.lakes is not None
    z_global, z_local, c = inputs(CONFIG)
    v, (first, last) = torch.atanh(c[0, 0, :, 0].double()), RISING
    c_wet = structure.lakes.risen(torch.full_like(z_local[:, -1:], last), c)
    risen = torch.atanh(c_wet[0, 0, :, 0].double())
    shown = abs(v) < CONFIG.cut + 0.5
    torch.testing.assert_close(risen[shown], v[shown] + RISE, atol=2e-3, rtol=0)
    assert c_wet[:, 1:].equal(c[:, 1:])
    z_local[:, -1] = torch.linspace(first - 0.8, first + 0.8, z_local.shape[3])
    z_structure = structure(z_global[None], z_local, c)
    land = structure.of_land(z_global[None], z_local[:, :-1], c)
    dry = z_local.shape[3] // 2 - 2 * CONFIG.structure_margin_cells
    assert dry > 0
    assert z_structure[..., :dry].equal(land[..., :dry])
    risen = structure.lakes.risen(z_local[:, -1:], c)
    c_dry, z_dry = risen.clone(), z_local.clone()
    z_dry[:, -1] = first  # no water, no rise of its own
    expected = structure(z_global[None], z_dry, c_dry)
    above = slice(0, 6)  # of all water
    assert z_structure[:, :, above].equal(expected[:, :, above])
    assert not torch.isclose(z_structure[:, :, above], land[:, :, above]).all()


def test_shores_meet_at_the_ends_of_a_lake_and_part_where_it_widens() -> None:
    lakes = lakes_of(random_model(CONFIG))
    _, z_local, c = inputs(CONFIG)
    m = CONFIG.structure_margin_cells
    share = lakes.inner(lakes.share(z_local[:, -1:], c))[0, 0]
    depth, width = lakes.inner(lakes.depth(c))[0, 0, :, :1], z_local[0, -1, m, m:-m]
    under = share > 0.5
    assert not under[:, width < 0.24].any()
    wide = under[:, width > 0.5]
    near, far = (depth * wide).amax(dim=0), torch.where(wide, depth, 99).amin(dim=0)
    cell = (depth[1] - depth[0]).item()
    assert (abs(near - width[width > 0.5]) <= cell).all()
    first = share[depth[:, 0] > 0][0, width > 0.5]  # the first row that may be water
    assert (far.diff() <= 0).all()
    assert first[0] < first[-1]
    assert (near.diff() >= 0).all()
    assert near[-1] - far[-1] > 1.5 * (near[0] - far[0])


def test_far_shores_reach_a_few_cells_up_and_down_where_lakes_are_wide() -> None:
    lakes = lakes_of(random_model(CONFIG))
    _, z_local, c = inputs(CONFIG)
    wide, narrow = (
        lakes.at_far_shore(torch.full_like(z_local[:, -1:], latent), c)[0, 0, :, 0]
        for latent in (1.2, 0.4)
    )
    assert (narrow == 0).all()
    v = torch.atanh(c[0, 0, :, 0].double())
    far_v = lakes.shore + FAR_LEAST * (lakes.foot - lakes.shore)
    cells = (v - far_v) / (2 * CONFIG.cut / CONFIG.span_cells)
    expected = (REACH - cells.abs()).clamp(0, 1).float()
    torch.testing.assert_close(wide, expected, atol=1e-3, rtol=0)
    assert (expected > 0).sum() == 5


def test_what_makes_shores_is_added_to_them_alone() -> None:
    model = random_model(CONFIG)
    lakes, structure = lakes_of(model), model.generator.structure
    z_global, z_local, c = inputs(CONFIG)
    before = structure(z_global[None], z_local, c)
    assert lakes.shore_out.bias is not None
    with torch.no_grad():
        lakes.shore_out.bias.add_(1.0)
    after = structure(z_global[None], z_local, c)
    at_shore = lakes.inner(lakes.at_far_shore(z_local[:, -1:], c)).expand_as(before)
    assert after[at_shore == 0].equal(before[at_shore == 0])
    torch.testing.assert_close(after - before, SCALE * at_shore, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("latent", [0.25, 0.4])
def test_narrow_lakes_are_water_without_shores_of_their_own(latent: float) -> None:
    model = random_model(CONFIG)
    lakes, structure = lakes_of(model), model.generator.structure
    z_global, z_local, c = inputs(CONFIG)
    z_local[:, -1] = latent
    assert not lakes.at_far_shore(z_local[:, -1:], c).any()
    dry = structure.of_land(z_global[None], z_local[:, :-1], lakes.risen(z_local[:, -1:], c))
    assert (structure(z_global[None], z_local, c) != dry).any()


def test_the_rows_of_far_shores_are_those_that_any_lake_has_them_in() -> None:
    lakes = lakes_of(random_model(CONFIG))
    _, z_local, c = inputs(CONFIG)
    rows, seen = lakes.shore_rows(c), torch.zeros(40, dtype=torch.bool)
    for latent in np.linspace(-1, 3, 81):
        at_shore = lakes.at_far_shore(torch.full_like(z_local[:, -1:], latent), c)
        seen |= lakes.inner(at_shore)[0, 0].any(dim=1)
    assert seen.any()
    assert seen[rows].sum() == seen.sum()
    sky = c[:, :, : 2 * CONFIG.structure_margin_cells + 3]
    assert lakes.shore_rows(sky) == slice(0)


def test_just_above_a_far_shore_land_is_not_as_it_was() -> None:
    model = random_model(CONFIG)
    lakes, structure = lakes_of(model), model.generator.structure
    z_global, z_local, c = inputs(CONFIG)
    z_local[:, -1] = 1.2
    at_shore = lakes.inner(lakes.at_far_shore(z_local[:, -1:], c))[0, 0, :, 0]
    share = lakes.inner(lakes.share(z_local[:, -1:], c))[0, 0, :, 0]
    row = int(((at_shore > 0) & (share == 0)).nonzero()[0])
    above = slice(row, row + 1 + 2 * CONFIG.structure_margin_cells)
    z_local, c = z_local[:, :, above], c[:, :, above]
    land = structure.of_land(z_global[None], z_local[:, :-1], lakes.risen(z_local[:, -1:], c))
    assert (structure(z_global[None], z_local, c) != land).all()


@pytest.mark.parametrize("shore", [-1.0, 0.4, 2.0])
def test_the_widest_lake_ends_below_the_band(shore: float) -> None:
    lakes = lakes_of(random_model(replace(CONFIG, shore=shore)))
    _, z_local, c = inputs(CONFIG)
    share = lakes.inner(lakes.share(torch.full_like(z_local[:, -1:], 99.0), c))[0, 0]
    assert (share[CONFIG.span_cells - 1] == 1).all()
    assert (share[CONFIG.span_cells + 10 :] == 0).all()


def test_lakes_have_a_latent_of_their_own_that_truncation_leaves() -> None:
    window, dims = Window(-20, 30, 40, 200), (CONFIG.local_dim, CONFIG.latent_dim)
    law, less = (LocalLaw.of(CONFIG, psi) for psi in (1.0, 0.5))
    whole, truncated = (local_latents(3, window, dims[1], each) for each in (law, less))
    np.testing.assert_array_equal(whole[-1], truncated[-1])
    np.testing.assert_array_equal(whole[:-1], local_latents(3, window, dims[0], LocalLaw.of(SMALL)))
    assert (whole[-1] == whole[-1, :1]).all()  # a far shore lies at one row
    assert abs(np.diff(whole[-1], axis=1)).max() < 0.4 * whole[-1].std()  # lakes have a width
    part = Window(-3, 41, 9, 17)
    rows, columns = part.within(window)
    np.testing.assert_array_equal(local_latents(3, part, dims[1], law), whole[:, rows, columns])


def test_pictures_that_the_ladder_learns_from_hold_whole_lakes_or_none() -> None:
    seen = []
    generator = random_generator(CONFIG)
    generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    numbers = torch.Generator().manual_seed(1)
    for _ in range(12):
        paint_strip(generator, CONFIG, numbers)
    widths = [z_local[0, -1] for z_local in seen]
    assert all((width == width[0, 0]).all() for width in widths)
    starts = torch.stack([width[0, 0] for width in widths])
    dry = starts == LAKES_DRY
    assert dry.any()
    assert not dry.all()
    assert (starts[~dry] > LAKES_LEAST).all()


def test_patches_have_lakes_as_often_and_as_wide_as_nodes() -> None:
    drawn = np.linspace(-3, 3, 101, dtype=np.float32)
    numbers = torch.from_numpy(drawn)[:, None, None, None]
    patches = with_channel_of_lakes(torch.zeros(101, 2, 3, 3), numbers)[:, 2, 0, 0]
    np.testing.assert_array_equal(patches.numpy(), _wet_or_dry(drawn))


@pytest.mark.parametrize("latent", [0.5, 0.8, 1.5, 3.0])
def test_bfloat16_has_lakes_of_the_same_shape(latent: float) -> None:
    lakes = lakes_of(random_model(CONFIG))
    _, z_local, c = inputs(CONFIG)
    wide = torch.full_like(z_local[:, -1:], latent)
    one, other = (lakes.share(values, c) for values in (wide, wide.bfloat16()))
    assert (one - other).abs().max() < 0.05


def test_a_scene_tells_lakes_float32_coordinates(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    depth = Lakes.depth
    monkeypatch.setattr(Lakes, "depth", lambda lakes, c: (seen.append(c.dtype), depth(lakes, c))[1])
    Scene(random_model(CONFIG), seed=5, precision="bfloat16").render(0, 0, 64, 64)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("wrap", [5, 30, 100])
def test_far_away_and_on_cylinders_windows_agree_on_lakes(wrap: int) -> None:
    law, far = LocalLaw.of(CONFIG), 10**12
    whole = local_latents(3, Window(far, -far, 4, 90), CONFIG.latent_dim, law)
    part = local_latents(3, Window(far + 1, 31 - far, 2, 20), CONFIG.latent_dim, law)
    np.testing.assert_array_equal(part, whole[:, 1:3, 31:51])
    turns = local_latents(3, Window(0, -3, 2, 2 * wrap), CONFIG.latent_dim, law.wrapped(wrap))[-1]
    np.testing.assert_array_equal(turns[:, :wrap], turns[:, wrap:])


def test_a_lake_goes_through_a_box_that_is_drawn_again() -> None:
    window, law = Window(0, 0, 20, 30), LocalLaw.of(CONFIG)
    field = ReseededLatents(SeededLatents(3), (Reseed(Window(4, 5, 9, 10), 8),))
    whole = field.z_local(window, CONFIG.latent_dim, law)
    before = SeededLatents(3).z_local(window, CONFIG.latent_dim, law)
    np.testing.assert_array_equal(whole[-1], before[-1])
    assert (whole[:-1, 4:13, 5:15] != before[:-1, 4:13, 5:15]).all()


def test_no_lake_lies_where_a_photograph_is_found() -> None:
    whole = windows_of(CONFIG, Window(0, 0, 64, 96))
    latents = random_latents(CONFIG, whole, torch.Generator().manual_seed(1))
    wet, dry = random_generator(CONFIG), random_generator(SMALL)
    dry.load_state_dict(wet.state_dict(), strict=False)
    one, other = (
        Painter(generator, config, whole, (0.0, 0.0), torch.float32).paint(
            latents, Window(0, 0, 64, 96)
        )
        for generator, config in ((wet, CONFIG), (dry, SMALL))
    )
    assert one.equal(other)


def test_coordinates_are_mirrored_and_come_to_the_shore_at_a_bank() -> None:
    lakes = lakes_of(random_model(CONFIG))
    rows = torch.arange(-3.0, 20.0)[None]
    tanh_v = vertical(rows, cut=CONFIG.cut, span_cells=CONFIG.span_cells)
    v = CONFIG.cut * (2 * rows / CONFIG.span_cells - 1)
    c = torch.stack([tanh_v, rows, rows], dim=1)[..., None]
    wide = lakes.mirrored(torch.full_like(c[:, :1], 9.0), c)
    expected = torch.tanh(0.4 - COMPRESSION * (v - 0.4))[0]
    torch.testing.assert_close(wide[0, 0, :, 0], expected, atol=1e-4, rtol=0)
    assert wide[:, 1:].equal(c[:, 1:])
    narrow = lakes.mirrored(torch.full_like(c[:, :1], 0.5), c)[0, 0, :, 0]
    depth = (v[0] - 0.4) / (CONFIG.cut - 0.4)
    torch.testing.assert_close(narrow[depth < 0.4], expected[depth < 0.4], atol=1e-4, rtol=0)
    banks = narrow[depth > 0.6]
    torch.testing.assert_close(banks, torch.full_like(banks, 0.4).tanh(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_lakes_are_those_of_the_plain_network(dtype: torch.dtype) -> None:
    structure = random_model(CONFIG).generator.structure
    z_global, z_local, c = inputs(CONFIG)
    compiled = compile_structure(structure, z_global, dtype)
    got = compiled(z_local.to(dtype), c).float()
    expected = structure(z_global[None], z_local, c)
    apart = (got - expected).abs().mean() / expected.std()
    assert apart < (1e-5 if dtype == torch.float32 else 0.03)


def test_every_window_paints_the_same_lakes() -> None:
    model = random_model(CONFIG)
    whole = Scene(model, seed=20).render(0, 0, 256, 384)
    latent = local_latents(20, Window(0, 0, 1, 48), CONFIG.latent_dim, LocalLaw.of(CONFIG))[-1]
    assert (latent > 1).mean() > 0.2  # here are lakes, with shores
    part = Scene(model, seed=20).render(70, 101, 90, 140, workers=2)
    np.testing.assert_array_equal(part, whole[70:160, 101:241])


def test_lakes_lie_where_styles_meet_as_well() -> None:
    model = random_model(CONFIG)
    styles = Points((StyledPoint(3, 4, Style(1)), StyledPoint(9.5, 30, Style(2))), 20.0)
    whole = Scene(model, seed=20, styles=styles).render(60, 0, 160, 384)
    part = Scene(model, seed=20, styles=styles).render(90, 120, 100, 130)
    np.testing.assert_array_equal(part, whole[30:130, 120:250])


def test_lakes_are_counted() -> None:
    window = Window(0, 0, 20, 20)
    wet, dry = (BlockPlan(c, RenderConfig(64, 128)).structure_macs(window) for c in (CONFIG, SMALL))
    dim = SMALL.structure_dim
    maps = (dim + 2) * dim + (2 * dim + 5) * 192 + 192 * dim
    assert wet == 2 * dry + 16 * 16 * maps


def test_lakes_need_a_shore_in_the_plane_and_coordinates() -> None:
    for wrong in ({"shore": 3.0}, {"structure_layers": 0}, {"coordinates": False}):
        with pytest.raises(RecipeError, match="shore"):
            replace(SMALL, **{"shore": 0.4, **wrong})  # type: ignore[arg-type]


def test_a_description_tells_where_lakes_begin() -> None:
    wet, dry = (
        dict(describe_model(model)[1]) for model in (random_model(CONFIG), random_model(SMALL))
    )
    row_px = 8 * 17 * (0.4 / 3 + 1) / 2
    assert wet["lakes"] == f"they mirror what stands above row {row_px:.0f} px, where they begin"
    assert "lakes" not in dry


def test_a_model_without_lakes_is_as_before() -> None:
    assert random_generator(SMALL).structure.lakes is None
    assert not any("lakes" in name for name in random_generator(SMALL).state_dict())
