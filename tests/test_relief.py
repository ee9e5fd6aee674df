"""Relief: a field that raises land and lowers it, on planes, cylinders and under photographs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pinned_scenes import ladder_model, random_pin
from small_models import SMALL_DETAIL, random_model
from wet_models import CONFIG, inputs, lakes_of

from infinite_render.config import RenderConfig
from infinite_render.errors import RecipeError
from infinite_render.fields.continued import REACH_CELLS, ContinuedLatents, cells_of
from infinite_render.fields.drifting_styles import StyleLaw
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.pins import PinnedLatents
from infinite_render.fields.relief import RELIEF_VERSION, relief_in, relief_of
from infinite_render.fields.wrapped import WrappedLatents
from infinite_render.geometry import Window
from infinite_render.models import Model
from infinite_render.nn.coordinates import lifted, v_of
from infinite_render.nn.lakes import RISE, RISING
from infinite_render.rendering.scene import Scene

FAR = 2**37


def hilly_model(rows: float = 1.5) -> Model:
    model = random_model()
    render = replace(model.recipe.render, relief=rows)
    return replace(model, recipe=replace(model.recipe, render=render))


@pytest.mark.parametrize("corner", [(0, 0), (-33, -20), (FAR, -FAR)])
@pytest.mark.parametrize("wrap", [None, 50])
def test_a_window_of_a_window_is_that_window(corner: tuple[int, int], wrap: int | None) -> None:
    whole = relief_of(5, Window(*corner, 30, 41), wrap)
    for y, x, height, width in ((0, 0, 1, 1), (3, 9, 20, 7), (29, 40, 1, 1)):
        part = relief_of(5, Window(corner[0] + y, corner[1] + x, height, width), wrap)
        np.testing.assert_array_equal(part, whole[y : y + height, x : x + width])


def test_relief_has_variance_1_and_changes_slowly() -> None:
    relief = relief_of(1, Window(0, 0, 600, 3000)).astype(float)
    assert abs(relief.mean()) < 0.05
    assert abs(relief.var() - 1) < 0.05
    down, along = (np.diff(relief, axis=axis) for axis in (0, 1))
    assert along.std() < 0.35
    assert (down < -0.8).mean() < 1e-3  # at -1 land of 1 row's relief folds over itself
    assert not np.array_equal(relief[:9], relief_of(2, Window(0, 0, 9, 3000)))


def test_on_a_cylinder_it_closes() -> None:
    field = WrappedLatents(SeededLatents(4), 50, 3)
    around = field.relief(Window(-5, -60, 12, 170))
    np.testing.assert_array_equal(around[:, :120], around[:, 50:])
    assert np.abs(np.diff(around, axis=1)).max() < 1.0


def test_land_is_taken_from_as_many_rows_lower_as_it_is_high() -> None:
    model = hilly_model()
    generator, window = model.recipe.generator, Window(-3, 7, 9, 11)
    raised = relief_in(window, SeededLatents(3).relief, model.recipe)
    rows = raised[0, 0] / generator.v_per_row
    np.testing.assert_allclose(rows, 1.5 * relief_of(3, window), rtol=1e-5)
    assert not relief_in(window, SeededLatents(3).relief, random_model().recipe).any()

    _, _, c = inputs(CONFIG)
    by = torch.zeros_like(c[:, :1])
    by[..., ::2] = 0.5
    higher = lifted(c, by)
    assert higher[..., 1::2].equal(c[..., 1::2])
    v = v_of(c)[..., ::2]
    shown = v.abs() < CONFIG.cut
    torch.testing.assert_close(v_of(higher)[..., ::2][shown], v[shown] + 0.5, atol=2e-3, rtol=0)


def test_about_lakes_land_is_never_lower_than_it_rises() -> None:
    lakes = lakes_of(random_model(CONFIG))
    _, z_local, c = inputs(CONFIG)
    relief = torch.full_like(c[:, :1], -0.4)
    wet, dry = (torch.full_like(z_local[:, -1:], latent) for latent in RISING[::-1])
    assert lakes.risen(wet, c, relief).equal(lifted(c, torch.full_like(relief, RISE)))
    assert lakes.risen(dry, c, relief).equal(lifted(c, relief))
    assert lakes.risen(wet, c, -relief).equal(lifted(c, RISE - relief))


def test_a_scene_with_relief_is_another_and_any_window_of_it_the_same() -> None:
    hilly, level = (Scene(m, seed=3, precision="float32") for m in (hilly_model(), random_model()))
    whole = hilly.render(-20, -90, 150, 300)
    assert np.abs(whole.astype(int) - level.render(-20, -90, 150, 300)).mean() > 0.5
    part = Scene(hilly_model(), seed=3, precision="float32").render(60, 100, 50, 70, workers=2)
    np.testing.assert_array_equal(part, whole[80:130, 190:260])
    assert hilly.identity()["relief_version"] == RELIEF_VERSION
    assert "relief_version" not in level.identity()


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("wrap", [None, 40])
def test_land_with_relief_lakes_and_styles_that_drift_has_one_value_a_pixel(
    depth: int, wrap: int | None
) -> None:
    def scene() -> Scene:
        model = random_model(CONFIG, detail=SMALL_DETAIL)
        render = replace(model.recipe.render, relief=1.0, style_drift=0.7, style_cells=7)
        render = replace(render, fine_drift=0.5, fine_cells=20)
        varied = replace(model, recipe=replace(model.recipe, render=render))
        return Scene(varied, seed=3, precision="float32", wrap_cells=wrap)

    for y, x in ((-20, -90), (40, 2**39)):
        whole = scene().render(y, x, 150, 300, depth=depth, workers=2)
        part = scene().render(y + 80, x + 190, 50, 70, depth=depth)
        np.testing.assert_array_equal(part, whole[80:130, 190:260])
        if wrap is not None:
            turned = scene().render(y, x + 40 * (8 << depth), 150, 300, depth=depth)
            np.testing.assert_array_equal(turned, whole)


def test_under_a_photograph_land_is_level_as_its_inversion_found_it() -> None:
    pin = random_pin(ladder_model(), (90, 130), (-21, 67), 0, 0)
    seeded, own = SeededLatents(5), cells_of(pin)
    around = ContinuedLatents(seeded, (pin,))
    assert around.own_styles(StyleLaw(0.5, 6, 17)) is None
    assert not around.relief(own).any()
    assert not PinnedLatents(seeded, (pin,)).relief(pin.z_window).any()
    beyond = own._replace(x=own.x + own.width + REACH_CELLS)
    np.testing.assert_array_equal(around.relief(beyond), seeded.relief(beyond))
    beside = own._replace(x=own.x + own.width, width=REACH_CELLS)
    near = around.relief(beside)
    assert (np.abs(near) <= np.abs(seeded.relief(beside))).all()
    assert near.any()


def test_relief_needs_coordinates() -> None:
    recipe = hilly_model().recipe
    with pytest.raises(RecipeError, match="relief"):
        replace(recipe, generator=replace(recipe.generator, coordinates=False))


@pytest.mark.parametrize("rows", [-0.5, float("inf"), float("nan")])
def test_a_relief_that_cannot_be_is_refused(rows: float) -> None:
    with pytest.raises(RecipeError, match="relief"):
        RenderConfig(relief=rows)
