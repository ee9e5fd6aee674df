"""The structure synthesizer: a neural implicit function of z_g, z_l and c (paper, section 3.2).

Every layer joins the coordinates to its input, then convolves without padding ("feature
unfolding"), modulated by z_g directly: [N, dim + 3, h + 2 r, w + 2 r] -> [N, S, h, w]. There is no
noise here. Water (`nn.lakes`) is ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.nn.lakes import Lakes
from infinite_render.nn.ops import SLOPE, SQRT2, ModulatedConv, center_crop

COORDINATES = 3


class StructureLayer(nn.Module):
    """One modulated convolution over the features and the coordinates, bias, activation."""

    def __init__(self, in_dim: int, out_dim: int, radius: int, global_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_dim, out_dim, 2 * radius + 1, global_dim)
        self.bias = nn.Parameter(torch.zeros(out_dim))

    def forward(self, x: Tensor, z_global: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x, z_global, self.bias * SQRT2), SLOPE)


class StructureSynthesizer(nn.Module):
    """z_g [N,D], z_l [N,L,h+2m,w+2m], c [N,3,h+2m,w+2m] -> z_s [N,S,h,w]; m = layers * radius."""

    def __init__(
        self,
        local_dim: int,
        structure_dim: int,
        global_dim: int,
        *,
        layers: int,
        radius: int,
        coordinates: bool = True,
        shore: float | None = None,
        foot: float = 3.0,
        span_cells: int = 17,
    ) -> None:
        super().__init__()
        extra = COORDINATES if coordinates else 0
        in_dims = [local_dim] + [structure_dim] * (layers - 1)
        self.layers = nn.ModuleList(
            StructureLayer(dim + extra, structure_dim, radius, global_dim)
            for dim in in_dims[:layers]
        )
        self.coordinates = coordinates
        self.lakes: Lakes | None = None
        if shore is not None:
            self.lakes = Lakes(
                structure_dim, margin=layers * radius, shore=shore, foot=foot, span_cells=span_cells
            )

    def forward(self, z_global: Tensor, z_local: Tensor, c: Tensor) -> Tensor:
        x = z_local
        for layer in self.layers:
            if self.coordinates:
                x = torch.cat([x, center_crop(c, x.shape[2], x.shape[3]).to(x.dtype)], dim=1)
            x = layer(x, z_global)
        return x

    def of_water(self, z_global: Tensor, z_local: Tensor, c: Tensor, relief: Tensor) -> Tensor:
        """z_s of water, wherever it may lie, [N,S,h,w], only with lakes; relief as they take it."""
        assert self.lakes is not None
        mirrored = self.lakes.mirrored(c, relief)
        return self.lakes.features(self(z_global, z_local, mirrored), c)
