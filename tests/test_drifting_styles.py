"""The style of a seed as it drifts: its law, where it holds alone, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SMALL, random_model

from infinite_render.config import RenderConfig
from infinite_render.errors import RecipeError
from infinite_render.evaluation.painters import ModelPainter, origin_px, view_of
from infinite_render.fields.described import styles_from_plain
from infinite_render.fields.drifting_styles import (
    BEYOND_CELLS,
    FADE_CELLS,
    KEPT_FAR,
    Drifting,
    StyleLaw,
    styles_of,
)
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.reseeded import Reseed, ReseededLatents
from infinite_render.fields.styles import Anchors, MixedStyle, OneStyle, Style
from infinite_render.geometry import Window
from infinite_render.models import Model, load_model, save_model
from infinite_render.nn.texture import COARSE
from infinite_render.nn.truncation import Truncation
from infinite_render.noise import Stream, normal
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.recipe import read_recipe
from infinite_render.rendering.repaint import canvas_of
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.style_latents import latents_of

BAND = SMALL.span_cells
LAW = StyleLaw(0.6, 6, BAND)
MIXED = LAW._replace(drift=0.9, fine_drift=0.6, fine_cells=18)


def drifting_model(law: StyleLaw = LAW) -> Model:
    model = random_model()
    render = replace(
        model.recipe.render,
        style_drift=law.drift,
        style_cells=law.spacing_cells,
        fine_drift=law.fine_drift,
        fine_cells=law.fine_cells,
    )
    return replace(model, recipe=replace(model.recipe, render=render))


def test_styles_keep_their_variance_and_share_what_is_the_seeds() -> None:
    z = np.stack([Style(3, anchor, 0.6).z_global(4096) for anchor in range(8)])
    assert abs(z.var() - 1) < 0.03
    correlation = np.corrcoef(z)[np.triu_indices(8, 1)]
    assert abs(correlation.mean() - 0.64) < 0.03
    own = Style(3).z_global(4096)
    np.testing.assert_array_equal(Style(3, 5, 0.0).z_global(4096), own)
    whole = normal(3, Stream.STYLE, 0, 5, 1, 1, 4096).reshape(4096)
    np.testing.assert_array_equal(Style(3, 5).z_global(4096), whole)


def test_in_the_band_the_styles_are_those_of_anchors() -> None:
    window = Window(-BEYOND_CELLS, -20, BAND + 2 * BEYOND_CELLS, 50)
    got, anchors = Drifting(3, LAW).blend(window), Anchors(3, 6.0).blend(window)
    assert got.styles == tuple(style._replace(drift=0.6) for style in anchors.styles)
    np.testing.assert_array_equal(got.shares, anchors.shares)


@pytest.mark.parametrize(
    "row", [-BEYOND_CELLS - FADE_CELLS - 9, BAND + BEYOND_CELLS + FADE_CELLS, 2**37]
)
def test_far_from_the_band_the_seeds_own_style_holds_alone(row: int) -> None:
    far = Style(3, kept=KEPT_FAR)
    assert Drifting(3, LAW).blend(Window(row, 2**37, 8, 40)).styles == (far,)
    model = drifting_model()
    far_px = 8 * 100
    drifting = Scene(model, seed=3, precision="float32")
    alone = Scene(model, seed=3, precision="float32", styles=OneStyle(far))
    np.testing.assert_array_equal(
        drifting.render(far_px, 0, 80, 90), alone.render(far_px, 0, 80, 90)
    )
    assert not np.array_equal(drifting.render(30, 0, 80, 90), alone.render(30, 0, 80, 90))


@pytest.mark.parametrize("psi", [1.0, 0.6])
def test_of_a_style_less_is_kept_where_it_says_so(psi: float) -> None:
    truncation = Truncation(random_model().generator, psi)
    z = torch.from_numpy(np.stack([Style(seed).z_global(SMALL.global_dim) for seed in (1, 2)]))
    whole_z, whole_w = truncation.latents(z)
    z_kept, w_kept = truncation.latents(z, torch.tensor([1.0, 0.5]))
    assert z_kept[0].equal(whole_z[0])
    assert w_kept[0].equal(whole_w[0])
    torch.testing.assert_close(z_kept[1], 0.5 * whole_z[1])
    _, mean = truncation.latents(z, torch.zeros(2))
    torch.testing.assert_close(w_kept[1], (whole_w[1] + mean[1]) / 2)


def test_fine_styles_are_those_of_calmer_anchors() -> None:
    """Every third anchor has a fine style of its own; between two of them they are mixed."""
    blend = Drifting(3, MIXED).blend(Window(0, -20, 1, 80))
    assert all(isinstance(style, MixedStyle) for style in blend.styles)
    fine = {style.coarse.anchor: style.fine for style in blend.styles}  # type: ignore[union-attr]
    assert fine[3] == ((Style(3, 3, 0.6), 1.0),)
    (one, first), (other, second) = fine[4]
    assert (one, other) == (Style(3, 3, 0.6), Style(3, 6, 0.6))
    assert (first, second) == pytest.approx((20 / 27, 7 / 27))
    assert [style.coarse for style in blend.styles] == [  # type: ignore[union-attr]
        Style(3, anchor, 0.9) for anchor in range(-4, 11)
    ]
    less = Drifting(3, MIXED._replace(drift=0.2)).blend(Window(0, 0, 1, 1))
    assert less.styles == (MixedStyle(Style(3, 0, 0.2), ((Style(3, 0, 0.2), 1.0),)),)


def test_on_a_cylinder_fine_styles_close_too() -> None:
    round_ = Drifting(3, MIXED).wrapped(40)  # 7 anchors, 2 calmer ones
    here, again = (round_.blend(Window(0, x, 1, 45)) for x in (3, 3 + 40 * 10**9))
    assert here.styles == again.styles
    np.testing.assert_array_equal(here.shares, again.shares)
    fine = {other.anchor for style in here.styles for other, _ in style.fine}  # type: ignore[union-attr]
    assert fine == {0, 4}
    np.testing.assert_array_equal(here.shares[:, 0, :5], here.shares[:, 0, 40:])


@pytest.mark.parametrize("psi", [1.0, 0.6])
def test_a_mixed_style_has_the_forms_of_one_and_the_light_of_others(psi: float) -> None:
    truncation = Truncation(random_model().generator, psi)
    one, two, three = Style(3, 1), Style(3, 2), Style(3, 3, 0.5)
    mixed = MixedStyle(one, ((two, 0.25), (three, 0.75)))
    z_global, w = latents_of([mixed, one, two, three], truncation)
    assert z_global[0].equal(z_global[1])
    assert w[0, :COARSE].equal(w[1, :COARSE])
    expected = 0.25 * w[2] + 0.75 * w[3]
    torch.testing.assert_close(w[0, COARSE:], expected[COARSE:])
    assert not torch.allclose(w[0, COARSE:], w[1, COARSE:], atol=0.01)


def test_where_all_drift_alike_mixing_changes_nothing() -> None:
    plain, mixed = (
        Scene(drifting_model(law), seed=3, precision="float32").render(0, -100, 100, 300)
        for law in (LAW, LAW._replace(fine_drift=0.6, fine_cells=6))
    )
    np.testing.assert_array_equal(plain, mixed)


def test_between_the_two_it_goes_over_from_row_to_row() -> None:
    blend = Drifting(3, LAW).blend(Window(0, 0, BAND + BEYOND_CELLS + FADE_CELLS, 1))
    own = blend.shares[blend.styles.index(Style(3, kept=KEPT_FAR)), :, 0]
    assert (own[: BAND + BEYOND_CELLS] == 0).all()
    assert (np.diff(own[BAND + BEYOND_CELLS - 1 :]) > 0).all()
    assert own[-1] == 1


def test_a_model_says_how_the_styles_of_its_planes_drift() -> None:
    model = drifting_model()
    told = Scene(model, seed=-5).identity()["styles"]
    expected = {"version": 3, "drift": 0.6, "spacing_cells": 6, "band_cells": BAND}
    expected |= {"fine_drift": None, "fine_cells": 192}
    assert told == {"kind": "drifting", "seed": 2**64 - 5, **expected}
    assert styles_from_plain(told) == Drifting(2**64 - 5, LAW)
    before = {key: value for key, value in told.items() if not key.startswith("fine")}
    assert styles_from_plain(before | {"version": 2}) == Drifting(2**64 - 5, LAW)
    assert "styles" not in Scene(random_model(), seed=5).identity()
    assert styles_of(5, LAW._replace(drift=0.0)) == OneStyle(Style(5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"drift": 2.0},
        {"spacing_cells": 0},
        {"drift": "much"},
        {"fine_drift": 2.0},
        {"fine_cells": 0},
    ],
)
def test_a_recipe_of_a_drift_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeError):
        styles_from_plain(Drifting(5, LAW).describe() | wrong)


@pytest.mark.parametrize("law", [LAW, MIXED])
def test_a_picture_of_a_drifting_model_is_painted_again_from_its_recipe(
    law: StyleLaw, tmp_path: Path
) -> None:
    folder = tmp_path / "drifts"
    model = drifting_model(law)
    save_model(folder, model.recipe, model.generator.state_dict(), "")
    scene = Scene(load_model(folder), seed=3)
    canvas = Canvas(scene, Window(0, 0, 120, 300), 0)
    for _ in paint_canvas(canvas, tmp_path / "one.tif"):
        pass
    again = canvas_of(read_recipe(tmp_path / "one.tif"), tmp_path, model=str(folder))
    assert again.scene.styles == scene.styles == Drifting(3, law)
    assert again.scene.identity() == scene.identity()


def test_a_box_drawn_again_leaves_the_styles_as_they_are() -> None:
    box = Window(6, 6, 2, 2)
    plain = SeededLatents(3)
    scenes = [
        Scene(drifting_model(), latents=latents, precision="float32")
        for latents in (plain, ReseededLatents(plain, (Reseed(box, 9),)))
    ]
    one, other = (scene.render(0, -200, 140, 600) for scene in scenes)
    changed = np.nonzero((one != other).any(axis=(0, 2)))[0] - 200
    reach = scenes[0].plan(0).affected(box)
    assert len(changed)
    assert reach.x <= changed.min() <= changed.max() < reach.x_span.stop


def test_patches_for_figures_are_painted_in_the_style_of_their_middle() -> None:
    """Style and plane agree where the style stands still: at an anchor."""
    model = drifting_model()
    slow = replace(model.recipe.render, style_cells=10**5)
    model = replace(model, recipe=replace(model.recipe, render=slow))
    painter = ModelPainter(model, view_of(model), "float32")
    (patch,) = painter.patches([(7, 3, 10**5)])
    scene = Scene(model, seed=7, precision="float32")
    expected = scene.render(*origin_px(model, 3, 10**5), *patch.shape[:2])
    assert np.abs(patch.astype(int) - expected).max() <= 1
    assert patch.std() > 5
    (far,) = painter.patches([(7, 3, 2 * 10**5)])  # where columns repeat, styles do not
    assert np.abs(patch.astype(int) - far).mean() > 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"style_drift": 1.1},
        {"style_drift": float("nan")},
        {"style_cells": 0},
        {"fine_drift": -0.1},
        {"fine_cells": 0},
        {"style_drift": 0.5, "fine_drift": 0.6},
        {"style_drift": 0.5, "style_cells": 30, "fine_drift": 0.4, "fine_cells": 29},
    ],
)
def test_a_drift_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="must be"):
        RenderConfig(**wrong)  # type: ignore[arg-type]
