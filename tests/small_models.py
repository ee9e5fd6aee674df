"""Small models with random weights, none of them at a neutral value, to test rendering with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from infinite_render.config import DetailConfig, GeneratorConfig, ModelRecipe, RenderConfig
from infinite_render.models import Model
from infinite_render.nn.detail import DetailStep, build_detail
from infinite_render.nn.generator import Generator, build_generator

SMALL = GeneratorConfig(
    global_dim=8,
    local_dim=4,
    structure_dim=8,
    structure_layers=2,
    structure_radius=1,
    texture_dims=(8, 6, 5),
    mapping_layers=2,
    period_cells=13,
    drift=0.3,
    drift_cells=7,
)

SMALL_DETAIL = DetailConfig(low_dim=5, low_layers=2, up_dim=4, high_dim=3, zooms=2)


def random_generator(config: GeneratorConfig, seed: int = 0) -> Generator:
    """A generator in evaluation mode whose biases and noise strengths are not zero either."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = build_generator(config)
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                if name.endswith("noise_strength"):
                    parameter.copy_(0.2 + 0.3 * torch.rand(()))
                elif name.endswith("bias"):
                    parameter.add_(0.2 * torch.randn_like(parameter))
                elif "to_rgb.conv.weight" in name:
                    parameter.mul_(0.12)  # a picture within [-1, 1], clipped only here and there
    return generator.eval().requires_grad_(False)


def random_detail(config: DetailConfig, seed: int = 0) -> DetailStep:
    """A step of the detail ladder none of whose parameters is at a neutral value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        step = build_detail(config)
        with torch.no_grad():
            for parameter in step.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return step.eval().requires_grad_(False)


def truncated(model: Model, psi: float = 0.7) -> Model:
    """The model with a truncation of its own."""
    render = dataclasses.replace(model.recipe.render, truncation=psi)
    return dataclasses.replace(model, recipe=dataclasses.replace(model.recipe, render=render))


def random_model(
    config: GeneratorConfig = SMALL,
    *,
    cell_px: int = 64,
    block_px: int = 128,
    seed: int = 0,
    detail: DetailConfig | None = None,
) -> Model:
    """A model that lies in no folder."""
    recipe = ModelRecipe("random", config, RenderConfig(cell_px, block_px), detail)
    step = None if detail is None else random_detail(detail, seed)
    return Model("random", Path(), recipe, random_generator(config, seed), step)
