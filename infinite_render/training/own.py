"""Pictures of a base model, painted once, that the detail ladder climbs while it is trained.

They have no photograph at the next level: what is painted over them is only judged. So the ladder
meets the base model's own faults, and not only photographs without any.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.geometry import Window
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.nn.generator import Generator
from infinite_render.training.painting import noise_sizes, with_channel_of_lakes

STRIPS = 96
WIDTH_CELLS = 40
STREAM = 1  # of the seed: where patches are cut


@torch.no_grad()
def paint_strip(generator: Generator, config: GeneratorConfig, numbers: torch.Generator) -> Tensor:
    """A strip as high as the trained band, from fresh latents: float32 [3,H,W]."""
    margin = config.structure_margin_cells
    height = config.span_cells
    start = int(torch.randint(config.period_cells, (), generator=numbers))
    cells = Window(-margin, start - margin, height + 2 * margin, WIDTH_CELLS + 2 * margin)
    c = coordinates.window_grid(
        cells, cut=config.cut, span_cells=height, period_cells=config.period_cells
    )
    sides = zip(noise_sizes(config, height), noise_sizes(config, WIDTH_CELLS), strict=True)
    z_global = torch.randn(1, config.global_dim, generator=numbers)
    z_local = torch.randn(1, config.local_dim, cells.height, cells.width, generator=numbers)
    if config.shore is not None:
        z_local = with_channel_of_lakes(z_local, torch.randn(1, 1, 1, 1, generator=numbers))
    noise = [torch.randn(1, 1, y, x, generator=numbers) for y, x in sides]
    rgb: Tensor = generator(z_global, z_local, c, noise=noise)[0][0]
    return rgb


class OwnPictures:
    """Strips of a generator as they would be shown, in bytes, and the patches cut from them."""

    def __init__(self, base: Model, seed: int, device: torch.device) -> None:
        numbers = torch.Generator().manual_seed(seed)
        strips = [
            paint_strip(base.generator, base.recipe.generator, numbers) for _ in range(STRIPS)
        ]
        stacked = torch.stack(strips).clamp(-1, 1)
        self.strips = ((stacked + 1) * 127.5).round().to(torch.uint8)  # [K,3,H,W]
        self.device = device

    def batch(self, seed: int, images: int, count: int, side: int) -> Tensor:
        """`count` patches of `side` px: float32 [count,3,side,side], a function of the numbers."""
        draws = np.random.Generator(np.random.Philox(key=[seed, images]).jumped(STREAM))
        strips, height, width = (self.strips.shape[i] for i in (0, 2, 3))
        patches = []
        for u_strip, u_y, u_x, u_flip in draws.random((count, 4)):
            y, x = int(u_y * (height - side + 1)), int(u_x * (width - side + 1))
            patch = self.strips[int(u_strip * strips), :, y : y + side, x : x + side]
            patches.append(patch.flip(2) if u_flip < 0.5 else patch)
        return torch.stack(patches).to(self.device).float() / 127.5 - 1
