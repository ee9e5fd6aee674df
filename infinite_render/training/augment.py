"""Differentiable augmentation of patches before the discriminator sees them, real and fake alike.

After DiffAugment (Zhao et al., NeurIPS 2020) and ADA (Karras et al., NeurIPS 2020): each change is
applied to each sample with a probability. A vertical shift moves the sample's position along, so
that positions stay true.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.training.draws import Draws
from infinite_render.training.recipes import AugmentConfig


def augment(
    rgb: Tensor, position: Tensor, label_per_px: Tensor, config: AugmentConfig, draws: Draws
) -> tuple[Tensor, Tensor]:
    """rgb [N,3,P,P], position [N], label_per_px [N] -> the changed patches and their positions."""
    if config.probability <= 0:
        return rgb, position

    def amount(most: float) -> Tensor:  # uniform in +- most, 0 where the change is off; [N,1,1,1]
        on = draws.uniform(1, 1, 1) < config.probability
        return (2 * draws.uniform(1, 1, 1) - 1) * most * on

    rgb = rgb + amount(config.brightness)
    grey = rgb.mean(dim=1, keepdim=True)
    rgb = (rgb - grey) * (1 + amount(config.saturation)) + grey
    mean = rgb.mean(dim=(1, 2, 3), keepdim=True)
    rgb = (rgb - mean) * (1 + amount(config.contrast)) + mean

    most_px = int(config.translation * rgb.shape[2])
    if most_px == 0:
        return rgb, position
    on = draws.host_uniform(1) < config.probability
    shift_px = (draws.host_uniform(2) * (2 * most_px + 1)).long() - most_px  # [N,2]
    shift_px = shift_px.clamp(-most_px, most_px) * on
    shifted = translate(rgb, shift_px.tolist(), most_px)
    return shifted, position + shift_px[:, 0].to(position) * label_per_px


def translate(rgb: Tensor, shift_px: list[list[int]], most_px: int) -> Tensor:
    """Each sample's window moved by its (y, x) shift, mirrored beyond the edge."""
    size = rgb.shape[2]
    padded = F.pad(rgb, (most_px,) * 4, mode="reflect")
    windows = [
        padded[i, :, most_px + y : most_px + y + size, most_px + x : most_px + x + size]
        for i, (y, x) in enumerate(shift_px)
    ]
    return torch.stack(windows)
