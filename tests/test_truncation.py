"""The truncation trick: what psi does to the latents, to a scene and to a picture's identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from pinned_scenes import ladder_model, random_pin
from small_models import SMALL, random_generator, random_model

from infinite_render.config import RenderConfig
from infinite_render.errors import RecipeError
from infinite_render.evaluation.painters import ModelPainter, view_of
from infinite_render.fields.continued import ContinuedLatents, cells_of
from infinite_render.fields.latents import LatentField, SeededLatents
from infinite_render.fields.local import ALONE, LocalLaw, band_weights
from infinite_render.fields.pins import PinnedLatents
from infinite_render.fields.reseeded import Reseed, ReseededLatents
from infinite_render.fields.styles import OneStyle, Style
from infinite_render.fields.wrapped import WrappedLatents
from infinite_render.geometry import Window
from infinite_render.nn.truncation import Truncation
from infinite_render.noise import Array
from infinite_render.rendering.scene import Scene


def picture_of(scene: Scene) -> str:
    return hashlib.sha256(scene.render(-30, 17, 90, 110).tobytes()).hexdigest()


def test_at_one_the_latents_are_the_generators_own() -> None:
    generator = random_generator(SMALL)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    z_global, w = Truncation(generator, 1.0).latents(z)
    assert torch.equal(z_global, z)
    assert torch.equal(w, generator.style(z))


def test_at_zero_every_seed_has_the_mean_style() -> None:
    generator = random_generator(SMALL)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    z_global, w = Truncation(generator, 0.0).latents(z)
    assert not z_global.any()
    assert torch.equal(w, w[:1].expand_as(w))
    many = torch.randn(20_000, 8, generator=torch.Generator().manual_seed(1))
    styles = generator.style(many)[:, 0]
    error = (w[0, 0] - styles.mean(dim=0)).abs() / styles.std(dim=0)
    assert error.max() < 5 / 4096**0.5  # five standard errors of a mean of 4,096


def test_a_style_without_a_mapping_is_truncated_too() -> None:
    generator = random_generator(replace(SMALL, mapping_layers=0))
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    ends = [Truncation(generator, psi).latents(z)[1].norm(dim=-1).max() for psi in (0.5, 1.0)]
    assert 0 < ends[0] < ends[1]


def test_between_the_latents_lie_on_the_line_to_the_mean() -> None:
    generator = random_generator(SMALL)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    ends = [Truncation(generator, psi).latents(z)[1] for psi in (0.0, 1.0)]
    z_global, between = Truncation(generator, 0.25).latents(z)
    torch.testing.assert_close(z_global, 0.25 * z)
    share = (between - ends[0]).norm(dim=-1) / (ends[1] - ends[0]).norm(dim=-1)
    torch.testing.assert_close(between, torch.lerp(ends[0], ends[1], share[..., None]))
    assert share.max() == pytest.approx(0.25)


def test_no_style_is_farther_from_the_mean_than_a_share_psi_of_all() -> None:
    generator, psi = random_generator(SMALL), 0.5
    z = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    w = generator.style(z)[:, 0]
    mean = Truncation(generator, 0.0).latents(z)[1][0, 0]
    distance = (w - mean).norm(dim=-1)
    truncated = (Truncation(generator, psi).latents(z)[1][:, 0] - mean).norm(dim=-1)
    limit = truncated.max() / psi
    assert (distance <= limit).float().mean() == pytest.approx(psi, abs=0.04)
    torch.testing.assert_close(truncated, psi * distance.clamp(max=limit))


AROUND = Window(-8, -30, 30, 70)


@pytest.mark.parametrize(
    "field",
    [
        SeededLatents(5),
        ReseededLatents(SeededLatents(5), (Reseed(Window(-2, 4, 6, 9), 77),)),
        WrappedLatents(SeededLatents(5), 13, SMALL.blocks),
    ],
)
def test_every_drawn_local_latent_shrinks(field: LatentField) -> None:
    drawn, half = field.z_local(AROUND, 4), LocalLaw(0.5)
    np.testing.assert_array_equal(field.z_local(AROUND, 4, half), drawn * np.float32(0.25))
    np.testing.assert_array_equal(field.z_local(AROUND, 4, LocalLaw(1.0)), drawn)


@pytest.mark.parametrize("around", [PinnedLatents, ContinuedLatents])
def test_local_latents_that_an_inversion_found_stay(
    around: type[PinnedLatents | ContinuedLatents],
) -> None:
    pin = random_pin(ladder_model(), (90, 130), (-21, 67), 0, 0)
    field, seeded = around(SeededLatents(5), (pin,)), SeededLatents(5)
    own, far = cells_of(pin), Window(200, 0, 4, 4)
    found = pin.z_local[:, *own.within(pin.z_window)]
    law = LocalLaw(0.25)
    np.testing.assert_array_equal(field.z_local(own, 4, law), found)
    np.testing.assert_array_equal(field.z_local(far, 4, law), seeded.z_local(far, 4, law))


def test_a_picture_is_that_of_local_latents_by_the_square_of_psi() -> None:
    @dataclass(frozen=True)
    class Shrunk(SeededLatents):
        def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
            assert law.psi == 0.5
            whole = super().z_local(window_cell, dim, replace(law, psi=1.0))
            in_band = band_weights(window_cell.y_span, law.psi, SMALL.span_cells)[:, None]
            return whole * np.float32(0.25) * in_band

    model = random_model(replace(SMALL, drift=0.0))
    shrunk = Scene(model, latents=Shrunk(3), truncation=0.5)
    assert picture_of(shrunk) == picture_of(Scene(model, seed=3, truncation=0.5))


def test_pictures_of_another_truncation_are_told_apart() -> None:
    model = random_model(SMALL)
    assert Scene(model, truncation=0.5).identity()["truncation_version"] == 7
    assert "truncation_version" not in Scene(model).identity()  # nothing is truncated


def test_a_scene_takes_the_models_own_truncation_unless_told() -> None:
    model = random_model(SMALL)
    own = replace(model, recipe=replace(model.recipe, render=RenderConfig(64, 128, 0.5)))
    assert picture_of(Scene(own, seed=3)) == picture_of(Scene(model, seed=3, truncation=0.5))
    assert picture_of(Scene(own, seed=3, truncation=1.0)) == picture_of(Scene(model, seed=3))
    assert Scene(own).identity()["truncation"] == 0.5


def test_truncation_changes_the_picture_and_its_identity() -> None:
    model = random_model(SMALL)
    scenes = [Scene(model, seed=3, truncation=psi) for psi in (0.0, 0.5, 1.0)]
    assert len({picture_of(scene) for scene in scenes}) == 3
    assert len({scene.identity()["truncation"] for scene in scenes}) == 3


def test_a_uniform_style_field_gives_the_truncated_picture() -> None:
    model = random_model(SMALL)
    plain = Scene(model, seed=3, truncation=0.6)
    styled = Scene(model, seed=3, truncation=0.6, styles=OneStyle(Style(3)))
    assert picture_of(plain) == picture_of(styled)


def test_the_evaluations_patches_are_truncated_as_the_scene_is() -> None:
    model = random_model(SMALL)
    painter = ModelPainter(model, view_of(model), "float32", truncation=0.5)
    (patch,) = painter.patches([(3, 0, 0)])
    scene = Scene(model, seed=3, precision="float32", truncation=0.5)
    first_px = model.recipe.generator.band_px[0]
    rendered = scene.render(first_px, first_px, *patch.shape[:2])
    assert np.abs(patch.astype(int) - rendered).max() <= 1


@pytest.mark.parametrize("psi", [-0.1, 1.5, float("nan")])
def test_a_truncation_beyond_its_range_is_named(psi: float) -> None:
    with pytest.raises(RecipeError, match="must lie between 0 and 1"):
        Scene(random_model(SMALL), truncation=psi)
