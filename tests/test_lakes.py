"""Lakes: where water lies and land rises, and that every way to paint agrees on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from small_models import SMALL, SMALL_DETAIL, random_generator, random_model
from torch import Tensor
from wet_models import CONFIG, LEVEL, dry_like, inputs, lakes_of

from infinite_render.describe import describe_model
from infinite_render.errors import RecipeError
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.local import (
    ALONE,
    LAKES_CELLS,
    LAKES_DRY,
    LAKES_LEAST,
    Array,
    LocalLaw,
    _wet_or_dry,
    local_latents,
)
from infinite_render.fields.reseeded import Reseed, ReseededLatents
from infinite_render.fields.styles import Points, Style, StyledPoint
from infinite_render.geometry import (
    Window,
    texture_stage,
    window_needed,
    windows_given,
)
from infinite_render.inversion.latents import Painter, random_latents, windows_of
from infinite_render.nn.coordinates import vertical, window_grid
from infinite_render.nn.lakes import (
    AT_FOOT,
    COMPRESSION,
    RISE,
    RISING,
    Lakes,
    map_macs,
    wet_rows,
)
from infinite_render.nn.truncation import Truncation
from infinite_render.pixels import to_uint8
from infinite_render.rendering.compiled import CompiledStructure, CompiledTexture, NoiseReader
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene
from infinite_render.training.own import paint_strip
from infinite_render.training.painting import with_channel_of_lakes

WET = 163  # a seed that has lakes about the origin, on a cylinder of 20 cells, too


@dataclass(frozen=True)
class Flooded(SeededLatents):
    """Latents of a plane that is one lake, from side to side."""

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        z_local = super().z_local(window_cell, dim, law)
        z_local[-1] = 9.0
        return z_local


def test_land_rises_about_lakes_and_stays_as_it_is_far_from_them() -> None:
    lakes = lakes_of(random_model(CONFIG))
    _, z_local, c = inputs(CONFIG)
    v, (first, last) = torch.atanh(c[0, 0, :, 0].double()), RISING
    c_wet = lakes.risen(torch.full_like(z_local[:, -1:], last), c, LEVEL)
    risen = torch.atanh(c_wet[0, 0, :, 0].double())
    shown = abs(v) < CONFIG.cut + 0.5
    torch.testing.assert_close(risen[shown], v[shown] + RISE, atol=2e-3, rtol=0)
    assert c_wet[:, 1:].equal(c[:, 1:])
    assert lakes.risen(torch.full_like(z_local[:, -1:], first), c, LEVEL).equal(c)


def test_shores_meet_at_the_ends_of_a_lake_and_part_where_it_widens() -> None:
    lakes = lakes_of(random_model(CONFIG))
    latent = torch.linspace(-1, 4, 501)
    near, far = lakes.near(latent), lakes.far(latent)
    wet = near > far
    assert wet.diff().sum() == 1
    assert (near.diff() >= 0).all()
    assert (far.diff() <= 0).all()
    assert near[latent < 0.2].max() < 0.05
    at_foot = latent.sub(AT_FOOT).abs().argmin()
    assert near[at_foot] == pytest.approx(1)
    assert (near - far)[wet].diff().min() >= 0
    assert near.max() == lakes.deepest


@pytest.mark.parametrize("shore", [-1.0, 0.4, 2.0])
def test_water_lies_in_the_rows_that_coordinates_alone_tell(shore: float) -> None:
    lakes = lakes_of(random_model(replace(CONFIG, shore=shore)))
    _, z_local, c = inputs(CONFIG)
    rows = lakes.rows(c)
    wet = torch.zeros(c.shape[2], dtype=torch.bool)
    for latent in np.linspace(-1, 9, 81):
        inside = lakes.inside(torch.full_like(z_local[:, -1:], latent), c)
        wet |= (inside.amin(dim=1) > -1.25).any(dim=2)[0]  # px of it may be under water
    assert wet.any()
    assert wet[rows].sum() == wet.sum()
    told = wet_rows(shore=shore, foot=CONFIG.cut, span_cells=CONFIG.span_cells)
    first_row = -CONFIG.structure_margin_cells
    assert told == (first_row + rows.start, first_row + rows.stop)
    assert lakes.rows(c[:, :, : rows.start]) == slice(0, 0)


@pytest.mark.parametrize("shore", [-1.0, 0.4, 2.0])
def test_the_widest_lake_ends_below_the_band(shore: float) -> None:
    lakes = lakes_of(random_model(replace(CONFIG, shore=shore)))
    _, z_local, c = inputs(CONFIG)
    inside = lakes.inner(lakes.inside(torch.full_like(z_local[:, -1:], 99.0), c)).amin(dim=1)[0]
    assert (inside[CONFIG.span_cells - 1] > 1).all()
    assert (inside[CONFIG.span_cells + 10 :] < -1).all()


def test_lakes_have_a_latent_of_their_own_that_truncation_leaves() -> None:
    window, dims = Window(-20, 30, 40, 200), (CONFIG.local_dim, CONFIG.latent_dim)
    law, less = (LocalLaw.of(CONFIG, psi) for psi in (1.0, 0.5))
    whole, truncated = (local_latents(6, window, dims[1], each) for each in (law, less))
    np.testing.assert_array_equal(whole[-1], truncated[-1])
    np.testing.assert_array_equal(whole[:-1], local_latents(6, window, dims[0], LocalLaw.of(SMALL)))
    across, down = (abs(np.diff(whole[-1], axis=axis)).mean() for axis in (1, 0))
    assert across < down < 0.3 * whole[-1].std()  # lakes have a width, bays are flat
    dry = local_latents(3, window, dims[1], law)[-1]
    assert (dry == dry[0]).all()  # bays are where water is near: else there were ponds
    assert dry.max() <= LAKES_DRY
    part = Window(-3, 41, 9, 17)
    rows, columns = part.within(window)
    np.testing.assert_array_equal(local_latents(6, part, dims[1], law), whole[:, rows, columns])


def test_pictures_that_the_ladder_learns_from_hold_whole_lakes_or_none() -> None:
    seen = []
    generator = random_generator(CONFIG)
    generator.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    numbers = torch.Generator().manual_seed(1)
    for _ in range(24):
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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_scene_has_lakes_in_float32(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    inside = Lakes.inside

    def watched(lakes: Lakes, latent: Tensor, c: Tensor) -> Tensor:
        seen.extend([latent.dtype, c.dtype])
        return inside(lakes, latent, c)

    monkeypatch.setattr(Lakes, "inside", watched)
    Scene(random_model(CONFIG), seed=5, precision=precision).render(0, 0, 256, 64)
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


def test_coordinates_are_mirrored_below_the_shore() -> None:
    lakes = lakes_of(random_model(CONFIG))
    rows = torch.arange(-3.0, 20.0)[None]
    tanh_v = vertical(rows, cut=CONFIG.cut, span_cells=CONFIG.span_cells)
    v = CONFIG.cut * (2 * rows / CONFIG.span_cells - 1)
    c = torch.stack([tanh_v, rows, rows], dim=1)[..., None]
    mirrored = lakes.mirrored(c, LEVEL)
    expected = torch.tanh(0.4 - COMPRESSION * (v - 0.4).clamp(min=0))[0]
    torch.testing.assert_close(mirrored[0, 0, :, 0], expected, atol=1e-4, rtol=0)
    assert mirrored[:, 1:].equal(c[:, 1:])


@pytest.mark.parametrize("window", [Window(70, 101, 90, 140), Window(0, 0, 200, 384)])
def test_a_scene_paints_the_lakes_of_the_plain_network(window: Window) -> None:
    model, config = random_model(CONFIG), CONFIG
    scene = Scene(model, seed=WET, precision="float32")
    cells = window_needed(texture_stage(config.blocks), window)
    cells = Window(cells.y, cells.x - 5, cells.height, cells.width + 10)  # ripples are long
    latents = BlockPlan(config, model.recipe.render).latent_window(cells)
    law = LocalLaw.of(config, scene.truncation)
    z_local = torch.from_numpy(scene.latents.z_local(latents, config.latent_dim, law))[None]
    c = window_grid(
        latents, cut=config.cut, span_cells=config.span_cells, period_cells=config.period_cells
    )
    lattices = windows_given(texture_stage(config.blocks), cells)[1:]
    noise = [
        torch.from_numpy(scene.latents.texture_noise(layer, lattice))[None, None]
        for layer, lattice in enumerate(lattices)
    ]
    own = torch.from_numpy(scene.latents.z_global(config.global_dim))[None]
    z_global, w = Truncation(model.generator, scene.truncation).latents(own)
    with torch.no_grad():
        rgb = model.generator(z_global, z_local, c, w=w, noise=noise)[0][0]
    rows, columns = window.within(lattices[-1])
    expected = to_uint8(rgb[:, rows, columns]).astype(int)
    assert abs(scene.render(*window) - expected).max() <= 1


def test_lakes_of_other_seeds_begin_elsewhere() -> None:
    law, places = LocalLaw(lakes=True), set()
    for seed in range(60):
        along = local_latents(seed, Window(0, 0, 1, 8 * LAKES_CELLS), 2, law)[-1, 0]
        places.add(int(along.argmax()) % LAKES_CELLS * 8 // LAKES_CELLS)
    assert places == set(range(8))


def test_every_window_paints_the_same_lakes() -> None:
    model = random_model(CONFIG)
    whole = Scene(model, seed=WET).render(0, 0, 256, 384)
    latent = local_latents(WET, Window(0, 0, 1, 48), CONFIG.latent_dim, LocalLaw.of(CONFIG))[-1]
    assert (latent > 1).mean() > 0.2  # here are lakes, with shores
    assert (whole != Scene(dry_like(model), seed=WET).render(0, 0, 256, 384)).any()
    part = Scene(model, seed=WET).render(70, 101, 90, 140, workers=2)
    np.testing.assert_array_equal(part, whole[70:160, 101:241])


@pytest.mark.parametrize("y", [-384, -130, 250, 384, 4000])
def test_where_no_lake_can_be_the_plane_goes_on_without(y: int) -> None:
    model = random_model(CONFIG)
    wet, dry = (Scene(each, seed=WET).render(y, 0, 60, 90) for each in (model, dry_like(model)))
    assert wet.shape == dry.shape
    part = Scene(model, seed=WET).render(y + 7, 11, 20, 40)
    np.testing.assert_array_equal(part, wet[7:27, 11:51])


@pytest.mark.parametrize(
    ("depth", "shift"), [(0, (3.5, 0.25)), (1, (0.0, 0.0)), (2, (0.0, 0.0)), (2, (-4.0, 0.0))]
)
def test_lakes_lie_at_every_depth_and_shift_with_coordinates(
    depth: int, shift: tuple[float, float]
) -> None:
    model = random_model(CONFIG, detail=SMALL_DETAIL)
    dry = random_model(SMALL, detail=SMALL_DETAIL)
    dry.generator.load_state_dict(model.generator.state_dict(), strict=False)
    size = 64 << depth
    window = Window(
        round((15 + shift[0] * -1) * 8 * 2**depth) - size // 2, 4 * size, size, 3 * size
    )
    scenes = [Scene(each, seed=WET, shift_cell=shift) for each in (model, dry)]
    whole, land = (scene.render(*window, depth=depth, workers=2) for scene in scenes)
    assert (whole != land).any(axis=2).mean() > 0.05
    part = Window(window.y + size // 3, window.x + size // 2, size // 2, size)
    rows, columns = part.within(window)
    fresh = Scene(model, seed=WET, shift_cell=shift)
    np.testing.assert_array_equal(fresh.render(*part, depth=depth), whole[rows, columns])


def test_lakes_close_on_a_cylinder() -> None:
    scene = Scene(random_model(CONFIG), seed=WET, wrap_cells=20)
    around = scene.wrap_px(0)
    assert around is not None
    twice = scene.render(60, -40, 80, 2 * around)
    np.testing.assert_array_equal(twice[:, :around], twice[:, around:])
    turned = Scene(random_model(CONFIG), seed=WET, wrap_cells=20).render(60, 30, 80, 100)
    np.testing.assert_array_equal(turned, twice[:, 70:170])


def test_lakes_lie_where_styles_meet_as_well() -> None:
    model = random_model(CONFIG)
    styles = Points((StyledPoint(3, 4, Style(1)), StyledPoint(9.5, 30, Style(2))), 20.0)
    whole = Scene(model, seed=WET, styles=styles).render(60, 0, 160, 384)
    part = Scene(model, seed=WET, styles=styles).render(90, 120, 100, 130)
    np.testing.assert_array_equal(part, whole[30:130, 120:250])


def test_water_is_counted_at_what_a_lake_costs_that_fills_a_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model(CONFIG, cell_px=64, block_px=256)
    plan = BlockPlan(CONFIG, model.recipe.render)
    done: list[float] = []
    structure, texture = CompiledStructure.__call__, CompiledTexture.__call__
    features = Lakes.features

    def counted(network: CompiledStructure, z_local: Tensor, c: Tensor) -> Tensor:
        done.append(plan.structure_macs(Window(0, 0, *z_local.shape[2:])))
        return structure(network, z_local, c)

    def counted_too(network: CompiledTexture, z_structure: Tensor, noise: NoiseReader) -> Tensor:
        done.append(plan.stage_macs(0, Window(0, 0, *z_structure.shape[2:])))
        return texture(network, z_structure, noise)

    def counted_as_well(lakes: Lakes, mirrored: Tensor, c: Tensor) -> Tensor:
        done.append(map_macs(CONFIG.structure_dim) * mirrored[0, 0].numel())
        return features(lakes, mirrored, c)

    monkeypatch.setattr(Lakes, "features", counted_as_well)
    monkeypatch.setattr(CompiledStructure, "__call__", counted)
    monkeypatch.setattr(CompiledTexture, "__call__", counted_too)
    Scene(model, seed=WET, latents=Flooded(WET)).render(0, 0, 256, 256)
    more = (sum(done) - plan.block_macs) / 256**2
    assert more == pytest.approx(plan.water_macs_per_px)
    assert BlockPlan(SMALL, model.recipe.render).water_macs_per_px == 0


def test_lakes_need_a_shore_in_the_plane_and_coordinates() -> None:
    wrongs = {"shore": 3.0}, {"structure_layers": 0}, {"coordinates": False}, {"padding": True}
    for wrong in wrongs:
        with pytest.raises(RecipeError, match="shore"):
            replace(SMALL, **{"shore": 0.4, **wrong})  # type: ignore[arg-type]


def test_a_description_tells_where_lakes_begin() -> None:
    wet, dry = (
        dict(describe_model(model)[1]) for model in (random_model(CONFIG), random_model(SMALL))
    )
    row_px = 8 * 17 * (0.4 / 3 + 1) / 2
    expected = f"they mirror what stands above row {row_px:.0f} px, where they begin; at most "
    assert wet["lakes"].startswith(expected)
    assert "lakes" not in dry


def test_a_model_without_lakes_is_as_before() -> None:
    assert random_generator(SMALL).structure.lakes is None
    assert not any("lakes" in name for name in random_generator(SMALL).state_dict())
