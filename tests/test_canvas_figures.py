"""Seams, repetition and memory: what must be found is found, and what is not there is not."""

from __future__ import annotations

import numpy as np
import pytest
from small_models import random_model

from infinite_render.errors import UsageError
from infinite_render.evaluation import canvases
from infinite_render.evaluation.memorisation import (
    TrainingPatches,
    Unseen,
    lattice_thumbnails,
    nearest_by_features,
    nearest_by_pixels,
    spread,
)
from infinite_render.evaluation.nearest import nearest_distance
from infinite_render.evaluation.painters import ModelPainter, view_of
from infinite_render.evaluation.photographs import Photographs
from infinite_render.evaluation.protocols import Pictures
from infinite_render.evaluation.repetition import repetition
from infinite_render.evaluation.seams import seam_ratio
from infinite_render.evaluation.sets import thumbnails
from infinite_render.evaluation.work import finish
from infinite_render.geometry import Window


def smooth_noise(height: int, width: int, seed: int = 0, step: int = 8) -> np.ndarray:
    """Blotches of a few px, uint8 [height,width,3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-height // step), -(-width // step), 3))
    fine = np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)[:height, :width]
    noise = rng.normal(0, 3, fine.shape)
    return np.clip(fine + noise, 0, 255).astype(np.uint8)


def test_a_rendered_canvas_has_no_seams() -> None:
    model = random_model(cell_px=64, block_px=128)
    found = finish(canvases.seams(ModelPainter(model, view_of(model)), 1 << 19, 0, 2))
    assert found.low < 1 < found.high
    assert found.high - found.low < 0.05
    assert (found.cell_px, found.segments) == (64, 108)


def test_a_seam_of_three_grey_levels_is_found() -> None:
    """Every other cell of a rendered canvas a little brighter, as tiles normalised apart are."""
    model = random_model(cell_px=64, block_px=128)
    painter = ModelPainter(model, view_of(model))
    scene = finish(
        canvases.render_canvas(painter, model.recipe.render, Window(0, 0, 512, 512), 0, 2, "")
    )
    bright = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((64, 64), np.int64))
    seamed = np.clip(scene.astype(np.int64) + 3 * bright[..., None], 0, 255).astype(np.uint8)
    assert seam_ratio(scene, 0, 0, 64, 8).low < 1
    assert seam_ratio(seamed, 0, 0, 64, 8).low > 1.0


def test_seams_are_sought_at_the_planes_own_borders() -> None:
    """A window that begins between borders: a step is found where the plane has its cell."""
    picture = smooth_noise(400, 400, step=400)
    picture = np.minimum(picture, 200)
    picture[:, 156:] += 40  # at x = 1156 of the plane
    assert seam_ratio(picture, 0, 1000, 1156, 2).low > 2
    assert seam_ratio(picture, 0, 1000, 1200, 2).low < 1.2


def test_a_canvas_without_borders_has_no_seams_to_measure() -> None:
    with pytest.raises(UsageError, match="give a larger canvas"):
        seam_ratio(smooth_noise(64, 64), 0, 0, 512, 8)


PHOTOGRAPHS = [smooth_noise(96, 128, seed) for seed in range(8)]


def test_a_canvas_as_varied_as_photographs_has_a_ratio_of_one() -> None:
    found = repetition(smooth_noise(96, 6000, 100), PHOTOGRAPHS, period_px=704)
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert found.closest > 0.7 * found.photographs
    assert found.lag_low * 2 < found.at_period < found.lag_high * 2


def test_a_repeated_canvas_is_found_by_blocks_and_by_its_period() -> None:
    tile = smooth_noise(96, 704, 5)
    found = repetition(np.tile(tile, (1, 8, 1)), PHOTOGRAPHS, period_px=704)
    assert found.closest == 0
    assert found.at_period > 0.99 > found.lag_high


def test_a_canvas_too_short_to_repeat_is_refused() -> None:
    with pytest.raises(UsageError, match="it must be at least"):
        repetition(smooth_noise(96, 800), PHOTOGRAPHS, period_px=700)
    with pytest.raises(UsageError, match="too short for a period of 9000 px"):
        repetition(smooth_noise(96, 2000), PHOTOGRAPHS, period_px=9000)


def test_the_nearest_is_the_plain_minimum() -> None:
    rng = np.random.default_rng(0)
    queries, candidates = rng.integers(0, 256, (9, 48)), rng.integers(0, 256, (5000, 48))
    plain = np.sqrt(((queries[:, None] - candidates[None]) ** 2).mean(axis=2))
    found = nearest_distance(queries.astype(np.uint8), candidates.astype(np.uint8))
    assert found == pytest.approx(plain.min(axis=1), rel=1e-4)
    odd = nearest_distance(
        queries, candidates, lambda part: np.tile(np.arange(5000)[part] % 2 == 1, (9, 1))
    )
    assert odd == pytest.approx(plain[:, 1::2].min(axis=1), rel=1e-4)


def cut_at_random(photographs: Photographs, count: int, seed: int) -> tuple[Pictures, np.ndarray]:
    rng = np.random.default_rng(seed)
    source = rng.integers(0, len(photographs), count)
    pixels = []
    for i in source:
        y, x = rng.integers(0, 96 - 53), rng.integers(0, 128 - 53)
        pixels.append(photographs.pictures[i][y : y + 53, x : x + 53])
    return np.stack(pixels), source


def test_copies_of_training_patches_are_found_and_new_ones_are_not() -> None:
    photographs = Photographs(tuple(PHOTOGRAPHS), 96, "digest", 8, ())
    lattice, source = lattice_thumbnails(photographs, 53)
    unseen_pixels, unseen_source = cut_at_random(photographs, 100, 1)
    features = np.random.default_rng(2).normal(size=(200, 6)).astype(np.float32)
    unseen = Unseen(thumbnails(unseen_pixels), features[:100], unseen_source)
    training = TrainingPatches(lattice, source, features, np.arange(200))

    copied = thumbnails(cut_at_random(photographs, 100, 3)[0][:, :, ::-1])  # mirrored
    assert nearest_by_pixels(training, copied, unseen).copies > 0.9
    others = Photographs(tuple(smooth_noise(96, 128, 50 + i) for i in range(8)), 96, "d", 8, ())
    new = thumbnails(cut_at_random(others, 100, 3)[0])
    assert nearest_by_pixels(training, new, unseen).copies < 0.05

    own = Unseen(unseen.thumbs, features[:100], np.arange(100))
    assert nearest_by_features(training, features[:100] + 1e-3, own).copies == 1
    assert nearest_by_features(training, features[:100] + 9, own).copies == 0


def test_few_faces_are_little_spread() -> None:
    features = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    collapsed = np.tile(features[:4], (100, 1))
    assert spread(collapsed) < 0.9 * spread(features)
