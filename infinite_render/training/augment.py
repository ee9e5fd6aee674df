"""Differentiable augmentation of patches before the discriminator sees them, real and fake alike.

After DiffAugment (Zhao et al., NeurIPS 2020) and ADA (Karras et al., NeurIPS 2020): each change is
applied to each sample with a probability. What shifts a sample vertically moves its position along,
so that positions stay true.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.training.draws import Draws
from infinite_render.training.recipes import AugmentConfig

SURROUNDINGS_PX = 4  # to each side of a pixel, what it is compared with


def augment(
    rgb: Tensor, position: Tensor, label_per_px: Tensor, config: AugmentConfig, draws: Draws
) -> tuple[Tensor, Tensor]:
    """rgb [N,3,P,P], position [N], label_per_px [N] -> the changed patches and their positions."""
    if config.probability <= 0:
        return rgb, position

    def amount(most: float) -> Tensor:  # uniform in +- most, 0 where the change is off; [N,1,1,1]
        on = draws.uniform(1, 1, 1) < config.probability
        return (2 * draws.uniform(1, 1, 1) - 1) * most * on

    def factor(most: float) -> Tensor:  # log-uniform in [1, most], 1 where the change is off; [N]
        on = draws.uniform() < config.probability
        return torch.where(on, most ** draws.uniform(), 1.0)

    rgb = rgb + amount(config.brightness)
    grey = rgb.mean(dim=1, keepdim=True)
    rgb = (rgb - grey) * (1 + amount(config.saturation)) + grey
    mean = rgb.mean(dim=(1, 2, 3), keepdim=True)
    rgb = (rgb - mean) * (1 + amount(config.contrast)) + mean

    if config.sharpness > 1:
        rgb = sharpen(rgb, factor(config.sharpness))
    if config.zoom > 1:
        times = factor(config.zoom)
        rgb, shift_px = enlarge(rgb, times, draws.uniform(2))
        position = position + shift_px * label_per_px
        label_per_px = label_per_px / times

    most_px = int(config.translation * rgb.shape[2])
    if most_px == 0:
        return rgb, position
    on = draws.host_uniform(1) < config.probability
    shift_px = (draws.host_uniform(2) * (2 * most_px + 1)).long() - most_px  # [N,2]
    shift_px = shift_px.clamp(-most_px, most_px) * on
    shifted = translate(rgb, shift_px.tolist(), most_px)
    return shifted, position + shift_px[:, 0].to(position) * label_per_px


def sharpen(rgb: Tensor, factor: Tensor) -> Tensor:
    """What differs from the mean of its surroundings, times `factor` [N]; rgb [N,3,P,P].

    Frozen features hardly see faint textures, such as ripples in a sky; amplified, they do.
    """
    padded = F.pad(rgb, (SURROUNDINGS_PX,) * 4, mode="reflect")
    mean = F.avg_pool2d(padded, 2 * SURROUNDINGS_PX + 1, stride=1)
    return mean + factor[:, None, None, None] * (rgb - mean)


def enlarge(rgb: Tensor, factor: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """A square part of each sample, enlarged bilinearly to the sample's size (isotropic scaling).

    rgb [N,3,P,P]; factor [N] from 1; place [N,2] (y, x) in [0, 1], from the first part to the last.
    Returns rgb [N,3,P,P], and how far below the sample's middle the part's lies, [N] in its px.
    """
    share = 1 / factor  # of the sample that is seen
    middle = (2 * place - 1) * (1 - share)[:, None]  # [N,2], the sample from -1 to 1
    zero = torch.zeros_like(share)
    affine = torch.stack([share, zero, middle[:, 1], zero, share, middle[:, 0]], dim=1)
    grid = F.affine_grid(affine.view(-1, 2, 3), list(rgb.shape), align_corners=False)
    seen = F.grid_sample(rgb, grid, padding_mode="border", align_corners=False)
    return seen, middle[:, 0] * (rgb.shape[2] / 2)


def translate(rgb: Tensor, shift_px: list[list[int]], most_px: int) -> Tensor:
    """Each sample's window moved by its (y, x) shift, mirrored beyond the edge."""
    size = rgb.shape[2]
    padded = F.pad(rgb, (most_px,) * 4, mode="reflect")
    windows = [
        padded[i, :, most_px + y : most_px + y + size, most_px + x : most_px + x + size]
        for i, (y, x) in enumerate(shift_px)
    ]
    return torch.stack(windows)
