"""Photographs pinned by hand on the planes of small models: random latents stand for found ones."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from small_models import SMALL_DETAIL, random_model

from infinite_render.fields.pins import Pin
from infinite_render.geometry import Window, windows_given
from infinite_render.models import Model
from infinite_render.rendering.around import Pinned, scene_around
from infinite_render.rendering.pinned import Photograph
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene


@cache
def ladder_model() -> Model:
    return random_model(detail=SMALL_DETAIL)


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Waves and a little noise, uint8 [h,w,3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 40
    waves = [np.sin(y * a + x * b + c) for a, b, c in rng.uniform(-2, 3, (3, 3))]
    grey = 128 + 80 * np.stack(waves, axis=2) + rng.normal(0, 6, (height, width, 3))
    return np.clip(grey, 0, 255).astype(np.uint8)


def random_pin(
    model: Model,
    size_px: tuple[int, int],
    place_px: tuple[int, int],
    depth: int,
    seed: int = 0,
    shift_cell: tuple[float, float] = (0.0, 0.0),
) -> Pin:
    """A pin whose latents were never inverted from anything."""
    config = model.recipe.generator
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    plan = BlockPlan(config, model.recipe.render, model.recipe.detail, 0)
    pixels = np.zeros((*size_px, 3), np.uint8)
    base = plan.windows_for(Photograph(pixels, place_px, depth).window_at(0))[0]
    z_window = plan.latent_window(base)
    noise_windows = tuple(windows_given(plan.texture, base)[1:])
    return Pin(
        model_digest=model.digest,
        depth=depth,
        size_px=size_px,
        place_px=place_px,
        shift_cell=shift_cell,
        z_global=drawn(config.global_dim),
        styles=drawn(2 * config.blocks + 1, config.global_dim),
        z_local=drawn(config.local_dim, *z_window[2:]),
        z_window=z_window,
        noise=tuple(drawn(*window[2:]) for window in noise_windows),
        noise_windows=noise_windows,
    )


def around(
    *windows: Window, depth: int = 0, seed: int = 5, precision: str = "float32"
) -> tuple[Scene, list[NDArray[np.uint8]]]:
    """A scene with a photograph pinned on each window, and the photographs."""
    model = ladder_model()
    pixels = [picture(*window[2:], i) for i, window in enumerate(windows)]
    pinned = [
        Pinned(random_pin(model, window[2:], window[:2], depth, i, (0.3, 2.0)), own)
        for i, (window, own) in enumerate(zip(windows, pixels, strict=True))
    ]
    return scene_around(model, pinned, seed=seed, precision=precision), pixels
