"""What a step draws and how patches are changed: pairs, labels, positions that stay true."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from landscapes import toy_recipe

from infinite_render.fields.local import band_weight
from infinite_render.nn.generator import build_generator
from infinite_render.nn.truncation import Truncation
from infinite_render.training.augment import augment, enlarge, sharpen, translate
from infinite_render.training.draws import CRITIC, Draws
from infinite_render.training.painting import draw_scene, noise_sizes, paint, share
from infinite_render.training.recipes import AugmentConfig, DataConfig, load_recipe
from infinite_render.training.sheets import strips


def draws(batch: int, rows: list[int] | None = None, images: int = 0, seed: int = 5) -> Draws:
    rows = list(range(batch)) if rows is None else rows
    return Draws(seed, images, CRITIC, rows=rows, batch=batch)


def test_rows_of_a_batch_are_those_rows_whoever_draws_them() -> None:
    whole, part = draws(8), draws(8, [1, 2, 5, 6])
    for shape in ((), (3,), (2, 4)):
        torch.testing.assert_close(part.normal(*shape), whole.normal(*shape)[[1, 2, 5, 6]])
    assert not torch.equal(draws(8).normal(4), draws(8, images=8).normal(4))
    assert not torch.equal(draws(8).normal(4), draws(8, seed=6).normal(4))


def test_pairs_share_all_but_local_latents_and_noise() -> None:
    scene = draw_scene(toy_recipe(), draws(8), paired=True, drift_floors=None)
    for values in (scene.z_global, scene.z_second, scene.crossover, scene.c, scene.position):
        assert torch.equal(values[:4], values[4:])
    assert not torch.equal(scene.z_local[:4], scene.z_local[4:])
    assert torch.equal(share(torch.arange(4)), torch.tensor([0, 1, 0, 1]))


def test_the_faithful_fault_mislabels_as_many_as_the_paper_had_rows_for() -> None:
    recipe = dataclasses.replace(load_recipe("paper"), batch=4000)
    small = dataclasses.replace(
        recipe.generator,
        local_dim=1,
        structure_layers=0,
        structure_dim=1,
        global_dim=1,
        texture_dims=(1,) * 4,
    )
    wrong = {}
    for faithful in (False, True):
        changed = dataclasses.replace(recipe, generator=small, faithful=faithful)
        scene = draw_scene(changed, draws(4000), paired=True, drift_floors=None)
        rows = ((scene.position + 1) / 2 * 9).round()
        true = torch.atanh(scene.c[:, 0, 0, 0].double().clamp(-0.999999, 0.999999)) / 3
        true_rows = ((true + 1) / 2 * 20).round()
        wrong[faithful] = (rows != true_rows).float().mean().item()
    assert wrong[False] == 0
    assert wrong[True] == pytest.approx(0.45, abs=0.03)  # half the batch, 9 of 10 rows


def test_the_label_is_where_the_patch_is() -> None:
    recipe = toy_recipe()
    config = recipe.generator
    scene = draw_scene(recipe, draws(64), paired=False, drift_floors=None)
    margin, span = config.structure_margin_cells, config.patch_cells + config.start_rows - 1
    tanh_v = scene.c[:, 0, margin, 0].double()
    row = (torch.atanh(tanh_v) / config.cut + 1) / 2 * span
    torch.testing.assert_close(
        row, (scene.position.double() + 1) / 2 * (config.start_rows - 1), atol=1e-3, rtol=0
    )
    assert (row.round() < config.start_rows).all()
    assert (row > -0.51).all()


def test_patches_outside_the_band_are_as_many_and_as_far_as_the_recipe_says() -> None:
    recipe = dataclasses.replace(
        toy_recipe(), data=DataConfig(image_px=53, outside=0.4, outside_rows=3)
    )
    recipe = dataclasses.replace(recipe, batch=2000)
    config = recipe.generator
    scene = draw_scene(recipe, draws(2000), paired=False, drift_floors=None)
    row = (scene.position + 1) / recipe.label_per_row  # a jitter of half a row among it
    last = config.start_rows - 1
    assert row.min() > -3.51
    assert row.max() < last + 3.51
    outside = (row < -0.5) | (row > last + 0.5)
    assert outside.float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert (row < -0.5).float().mean().item() == pytest.approx(0.2, abs=0.04)
    assert (row < -2.5).any()
    assert (row > last + 2.5).any()
    margin = config.structure_margin_cells
    first = torch.atanh(scene.c[:, 0, margin, 0].double())
    expected = config.cut * (2 * row.double() / config.span_cells - 1)
    torch.testing.assert_close(first, expected, atol=2e-2, rtol=0)


def test_a_share_of_local_latents_is_truncated_as_rendering_truncates_them() -> None:
    recipe = toy_recipe()
    drifting = dataclasses.replace(recipe.generator, drift=0.3)
    recipe = dataclasses.replace(recipe, generator=drifting, batch=400)
    plain = draw_scene(recipe, draws(400), paired=True, drift_floors=None)
    assert (plain.psi == 1).all()
    some = dataclasses.replace(recipe, truncated=0.5, truncation=0.7)
    scene = draw_scene(some, draws(400), paired=True, drift_floors=None)
    assert torch.equal(*scene.psi.chunk(2))  # a pair differs in its local latents alone
    narrow = scene.psi[:, 0] < 1
    assert scene.psi[narrow].unique().tolist() == pytest.approx([0.7])
    assert narrow.float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(scene.z_local[~narrow], plain.z_local[~narrow])

    # The same numbers are drawn, and psi^2 of them is left; of a patch's mean that is mostly drift.
    # Nearer to its mean beyond the band, row by row, as in a picture.
    margin, cells = recipe.generator.structure_margin_cells, plain.z_local.shape[2]
    first = (scene.position.double() + 1) / recipe.label_per_row - margin
    rows = first[:, None] + torch.arange(cells)
    weights = band_weight(rows, np.float64(0.7), recipe.generator.span_cells)
    assert weights.min().item() < 0.75
    assert weights.max().item() == 1
    in_band = torch.where(narrow[:, None], weights, 1.0).float()[:, None, :, None]
    truncated = scene.z_local / in_band
    own, kept = (z - z.mean(dim=(2, 3), keepdim=True) for z in (plain.z_local, truncated))
    torch.testing.assert_close(kept[narrow], 0.49 * own[narrow], atol=1e-5, rtol=1e-4)
    own_share = (0.49**2 * 0.91) / own[0, 0].numel()
    expected = math.sqrt((0.49 * 0.3) ** 2 + own_share)
    means = truncated[narrow].mean(dim=(2, 3))
    assert means.std().item() == pytest.approx(expected, rel=0.05)


def test_a_truncated_patch_is_truncated_as_rendering_truncates_it() -> None:
    recipe = dataclasses.replace(toy_recipe(), truncated=0.5, truncation=0.5)
    scene = draw_scene(recipe, draws(8), paired=False, drift_floors=None)
    narrow = scene.psi[:, 0] < 1
    assert 0 < narrow.sum() < 8
    generator = build_generator(recipe.generator)
    painted = paint(generator, scene, torch.float32, torch.contiguous_format)
    with torch.no_grad():
        whole = generator.mixed_style(scene.z_global, scene.z_second, scene.crossover)
        w = torch.where(narrow[:, None, None], Truncation(generator, 0.5).nearer(whole), whole)
        rgb, _ = generator(
            scene.psi * scene.z_global, scene.z_local, scene.c, w=w, noise=scene.noise
        )
    torch.testing.assert_close(painted.rgb, rgb)
    torch.testing.assert_close(painted.w, w)

    # Where styles are not mixed, what rendering makes of the global latent, both parts of it.
    plain = narrow & (scene.crossover == recipe.generator.styles)
    assert plain.any()
    z_global, rendered = Truncation(generator, 0.5).latents(scene.z_global[plain])
    torch.testing.assert_close(painted.w[plain], rendered)
    torch.testing.assert_close((scene.psi * scene.z_global)[plain], z_global)

    # The mapping learns from truncated patches, too.
    painted.rgb[narrow].square().sum().backward()
    gradients = [p.grad for p in generator.texture.mapping.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_noise_fits_the_generator_with_and_without_padding() -> None:
    for padding in (False, True):
        config = dataclasses.replace(
            toy_recipe().generator, padding=padding, patch_cells=8 if padding else 11
        )
        recipe = toy_recipe(generator=config)
        painted = paint(
            build_generator(config),
            draw_scene(recipe, draws(2), paired=False, drift_floors=None),
            torch.float32,
            torch.channels_last,
        )
        assert painted.rgb.shape == (2, 3, config.patch_px, config.patch_px)
        assert noise_sizes(config, config.patch_cells)[-1] == config.patch_px


def test_padding_is_what_a_canvas_larger_by_zeros_would_paint() -> None:
    # Far from the edges the padded texture is the padding-free one.
    config = dataclasses.replace(toy_recipe().generator, structure_layers=0, structure_dim=4)
    padded = build_generator(dataclasses.replace(config, padding=True))
    free = build_generator(config)
    free.load_state_dict(padded.state_dict())
    z, z_local = torch.randn(1, 8), torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        whole, _ = padded(z, z_local, z_local)
        inner, _ = free(z, z_local, z_local)
    start = 4 * 2 - 2  # first pixel of cell 0 in the padding-free texture
    size = inner.shape[2]
    torch.testing.assert_close(whole[:, :, start : start + size, start : start + size], inner)


def test_no_augmentation_changes_nothing() -> None:
    rgb, position = torch.randn(4, 3, 9, 9), torch.rand(4)
    same, still = augment(rgb, position, position, AugmentConfig(probability=0.0), draws(4))
    assert same is rgb
    assert still is position


def test_sharpening_amplifies_ripples_and_keeps_what_is_smooth() -> None:
    y = torch.arange(64).float()
    slope, ripples = y / 64, 0.02 * torch.sin(2 * math.pi * y / 9)  # nine: the mean's window
    rgb = (slope + ripples)[None, None, :, None].expand(2, 3, 64, 64)
    sharp = sharpen(rgb, torch.tensor([1.0, 4.0]))
    inner = slice(8, 56)
    torch.testing.assert_close(sharp[0], rgb[0])
    expected = (slope + 4 * ripples)[None, inner, None].expand(3, 48, 48)
    torch.testing.assert_close(sharp[1, :, inner, inner], expected)


def test_sharpening_alone_moves_nothing() -> None:
    rgb, position = torch.rand(16, 3, 33, 33), torch.rand(16)
    config = AugmentConfig(
        probability=1.0, brightness=0, saturation=0, contrast=0, translation=0, sharpness=4.0
    )
    seen, still = augment(rgb, position, torch.zeros(16), config, draws(16))
    assert torch.equal(still, position)
    mean = rgb.unfold(2, 9, 1).unfold(3, 9, 1).mean(dim=(4, 5))
    inner = (..., slice(4, -4), slice(4, -4))
    factor = ((seen[inner] - mean) / (rgb[inner] - mean)).flatten(1).median(dim=1).values
    assert 1 <= factor.min() < 2
    assert 3 < factor.max() <= 4
    expected = mean + factor[:, None, None, None] * (rgb[inner] - mean)
    torch.testing.assert_close(seen[inner], expected, atol=1e-4, rtol=1e-3)


def test_a_shifted_patch_is_labelled_where_it_now_is() -> None:
    # Every row holds its own position as its colour, so that the picture tells where it is.
    label_per_px = 0.02
    rows = torch.arange(33).float() * label_per_px - 0.3
    rgb = rows[None, None, :, None].expand(32, 3, 33, 33).contiguous()
    config = AugmentConfig(probability=1.0, brightness=0, saturation=0, contrast=0)
    shifted, position = augment(
        rgb, rgb[:, 0, 16, 16], torch.full((32,), label_per_px), config, draws(32)
    )
    torch.testing.assert_close(shifted[:, 0, 16, 16], position)
    assert position.unique().numel() > 3


def test_an_enlarged_part_is_labelled_where_it_was_and_then_shifted_by_its_own_pixels() -> None:
    label_per_px = 0.02
    rows = torch.arange(33).float() * label_per_px - 0.3
    rgb = rows[None, None, :, None].expand(32, 3, 33, 33).contiguous()
    config = AugmentConfig(
        probability=1.0, brightness=0, saturation=0, contrast=0, translation=0.05, zoom=3.0
    )
    part, position = augment(
        rgb, rgb[:, 0, 16, 16], torch.full((32,), label_per_px), config, draws(32)
    )
    torch.testing.assert_close(part[:, 0, 16, 16], position)
    steps = part[:, 0, 17, 16] - part[:, 0, 16, 16]  # smaller than label_per_px where enlarged
    assert steps.min() < 0.5 * label_per_px < 0.9 * label_per_px < steps.max()


def test_enlarging_by_one_keeps_every_pixel_and_by_two_shows_the_place_asked_for() -> None:
    rgb = torch.rand(2, 3, 8, 8)
    same, shift_px = enlarge(rgb, torch.ones(2), torch.rand(2, 2))
    torch.testing.assert_close(same, rgb)
    assert shift_px.tolist() == [0.0, 0.0]
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 3, 8, 8)
    left, shift_px = enlarge(ramp, torch.tensor([2.0]), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(
        left[0, 0, 0], torch.tensor([0.0, *(0.5 * i - 0.25 for i in range(1, 8))])
    )
    assert shift_px.tolist() == [2.0]


def test_translation_mirrors_beyond_the_edge() -> None:
    rgb = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    moved = translate(rgb, [[0, 2]], 2)
    assert moved[0, 0, 0].tolist() == [2.0, 3.0, 2.0, 1.0]


def test_augmentation_passes_gradients_and_happens_as_often_as_asked() -> None:
    rgb = torch.rand(400, 3, 8, 8, requires_grad=True)
    config = AugmentConfig(probability=0.3, saturation=0, contrast=0, translation=0.0)
    changed, _ = augment(rgb, torch.zeros(400), torch.zeros(400), config, draws(400))
    changed.sum().backward()
    torch.testing.assert_close(rgb.grad, torch.ones_like(rgb))
    share_changed = ((changed - rgb).abs().amax(dim=(1, 2, 3)) > 1e-6).float().mean().item()
    assert math.isclose(share_changed, 0.3, abs_tol=0.08)


def test_strips_of_a_sheet_are_truncated_as_the_model_will_paint() -> None:
    torch.manual_seed(0)
    recipe = toy_recipe()
    generator = build_generator(recipe.generator)
    truncated = dataclasses.replace(recipe, truncated=0.5, truncation=0.01)
    variety = [
        torch.stack(list(strips(generator, each, torch.device("cpu")))).std(dim=0).mean()
        for each in (recipe, truncated)
    ]
    assert variety[1] < 0.1 * variety[0]
