"""The part of local latents that drifts: its law, its windows, its cylinder, its training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from landscapes import toy_recipe
from small_models import SMALL, random_model, truncated

from infinite_render.config import GeneratorConfig
from infinite_render.errors import RecipeError
from infinite_render.evaluation.painters import ModelPainter, view_of
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.local import LocalLaw, band_weights, drift_in, local_latents
from infinite_render.fields.wrapped import WrappedLatents
from infinite_render.geometry import Window
from infinite_render.models import Model
from infinite_render.nn.floors import Floor, Floors
from infinite_render.rendering.scene import Scene
from infinite_render.training import sheets
from infinite_render.training.draws import Draws
from infinite_render.training.lessons import frames_recipe, painted_frames
from infinite_render.training.looking import look_at
from infinite_render.training.painting import Scene as PatchScene
from infinite_render.training.painting import draw_scene

LAW = LocalLaw(drift=0.6, drift_cells=7)
FAR = 2**37


@pytest.mark.parametrize("corner", [(0, 0), (-33, -20), (FAR, -FAR), (-FAR - 5, FAR + 3)])
@pytest.mark.parametrize("wrap", [None, 23])
@pytest.mark.parametrize("psi", [1.0, 0.7])
def test_a_window_of_a_window_is_that_window(
    corner: tuple[int, int], wrap: int | None, psi: float
) -> None:
    law = replace(LAW, wrap_cells=wrap, psi=psi, band_cells=19)
    outer = Window(*corner, 30, 41)
    whole = local_latents(5, outer, 3, law)
    for y, x, height, width in ((0, 0, 1, 1), (3, 9, 20, 7), (29, 40, 1, 1), (6, 13, 8, 14)):
        inner = Window(outer.y + y, outer.x + x, height, width)
        part = local_latents(5, inner, 3, law)
        np.testing.assert_array_equal(part, whole[:, *inner.within(outer)])


def test_without_drift_latents_are_the_noise_field_alone() -> None:
    window = Window(-4, 9, 6, 8)
    alone = local_latents(5, window, 3)
    np.testing.assert_array_equal(local_latents(5, window, 3, LocalLaw(drift_cells=9)), alone)
    assert not (local_latents(5, window, 3, LAW) == alone).any()


def test_latents_keep_their_variance_and_are_alike_over_the_drift_alone() -> None:
    z = local_latents(1, Window(0, 0, 700, 700), 8, LAW).astype(np.float64)
    assert abs(z.mean()) < 0.03
    assert abs(z.var() - 1) < 0.02
    # The drift holds all that neighbours share; two nodes away nothing is left of it.
    near, far = (z[:, :, :-k] * z[:, :, k:] for k in (1, 15))
    assert abs(near.mean() - 0.36) < 0.03
    assert abs(far.mean()) < 0.02


def test_truncation_takes_local_latents_by_the_square_of_psi() -> None:
    window = Window(-4, 9, 6, 8)
    whole = local_latents(5, window, 3, LAW)
    half = local_latents(5, window, 3, replace(LAW, psi=0.5))
    np.testing.assert_array_equal(half, whole / 4)
    assert not local_latents(5, window, 3, replace(LAW, psi=0.0)).any()


def test_truncated_latents_lie_nearer_to_their_mean_beyond_the_band() -> None:
    law = replace(LAW, psi=0.5, band_cells=16)
    window = Window(-40, 9, 96, 8)  # about the band's middle, 7.5
    by_row = band_weights(window.y_span, law.psi, 16)
    everywhere = local_latents(5, window, 3, replace(law, band_cells=None))
    np.testing.assert_array_equal(local_latents(5, window, 3, law), everywhere * by_row[:, None])
    np.testing.assert_array_equal(by_row[40 + 4 : 40 + 12], 1)
    np.testing.assert_array_equal(by_row[: 40 - 8], 0.5)  # in the sky
    np.testing.assert_array_equal(by_row[40 + 16 + 8 :], 0.125)  # in the ground
    assert (np.diff(by_row[40 - 5 : 40 + 5]) > 0).all()
    assert (np.diff(by_row[40 + 11 : 40 + 21]) < 0).all()


def test_without_truncation_latents_are_the_same_beyond_the_band() -> None:
    window = Window(-60, FAR, 99, 8)
    np.testing.assert_array_equal(
        local_latents(5, window, 3, replace(LAW, band_cells=16)), local_latents(5, window, 3, LAW)
    )


@pytest.mark.parametrize("wrap", [3, 7, 23, 24])
def test_on_a_cylinder_the_drift_goes_over_its_seam_smoothly(wrap: int) -> None:
    law = LocalLaw(drift=0.999999, drift_cells=7)
    field = WrappedLatents(SeededLatents(5), wrap, SMALL.blocks)
    z = field.z_local(Window(0, -wrap, 50, 3 * wrap), 8, law)
    np.testing.assert_array_equal(z[:, :, :wrap], z[:, :, wrap : 2 * wrap])
    steps = np.abs(np.diff(z, axis=2)).mean(axis=(0, 1))  # 1.1 between independent draws
    assert steps[wrap - 1] < 2 * steps[: wrap - 1].max()
    assert steps.max() < 0.5


def test_a_canvas_of_a_drifting_model_changes_with_drift_and_its_cells() -> None:
    pictures = {
        Scene(random_model(config), seed=3).render(0, 0, 40, 40).tobytes()
        for config in (
            SMALL,
            replace(SMALL, drift=0.2),
            replace(SMALL, drift_cells=8),
            replace(SMALL, drift=0.0),
        )
    }
    assert len(pictures) == 4


def test_in_training_a_patch_has_one_drift_a_channel() -> None:
    toy = replace(toy_recipe(), batch=64)
    recipe = replace(toy, generator=replace(toy.generator, drift=0.6))

    def numbers() -> Draws:
        return Draws(0, 0, 0, rows=range(64), batch=64)

    z = draw_scene(recipe, numbers(), paired=True, drift_floors=None).z_local.double()
    assert abs(z.var().item() - 1) < 0.05
    drift = (z - 0.8 * draw_scene(toy, numbers(), paired=True, drift_floors=None).z_local) / 0.6
    assert torch.allclose(drift, drift[:, :, :1, :1].expand_as(drift), atol=1e-5)
    assert abs(drift[:, :, 0, 0].std().item() - 1) < 0.2
    assert not torch.allclose(drift[:32], drift[32:])


@pytest.mark.parametrize("given", [{"drift": 1.0}, {"drift": -0.1}, {"drift_cells": 0}])
def test_an_impossible_drift_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="drift"):
        GeneratorConfig(**given)  # type: ignore[arg-type]


SHEETS = sheets.patches, sheets.strips
FLOORED = replace(
    LAW,
    psi=0.7,
    floors=(Floor((0.0, 1.0, -1.0), (0.0, 0.5, -0.5), 1.5), Floor((1.0, 0.0, 0.0), (1, 0, 0), 0.0)),
)


@pytest.mark.parametrize("wrap", [None, 23])
def test_the_drift_is_kept_up_to_its_floors_at_every_place(wrap: int | None) -> None:
    law = replace(FLOORED, wrap_cells=wrap)
    window = Window(-70, 7 * FAR, 40, 90)
    before = drift_in(5, window, 3, replace(law, floors=()))
    after = drift_in(5, window, 3, law)
    read, now = (x[1] - x[2] for x in (before, after))
    assert 0.02 < (read > 1.5).mean() < 0.3
    np.testing.assert_allclose(now, np.maximum(read, 1.5), atol=1e-5)
    np.testing.assert_allclose(after[0], np.maximum(before[0], 0), atol=1e-6)
    np.testing.assert_allclose(after[1] + after[2], before[1] + before[2], atol=1e-5)
    part = window._replace(y=window.y + 3, x=window.x + 11, height=9, width=40)
    np.testing.assert_array_equal(drift_in(5, part, 3, law), after[:, *part.within(window)])


def test_latents_that_are_not_truncated_have_no_floors() -> None:
    floors = Floors.of(torch.eye(4)[:1], torch.eye(4)[:1], torch.tensor([9.0]))
    assert LocalLaw.of(SMALL, 1.0, floors) == LocalLaw.of(SMALL)
    assert LocalLaw.of(SMALL, 0.7, floors).floors == floors.each() != ()


def model_with_floor(least: float, psi: float = 0.7) -> Model:
    model = truncated(random_model(replace(SMALL, drift_floors=("smears",))), psi)
    floors = model.generator.drift_floors
    assert floors is not None
    floors.reads[0, 1] = floors.moves[0, 1] = 1.0
    floors.least[0] = least
    return model


def test_pictures_and_patches_of_evaluation_have_the_drift_that_floors_leave() -> None:
    def painted(model: Model) -> list[bytes]:
        scene = Scene(model, seed=3)
        patch = ModelPainter(model, view_of(model), "float32").patches([(3, 2, 4)])
        return [scene.render(0, 0, 40, 40).tobytes(), *(each.tobytes() for each in patch)]

    plain, low, high = (
        painted(model)
        for model in (truncated(random_model(SMALL)), model_with_floor(-99), model_with_floor(2))
    )
    assert plain == low
    assert [a == b for a, b in zip(low, high, strict=True)] == [False] * len(low)
    whole = truncated(model_with_floor(2), 1.0)
    assert painted(whole) == painted(random_model(SMALL))


def test_frames_and_sheets_have_the_drift_that_floors_leave() -> None:
    def painted(least: float) -> list[bytes]:
        model = model_with_floor(least)
        recipe = replace(frames_recipe(model, seed=0), truncated=1.0)
        _, looked_at = next(look_at(model, 1, 0, torch.float32))
        frame, *_ = painted_frames(model, recipe, 0)
        shown = [next(kind(model.generator, recipe, torch.device("cpu"))) for kind in SHEETS]
        arrays = [looked_at.rgb.numpy(), frame.rgb, *(sheet.numpy() for sheet in shown)]
        return [array.tobytes() for array in arrays]

    low, high = painted(-99), painted(2)
    assert low == painted(-100)
    assert [a == b for a, b in zip(low, high, strict=True)] == [False] * len(low)


def test_in_training_truncated_patches_have_the_drift_that_floors_leave() -> None:
    toy = replace(toy_recipe(), batch=64, truncated=0.5, truncation=0.7)
    recipe = replace(toy, generator=replace(toy.generator, drift=0.6))
    dim = recipe.generator.local_dim
    floors = Floors.of(torch.eye(dim)[:1], torch.eye(dim)[:1], torch.tensor([3.0]))

    def drawn(given: Floors | None) -> PatchScene:
        numbers = Draws(0, 0, 0, rows=range(64), batch=64)
        return draw_scene(recipe, numbers, paired=True, drift_floors=given)

    scene, floored = drawn(None), drawn(floors)
    moved = (floored.z_local - scene.z_local)[:, 0]
    narrow = scene.psi[:, 0] < 1
    assert 0 < narrow.sum() < 64
    assert not moved[~narrow].any()
    assert (moved[narrow] > 0).all()
    most = moved.amax(dim=(1, 2))[narrow] / (0.6 * 0.7**2)  # in mid-band rows, which keep all
    assert 2 < most.mean() < 4  # of 3 less N(0, 1)
    assert floored.z_local[:, 1:].equal(scene.z_local[:, 1:])


def test_floors_of_a_drift_that_a_generator_lacks_are_refused() -> None:
    with pytest.raises(RecipeError, match="drift_floors are of what drifts, and drift = 0"):
        GeneratorConfig(drift_floors=("smears",))
    with pytest.raises(RecipeError, match="no more of them than local_dim, here 2"):
        GeneratorConfig(local_dim=2, drift=0.3, drift_floors=("a", "b", "c"))
