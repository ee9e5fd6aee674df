"""Lakes: level water where the local latents drift that way, mirroring what stands behind it.

    z_l, c -> share of water [N,1,h,w]; structure at mirrored coordinates -> water's features

The far shore lies level, where the coordinate v is `shore`; the near shore lies the deeper in the
picture, the wetter the place: by one direction of z_l, averaged over the structure's margin, so
that lakes are as wide as the drift is slow. Below the far shore, the structure synthesizer is run
once more with v mirrored about it: hills first, sky farther down, as a calm lake has them. One
linear map makes water's features of these. Where no water is, nothing changes, bit for bit.
Shores are gradual: at steep ones the texture synthesizer paints fins between land and water.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.nn.ops import center_crop

NEAREST = 0.4  # wetness at which the near shore leaves the picture: the lake has none
STEEPNESS = 3.2  # of the near shore, in shares of water for a wetness of 1, before smoothing
FAR_STEEPNESS = 5.0  # of the far shore, in shares of water for a tanh v of 1
DEPTHS = 2  # channels of how far below the far shore a place lies
_MOST_TANH = 0.9999

Layers = Callable[[Tensor, Tensor], Tensor]
"""(z_l, c) -> z_s: the structure synthesizer's layers, however they are run."""


class Lakes(nn.Module):
    """What the structure synthesizer adds for water; `foot` is v where the band ends.

    direction  [L], of z_l: which way is wet
    law        [2]: wetness is law[0] times the mean of z_l along `direction`, less law[1]
    water      [S,S+2,1,1], [S]: from mirrored features and depth to features of water
    """

    def __init__(
        self, local_dim: int, structure_dim: int, *, margin: int, shore: float, foot: float
    ) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.zeros(local_dim))
        self.law = nn.Parameter(torch.tensor([0.0, 1.0]))  # dry, until it is told where
        self.water = nn.Conv2d(structure_dim + DEPTHS, structure_dim, 1)
        self.margin = margin
        self.shore, self.foot = shore, foot
        self.shore_tanh, self.twice_tanh = math.tanh(shore), math.tanh(2 * shore)

    def forward(self, z_structure: Tensor, z_local: Tensor, c: Tensor, layers: Layers) -> Tensor:
        """z_s [N,S,h,w] with water; z_l [N,L,h+2m,w+2m], c [N,3,h+2m,w+2m] are what made z_s."""
        share = self.share(z_local, c)
        if not share.any():
            return z_structure
        water = self.features(layers(z_local, self.mirrored(c)), c)
        mixed = torch.lerp(z_structure.float(), water.float(), share).to(z_structure.dtype)
        return torch.where(share > 0, mixed, z_structure)

    def share(self, z_local: Tensor, c: Tensor) -> Tensor:
        """How much of each place is water, 0 .. 1, float32 [N,1,h,w]."""
        depth = self.depth(c)
        below = center_crop(c[:, :1], *depth.shape[2:]).float() - self.shore_tanh
        far = (FAR_STEEPNESS * below + 0.5).clamp(0, 1)
        near = (STEEPNESS * (self.wetness(z_local) - NEAREST * depth) + 0.5).clamp(0, 1)
        return far * near * near * (3 - 2 * near)

    def wetness(self, z_local: Tensor) -> Tensor:
        """z_l along the direction, averaged over the margin, on the scale of the law, [N,1,h,w]."""
        mean = F.conv2d(z_local.float(), self.direction[None, :, None, None])
        mean = F.conv2d(mean, _bell(self.margin, self.margin / 4).to(mean)[None, None, :, None])
        mean = F.conv2d(mean, _bell(self.margin, self.margin / 2).to(mean)[None, None, None])
        return self.law[0] * mean - self.law[1]

    def depth(self, c: Tensor) -> Tensor:
        """How far below the far shore, from 0 there to 1 at the band's foot, float32 [N,1,h,w]."""
        height, width = c.shape[2] - 2 * self.margin, c.shape[3] - 2 * self.margin
        tanh_v = center_crop(c[:, :1], height, width).float()
        v = torch.atanh(tanh_v.clamp(-_MOST_TANH, _MOST_TANH))
        return ((v - self.shore) / (self.foot - self.shore)).clamp(0, 1)

    def mirrored(self, c: Tensor) -> Tensor:
        """c with v' = 2 shore - v in place of v: tanh v' follows from tanh v."""
        tanh_v = c[:, :1].float()
        tanh_v = (self.twice_tanh - tanh_v) / (1 - self.twice_tanh * tanh_v)
        return torch.cat([tanh_v.to(c.dtype), c[:, 1:]], dim=1)

    def features(self, mirrored: Tensor, c: Tensor) -> Tensor:
        """Features of water, where features of what it mirrors are, [N,S,h,w] each."""
        depth = self.depth(c).to(mirrored.dtype)
        given = torch.cat([mirrored, depth, depth * depth], dim=1)
        weight, bias = self.water.weight.to(given.dtype), self.water.bias
        water: Tensor = F.conv2d(given, weight, None if bias is None else bias.to(given.dtype))
        return water


@dataclass(frozen=True)
class Watered:
    """The structure synthesizer's layers, and its lakes."""

    layers: Layers
    lakes: Lakes

    def __call__(self, z_local: Tensor, c: Tensor) -> Tensor:
        z_structure: Tensor = self.lakes(self.layers(z_local, c), z_local, c, self.layers)
        return z_structure


def watered(layers: Layers, lakes: Lakes | None) -> Layers:
    """The layers with the lakes, where there are any."""
    return layers if lakes is None else Watered(layers, lakes)


def _bell(radius: int, sigma: float) -> Tensor:
    """A Gaussian of 2 radius + 1 taps, float64; their sum is 1."""
    taps = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-radius, radius + 1)]
    return torch.tensor([tap / math.fsum(taps) for tap in taps], dtype=torch.float64)
