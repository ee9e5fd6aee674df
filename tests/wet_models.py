"""Small models with lakes, and inputs over which a lake widens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from small_models import SMALL, random_model
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.local import LocalLaw
from infinite_render.geometry import Window
from infinite_render.models import Model
from infinite_render.nn.coordinates import window_grid
from infinite_render.nn.lakes import Lakes

CONFIG = replace(SMALL, shore=0.4)


LEVEL = torch.zeros(1)  # no relief


def lakes_of(model: Model) -> Lakes:
    lakes = model.generator.structure.lakes
    assert lakes is not None
    return lakes


def dry_like(model: Model) -> Model:
    """The same weights without lakes."""
    dry = random_model(SMALL)
    dry.generator.load_state_dict(model.generator.state_dict(), strict=False)
    return dry


def inputs(config: GeneratorConfig) -> tuple[Tensor, Tensor, Tensor]:
    """z_g, z_l, c over 40 rows; a lake begins at the left and widens to the right."""
    m = config.structure_margin_cells
    window = Window(-m, 5 - m, 40 + 2 * m, 30 + 2 * m)
    z_global = SeededLatents(3).z_global(config.global_dim)
    z_local = SeededLatents(3).z_local(window, config.latent_dim, LocalLaw.of(config))
    z_local[config.local_dim :] = np.linspace(-0.5, 2.0, window.width)
    c = window_grid(
        window, cut=config.cut, span_cells=config.span_cells, period_cells=config.period_cells
    )
    return torch.from_numpy(z_global), torch.from_numpy(z_local)[None], c
