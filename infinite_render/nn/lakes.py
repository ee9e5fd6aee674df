"""Lakes: level water where a latent of their own is high, mirroring what stands behind it.

    z_l, c -> z_s of land, risen about lakes
    z_l, c -> z_s at mirrored coordinates -> z_s of water
    latent of lakes, c -> how far a place lies inside the shores

The last channel of z_l is for lakes alone (`fields.local`). It tells how deep in the picture the
near shore lies: at 0 at the level where the coordinate v is `shore`, at AT_FOOT at the band's foot.
The far shore lies near that level, the higher the wider the lake: so both meet at a lake's ends.
What water mirrors is the structure synthesizer's own picture with v mirrored about the level: hills
first, sky farther down. One linear map makes features of water of it. The texture synthesizer
paints land and water each alone, and one is laid over the other (`nn.surface`): features of both
mixed within a cell would be painted as haze.
Around a lake the land rises, that is, it is taken from deeper in the picture: else water would meet
the sky wherever land is low. Where the latent is below RISING, and relief does nothing, nothing
changes, bit for bit.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.geometry import Span
from infinite_render.nn.coordinates import MOST_TANH, lifted, row_of, v_of
from infinite_render.nn.ops import center_crop

FAR, FAR_LESS = 0.3, 0.25  # the far shore's depth: FAR - FAR_LESS latent
WIDE, FAR_LESS_WIDE, FAR_LEAST = 0.96, 0.1, -0.1  # less by so much beyond this latent; at least
AT_FOOT = 1.3  # latent at which the near shore lies at the band's foot
BELOW = 0.35  # what a latent beyond that counts for: below the band lakes end soon
DEEPEST = 1.6  # depth at which water ends, however high the latent
RISE, RISING = 0.75, (-0.8, -0.3)  # v by which land is taken deeper, and latents it sets in between
COMPRESSION = 2.25  # of the mirror picture: water in a breeze mirrors what stands higher
DEPTHS = 2  # channels that tell water how deep in the picture it lies
SEEN = 1.5  # cells beyond a shore within which its px may lie
LAKES_VERSION = 6  # in a picture's identity: this file, `nn.surface`, lakes of `fields`


class Lakes(nn.Module):
    """What the structure synthesizer adds for water; `foot` is v where the band ends.

    water  [S,S+2,1,1]: from mirrored features and depth to features of water

    v goes from -foot to foot over `span_cells` rows of cells.
    """

    def __init__(
        self, structure_dim: int, *, margin: int, shore: float, foot: float, span_cells: int
    ) -> None:
        super().__init__()
        self.water = nn.Conv2d(structure_dim + DEPTHS, structure_dim, 1)
        self.margin = margin
        self.shore, self.foot = shore, foot
        self.cell_depth = cell_depth(shore=shore, foot=foot, span_cells=span_cells)
        self.deepest = deepest(shore=shore, foot=foot, span_cells=span_cells)

    def far(self, latent: Tensor) -> Tensor:
        """The depth at which the far shore lies, float32, of the latent's shape."""
        latent = latent.float()
        wide = (latent - WIDE).clamp(min=0)
        return (FAR - FAR_LESS * (latent - wide) - FAR_LESS_WIDE * wide).clamp(min=FAR_LEAST)

    def near(self, latent: Tensor) -> Tensor:
        """The depth at which the near shore lies, float32, of the latent's shape."""
        latent = latent.float()
        above = latent * latent.abs() / AT_FOOT**2  # ends of lakes are pointed and low
        below = 1 + BELOW * (latent - AT_FOOT)
        return torch.where(latent < AT_FOOT, above, below).clamp(max=self.deepest)

    def depth(self, c: Tensor) -> Tensor:
        """How far below `shore`, 0 there and 1 at the band's foot, float32 [N,1,h,w]."""
        return (v_of(c) - self.shore) / (self.foot - self.shore)

    def inside(self, latent: Tensor, c: Tensor) -> Tensor:
        """How many cells inside the far and the near shore a place lies, float32 [N,2,h,w].

        latent [N,1,h,w], c [N,3,h,w].
        """
        depth = self.depth(c)
        both = torch.cat([depth - self.far(latent), self.near(latent) - depth], dim=1)
        return both / self.cell_depth

    def rows(self, c: Tensor) -> slice:
        """The rows of c near which water may be, wherever lakes lie: the latent has no say."""
        depth, seen = self.depth(c), SEEN * self.cell_depth
        wet = (depth > FAR_LEAST - seen) & (depth < self.deepest + seen)
        rows = wet.amax(dim=(0, 1, 3)).nonzero().flatten().tolist()
        return slice(rows[0], rows[-1] + 1) if rows else slice(0, 0)

    def risen(self, latent: Tensor, c: Tensor, relief: Tensor) -> Tensor:
        """c with v' = v + RISE + max(relief, 0) about lakes, [N,3,h,w], elsewhere v + relief.

        latent and relief, in v, [N,1,h,w].
        """
        first, last = RISING
        near = ((latent.float() - first) / (last - first)).clamp(0, 1)
        return lifted(c, RISE * near + relief.clamp(min=0) + (1 - near) * relief.clamp(max=0))

    def mirrored(self, c: Tensor, relief: Tensor) -> Tensor:
        """c with v' = shore - COMPRESSION max(v - shore, 0) + max(relief, 0), [N,3,h,w].

        What is mirrored has not risen: water would take the colour of the meadow at its far shore.
        relief, in v, [N,1,h,w], is that of the place itself: from row to row it hardly changes.
        """
        above = self.shore - COMPRESSION * (v_of(c) - self.shore).clamp(min=0)
        tanh_v = torch.tanh(above + relief.clamp(min=0))
        return torch.cat([tanh_v.to(c.dtype), c[:, 1:]], dim=1)

    def features(self, mirrored: Tensor, c: Tensor) -> Tensor:
        """Features of water, where features of what it mirrors are, [N,S,h,w] each."""
        depth = self.inner(self.depth(c)).clamp(0, 1).to(mirrored.dtype)
        x = torch.cat([mirrored, depth, depth * depth], dim=1)
        assert self.water.bias is not None
        weight, bias = self.water.weight.to(x.dtype), self.water.bias.to(x.dtype)
        return F.conv2d(x, weight, bias)

    def inner(self, values: Tensor) -> Tensor:
        """Values without the margin that the layers take."""
        return center_crop(values, *(size - 2 * self.margin for size in values.shape[2:]))


def map_macs(structure_dim: int) -> int:
    """Multiply-accumulates of a cell's map to features of water."""
    return (structure_dim + DEPTHS) * structure_dim


def cell_depth(*, shore: float, foot: float, span_cells: int) -> float:
    """How deep a row of cells is: 1 from `shore` to `foot`."""
    return 2 * foot / span_cells / (foot - shore)


def deepest(*, shore: float, foot: float, span_cells: int) -> float:
    """The depth at which water ends, at most: no deeper than depths can be told from c."""
    told = (math.atanh(MOST_TANH) - shore) / (foot - shore)
    return min(DEEPEST, told - SEEN * cell_depth(shore=shore, foot=foot, span_cells=span_cells))


def wet_rows(*, shore: float, foot: float, span_cells: int) -> Span:
    """The rows of cells near which water may be, where coordinates are not shifted."""
    per_row = cell_depth(shore=shore, foot=foot, span_cells=span_cells)
    level = row_of(shore, cut=foot, span_cells=span_cells)
    lowest = deepest(shore=shore, foot=foot, span_cells=span_cells)
    first, last = level + FAR_LEAST / per_row - SEEN, level + lowest / per_row + SEEN
    return Span(math.floor(first) + 1, math.ceil(last))
