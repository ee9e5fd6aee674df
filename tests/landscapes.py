"""Small photographs for the training tests: a sky over a ground, drawn from a seed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyvips

from infinite_render.training.recipes import CriticConfig, TrainRecipe, load_recipe

PHOTOGRAPHS = 6  # in the folder that training tests share


def landscape(seed: int, height: int = 64, width: int = 96) -> np.ndarray:
    """A blue sky over a green ground with a wavy edge, uint8 [height,width,3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    edge = height * 0.5 + 4 * np.sin(x / width * 2 * np.pi * random.integers(1, 4))
    sky, ground = random.integers(120, 255, 3), random.integers(0, 110, 3)
    picture = np.where((y < edge)[..., None], sky, ground) + random.normal(0, 6, (height, width, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_landscapes(folder: Path, count: int, height: int = 64, width: int = 96) -> Path:
    """`count` JPEGs in `folder`; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        image = pyvips.Image.new_from_array(landscape(seed, height, width))
        image.write_to_file(str(folder / f"{seed:03d}.jpg"), Q=95)
    return folder


def toy_recipe(**changes: object) -> TrainRecipe:
    """`tiny` made much smaller: a step takes milliseconds."""
    tiny = load_recipe("tiny")
    generator = dataclasses.replace(
        tiny.generator,
        global_dim=8,
        local_dim=4,
        structure_dim=8,
        structure_layers=2,
        structure_radius=1,
        texture_dims=(8, 8),
        mapping_layers=2,
    )
    recipe = dataclasses.replace(
        tiny,
        generator=generator,
        critic=CriticConfig(kind="residual", dims=(8, 8, 16, 16)),
        loss=dataclasses.replace(
            tiny.loss, adversarial="logistic", r1=10.0, r1_every=4, path=2.0, path_every=2
        ),
        batch=8,
        images=96,
        interval_images=32,
        precision="float32",
    )
    return dataclasses.replace(recipe, **changes)  # type: ignore[arg-type]
