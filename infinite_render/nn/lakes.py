"""Lakes: level water where a latent of their own is high, mirroring what stands behind it.

    z_l, c -> share of water [N,1,h,w]; structure at mirrored coordinates -> water's features

The last channel of z_l is for lakes alone, and the same in every row (`fields.local`). It tells how
deep in the picture the near shore lies: 0 at the level where the coordinate v is `shore`, 1 at the
band's foot. The far shore lies near that level, the nearer the wider the lake: so both shores meet
at a lake's ends. Between them the structure synthesizer is run once more with v mirrored about the
level: hills first, sky farther down. One linear map makes water's features of these. Where no water
is, nothing changes, bit for bit.
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

STEEPNESS = 6.0  # of shores, in shares of water for a depth of 1
FAR, FAR_LESS, FAR_LEAST = 0.3, 0.25, 0.06  # far shore's depth: FAR - FAR_LESS latent, at least
BELOW = 0.35  # what a latent beyond 1 counts for: below the band lakes end soon
DEEPEST = 1.6  # depth at which water ends, however high the latent
COMPRESSION = 1.5  # of the mirror picture: water in a breeze mirrors what stands higher
DEPTHS = 2  # channels that tell water how deep in the picture it lies
LAKES_VERSION = 1  # in a picture's identity: what this file and `fields.local` say of lakes
_MOST_TANH = 0.999999

Layers = Callable[[Tensor, Tensor], Tensor]
"""(z_l, c) -> z_s: the structure synthesizer's layers, however they are run."""


class Lakes(nn.Module):
    """What the structure synthesizer adds for water; `foot` is v where the band ends.

    water  [S,S+2,1,1], [S]: from mirrored features and depth to features of water
    """

    def __init__(self, structure_dim: int, *, margin: int, shore: float, foot: float) -> None:
        super().__init__()
        self.water = nn.Conv2d(structure_dim + DEPTHS, structure_dim, 1)
        self.margin = margin
        self.shore, self.foot = shore, foot
        deepest = (math.atanh(_MOST_TANH) - shore) / (foot - shore)  # that can be told
        self.deepest = min(DEEPEST, deepest - 1 / STEEPNESS)

    def share(self, latent: Tensor, c: Tensor) -> Tensor:
        """How much of each place is water, 0 .. 1, float32 [N,1,h,w]; latent [N,1,h,w]."""
        far = (FAR - FAR_LESS * latent.float()).clamp(min=FAR_LEAST)
        depth, near = self.depth(c), self.near(latent).clamp(max=self.deepest)
        return _step(depth - far) * _step(near - depth)

    def near(self, latent: Tensor) -> Tensor:
        """The depth at which the near shore lies, [N,1,h,w]."""
        latent = latent.float()
        return torch.minimum(latent, 1 + BELOW * (latent - 1))

    def depth(self, c: Tensor) -> Tensor:
        """How far below `shore`, 0 there and 1 at the band's foot, float32 [N,1,h,w]."""
        return (_v(c) - self.shore) / (self.foot - self.shore)

    def mirrored(self, latent: Tensor, c: Tensor) -> Tensor:
        """c with v' = shore - COMPRESSION (v - shore) in place of v, [N,3,h,w].

        On land before the near shore v' is `shore`, and it goes over: so water mirrors its bank.
        """
        beyond = _step(self.near(latent) - self.depth(c))
        tanh_v = torch.tanh(self.shore - COMPRESSION * beyond * (_v(c) - self.shore))
        return torch.cat([tanh_v.to(c.dtype), c[:, 1:]], dim=1)

    def features(self, mirrored: Tensor, c: Tensor) -> Tensor:
        """Features of water, where features of what it mirrors are, [N,S,h,w] each."""
        depth = self.inner(self.depth(c)).clamp(0, 1).to(mirrored.dtype)
        given = torch.cat([mirrored, depth, depth * depth], dim=1)
        weight, bias = self.water.weight.to(given.dtype), self.water.bias
        water: Tensor = F.conv2d(given, weight, None if bias is None else bias.to(given.dtype))
        return water

    def inner(self, values: Tensor) -> Tensor:
        """Values without the margin that the layers take."""
        return center_crop(values, *(size - 2 * self.margin for size in values.shape[2:]))


@dataclass(frozen=True)
class Watered:
    """The structure synthesizer's layers, and its lakes: z_l [N,L+1,h+2m,w+2m] for z_l of land.

    c is float32, whatever z_l is: in bfloat16 rows below the band are one.
    """

    layers: Layers
    lakes: Lakes

    def __call__(self, z_local: Tensor, c: Tensor) -> Tensor:
        """z_s [N,S,h,w] with water."""
        lakes, of_land, latent = self.lakes, z_local[:, :-1], z_local[:, -1:]
        land = self.layers(of_land, c)
        share = lakes.inner(lakes.share(latent, c))
        if not share.any():
            return land
        water = lakes.features(self.layers(of_land, lakes.mirrored(latent, c)), c)
        mixed = torch.lerp(land.float(), water.float(), share)
        return torch.where(share > 0, mixed.to(land.dtype), land)


def watered(layers: Layers, lakes: Lakes | None) -> Layers:
    """The layers with the lakes, where there are any."""
    return layers if lakes is None else Watered(layers, lakes)


def _step(inwards: Tensor) -> Tensor:
    """Share of water by how far inside a shore a place lies, in depth."""
    return (STEEPNESS * inwards + 0.5).clamp(0, 1)


def _v(c: Tensor) -> Tensor:
    """v of coordinates, [N,1,h,w], as far as it can be told."""
    return torch.atanh(c[:, :1].float().clamp(-_MOST_TANH, _MOST_TANH))
