"""Lakes: level water where a latent of their own is high, mirroring what stands behind it.

    z_l, c -> share of water [N,1,h,w]; structure at mirrored coordinates -> water's features

The last channel of z_l is for lakes alone, and the same in every row (`fields.local`). It tells how
deep in the picture the near shore lies: 0 at the level where the coordinate v is `shore`, 1 at the
band's foot. The far shore lies near that level, the nearer the wider the lake: so both shores meet
at a lake's ends. Between them the structure synthesizer is run once more with v mirrored about the
level: hills first, sky farther down. One linear map makes water's features of these. Merely mixed
within a cell, land and water are painted as haze: so at the far shore two layers add what makes the
texture synthesizer paint an edge.
Around a lake the land rises, that is, it is taken from deeper in the picture: else water would meet
the sky wherever land is low. Where the latent is lower than that, nothing changes, bit for bit.
Near shores are gradual: at steep ones the texture synthesizer paints fins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.nn.ops import SLOPE, center_crop

STEEPNESS = 6.0  # of shores, in shares of water for a depth of 1
FAR, FAR_LESS, FAR_LEAST = 0.3, 0.25, 0.06  # far shore's depth: FAR - FAR_LESS latent, at least
BELOW = 0.35  # what a latent beyond 1 counts for: below the band lakes end soon
DEEPEST = 1.6  # depth at which water ends, however high the latent
RISE, RISING = 0.6, (-0.6, -0.1)  # v by which land is taken deeper, and latents it sets in between
COMPRESSION = 3.0  # of the mirror picture: water in a breeze mirrors what stands higher
DEPTHS = 2  # channels that tell water how deep in the picture it lies
REACH = 2.5  # cells from the far shore at which it is not seen any more
NARROW = 1.5  # cells from shore to shore, up to which a lake gets no edge; one wider, it gets all
PLACES = (-2.0, -1.0, 0.0, 1.0, 2.0)  # cells from the far shore that are told apart
SHORE_DIM = 192
SCALE = 10.0  # of features, about
LAKES_VERSION = 2  # in a picture's identity: what this file and `fields.local` say of lakes
_MOST_TANH = 0.999999

Layers = Callable[[Tensor, Tensor], Tensor]
"""(z_l, c) -> z_s: the structure synthesizer's layers, however they are run."""

Weights = tuple[Tensor, Tensor]
"""Of water and of far shore, 0 .. 1, float32 [N,1,h,w] each."""


class Lakes(nn.Module):
    """What the structure synthesizer adds for water; `foot` is v where the band ends.

    water      [S,S+2,1,1]: from mirrored features and depth to features of water
    shore_in   [192,2S+5,1,1]: from features of land and of water, and the place at the far shore
    shore_out  [S,192,1,1]: to what is added to their mixture there; nothing before it has learnt

    v goes from -foot to foot over `span_cells` rows of cells.
    """

    def __init__(
        self, structure_dim: int, *, margin: int, shore: float, foot: float, span_cells: int
    ) -> None:
        super().__init__()
        self.water = nn.Conv2d(structure_dim + DEPTHS, structure_dim, 1)
        self.shore_in = nn.Conv2d(2 * structure_dim + len(PLACES), SHORE_DIM, 1)
        self.shore_out = nn.Conv2d(SHORE_DIM, structure_dim, 1)
        for parameter in self.shore_out.parameters():
            nn.init.zeros_(parameter)
        self.margin = margin
        self.shore, self.foot = shore, foot
        self.cell_depth = 2 * foot / span_cells / (foot - shore)
        deepest = (math.atanh(_MOST_TANH) - shore) / (foot - shore)  # that can be told
        self.deepest = min(DEEPEST, deepest - 1 / STEEPNESS)

    def share(self, latent: Tensor, c: Tensor) -> Tensor:
        """How much of each place is water, 0 .. 1, float32 [N,1,h,w]; latent [N,1,h,w]."""
        near = self.near(latent).clamp(max=self.deepest)
        return _step(self.from_far(latent, c)) * _step(near - self.depth(c))

    def at_far_shore(self, latent: Tensor, c: Tensor) -> Tensor:
        """How much of each place is far shore, 0 .. 1, float32 [N,1,h,w]: none of narrow lakes."""
        width = (self.near(latent) - self.far(latent)) / self.cell_depth
        away = self.from_far(latent, c).abs() / self.cell_depth
        return (REACH - away).clamp(0, 1) * (width - NARROW).clamp(0, 1)

    def from_far(self, latent: Tensor, c: Tensor) -> Tensor:
        """How much deeper than the far shore a place lies, float32 [N,1,h,w]."""
        return self.depth(c) - self.far(latent)

    def far(self, latent: Tensor) -> Tensor:
        """The depth at which the far shore lies, float32, of the latent's shape."""
        return (FAR - FAR_LESS * latent.float()).clamp(min=FAR_LEAST)

    def near(self, latent: Tensor) -> Tensor:
        """The depth at which the near shore lies, float32, of the latent's shape."""
        latent = latent.float()
        return torch.minimum(latent, 1 + BELOW * (latent - 1))

    def depth(self, c: Tensor) -> Tensor:
        """How far below `shore`, 0 there and 1 at the band's foot, float32 [N,1,h,w]."""
        return (_v(c) - self.shore) / (self.foot - self.shore)

    def risen(self, latent: Tensor, c: Tensor) -> Tensor:
        """c with v' = v + RISE about lakes, [N,3,h,w]; c itself where the latent is low."""
        first, last = RISING
        rise = RISE * ((latent.float() - first) / (last - first)).clamp(0, 1)
        tanh_v = torch.where(rise > 0, torch.tanh(_v(c) + rise), c[:, :1].float())
        return torch.cat([tanh_v.to(c.dtype), c[:, 1:]], dim=1)

    def mirrored(self, latent: Tensor, c: Tensor) -> Tensor:
        """c with v' = shore - COMPRESSION (v - shore) in place of v, [N,3,h,w].

        On land before the near shore v' is `shore`, and it goes over: so water mirrors its bank.
        What is mirrored has not risen: water would take the colour of the meadow at its far shore.
        """
        beyond = _step(self.near(latent) - self.depth(c))
        tanh_v = torch.tanh(self.shore - COMPRESSION * beyond * (_v(c) - self.shore))
        return torch.cat([tanh_v.to(c.dtype), c[:, 1:]], dim=1)

    def features(self, mirrored: Tensor, c: Tensor) -> Tensor:
        """Features of water, where features of what it mirrors are, [N,S,h,w] each."""
        depth = self.inner(self.depth(c)).clamp(0, 1).to(mirrored.dtype)
        return _conv(torch.cat([mirrored, depth, depth * depth], dim=1), self.water)

    def between(self, land: Tensor, water: Tensor, from_far: Tensor) -> Tensor:
        """What makes an edge of land's features and water's at the far shore, float32 [N,S,h,w].

        land, water [N,S,h,w]; from_far [N,1,h,w], in depth.
        """
        places = torch.tensor(PLACES, device=land.device)[:, None, None]
        place = (1 - (from_far / self.cell_depth - places).abs()).clamp(min=0)
        x = torch.cat([land / SCALE, water / SCALE, place.to(land.dtype)], dim=1)
        x = F.leaky_relu(_conv(x, self.shore_in), SLOPE)
        return SCALE * _conv(x, self.shore_out).float()

    def shore_rows(self, c: Tensor) -> slice:
        """The rows of z_s in which a far shore is seen, wherever it lies: the latent has no say."""
        depth, reach = self.inner(self.depth(c)), REACH * self.cell_depth
        seen = (depth > FAR_LEAST - reach) & (depth < FAR + reach)
        rows = seen.amax(dim=(0, 1, 3)).nonzero().flatten().tolist()
        return slice(rows[0], rows[-1] + 1) if rows else slice(0)

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
        share, at_shore = weights = self.weights(z_local, c)
        land = self.land(z_local, c)
        if not ((share > 0) | (at_shore > 0)).any():
            return land
        return self.mixed(land, self.water(z_local, c), weights, z_local, c)

    def mixed(
        self, land: Tensor, water: Tensor, weights: Weights, z_local: Tensor, c: Tensor
    ) -> Tensor:
        """z_s of land and of water as one, [N,S,h,w] each."""
        share, at_shore = weights
        mixed = torch.lerp(land.float(), water.float(), share)
        if at_shore.any():
            rows = self.lakes.shore_rows(c)
            from_far = self.lakes.inner(self.lakes.from_far(z_local[:, -1:], c))
            between = self.lakes.between(*(x[:, :, rows] for x in (land, water, from_far)))
            mixed[:, :, rows] += at_shore[:, :, rows] * between
        return torch.where((share > 0) | (at_shore > 0), mixed.to(land.dtype), land)

    def weights(self, z_local: Tensor, c: Tensor) -> Weights:
        """How much of each place is water, and how much far shore."""
        lakes, latent = self.lakes, z_local[:, -1:]
        return lakes.inner(lakes.share(latent, c)), lakes.inner(lakes.at_far_shore(latent, c))

    def land(self, z_local: Tensor, c: Tensor) -> Tensor:
        """z_s [N,S,h,w] of land alone."""
        return self.layers(z_local[:, :-1], self.lakes.risen(z_local[:, -1:], c))

    def water(self, z_local: Tensor, c: Tensor) -> Tensor:
        """z_s [N,S,h,w] of water alone."""
        mirrored = self.lakes.mirrored(z_local[:, -1:], c)
        return self.lakes.features(self.layers(z_local[:, :-1], mirrored), c)


def watered(layers: Layers, lakes: Lakes | None) -> Layers:
    """The layers with the lakes, where there are any."""
    return layers if lakes is None else Watered(layers, lakes)


def maps_macs(structure_dim: int) -> int:
    """Multiply-accumulates of a cell's maps, where water may be."""
    water = (structure_dim + DEPTHS) * structure_dim
    return water + (2 * structure_dim + len(PLACES)) * SHORE_DIM + SHORE_DIM * structure_dim


def _conv(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution in the precision of x."""
    assert conv.bias is not None
    y: Tensor = F.conv2d(x, conv.weight.to(x.dtype), conv.bias.to(x.dtype))
    return y


def _step(inwards: Tensor) -> Tensor:
    """Share of water by how far inside a shore a place lies, in depth."""
    return (STEEPNESS * inwards + 0.5).clamp(0, 1)


def _v(c: Tensor) -> Tensor:
    """v of coordinates, [N,1,h,w], as far as it can be told."""
    return torch.atanh(c[:, :1].float().clamp(-_MOST_TANH, _MOST_TANH))
