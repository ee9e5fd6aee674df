"""What an inversion minimises, as pure functions: likeness, and staying among likely latents.

Shapes: RGB [3,h,w] in about [-1, 1]; z_local [L,h,w]; noise [h,w]; all losses are scalars.
Latents that repaint a photograph but that no seed would draw paint nothing natural beside it. So
each prior is zero, about, on what a seed draws, and not at the origin, where no draw lies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = 4  # of `pixels`: the picture, and its averages over 2, 4, 8 px
LAGS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))  # neighbours no draw correlates with


def pixels(painted: Tensor, target: Tensor, scales: int = SCALES) -> Tensor:
    """Mean absolute difference, averaged over `scales` resolutions."""
    difference = (painted - target)[None]
    terms = [difference.abs().mean()]
    for _ in range(scales - 1):
        if min(difference.shape[2:]) < 2:
            break
        difference = F.avg_pool2d(difference, 2)
        terms.append(difference.abs().mean())
    return torch.stack(terms).mean()


def rows_distance(painted: Tensor, target: Tensor, band_px: int = 8) -> Tensor:
    """Colours of pictures [3,h,w] and [3,h,w'] of the same rows, whatever stands where in a row.

    Mean and deviation over each band of rows: what a style can answer for without local latents.
    """

    def pooled(x: Tensor) -> Tensor:  # [3,h,w] -> [3,bands]
        size = (band_px, x.shape[2])
        return F.avg_pool2d(x[None], size, ceil_mode=True, count_include_pad=False)[0, :, :, 0]

    def bands(rgb: Tensor) -> tuple[Tensor, Tensor]:
        mean, square = pooled(rgb), pooled(rgb.square())
        return mean, (square - mean.square()).clamp_min(0).add(1e-4).sqrt()

    (mean, deviation), (their_mean, their_deviation) = bands(painted), bands(target)
    return (mean - their_mean).abs().mean() + 0.5 * (deviation - their_deviation).abs().mean()


def feature_distance(painted: Tensor, target: Tensor) -> Tensor:
    """One map of features [1,C,h,w] against another, each place scaled to unit length (LPIPS)."""
    a, b = F.normalize(painted.float(), dim=1), F.normalize(target.float(), dim=1)
    return (a - b).square().sum(dim=1).mean()


def local_prior(z_local: Tensor) -> Tensor:
    """How far latents are from independent N(0,1): by channel, by place, and between neighbours.

    Each term is compared with what independent draws give, so none pulls below it by much.
    """
    channels = z_local.shape[0]
    mean, square = z_local.mean(dim=(1, 2)), z_local.square().mean(dim=(1, 2))
    by_channel = mean.square().mean() + (square - 1).square().mean()
    by_place = (z_local.square().mean(dim=0) - 1).square().mean() * (channels / 16)
    return by_channel + by_place + correlation(z_local)


def correlation(z: Tensor) -> Tensor:
    """Squared correlation of neighbours in z [C,h,w], at its own lattice and twice halved."""
    total = z.new_zeros(())
    for _ in range(3):
        if min(z.shape[1:]) < 4:
            break
        for lags in LAGS:
            by_channel = (z * torch.roll(z, lags, (1, 2))).mean(dim=(1, 2))
            total = total + by_channel.mean().square() + by_channel.square().mean()
        z = F.avg_pool2d(z[None], 2)[0] * 2  # of unit variance again, if independent
    return total


def noise_prior(noise: list[Tensor]) -> Tensor:
    """Every layer's noise of mean 0, variance 1 and without correlation."""
    terms = []
    for values in noise:
        terms.append(values.mean().square() + (values.square().mean() - 1).square())
        terms.append(correlation(values[None]))
    return torch.stack(terms).sum()


def overshoot(rgb: Tensor) -> Tensor:
    """Mean squared excess over [-1, 1]: colours that are cut off when they are shown."""
    return (rgb.abs() - 1).clamp_min(0).square().mean()


def global_prior(z_global: Tensor) -> Tensor:
    """The mean square of z_global, which is 1 for N(0,1) of many dimensions."""
    return (z_global.square().mean() - 1).square()
