"""The texture synthesizer: StyleGAN2's skip generator with every padding removed (section 3.3).

`blocks` times an upsampling convolution and a convolution, n -> 2n - 5 per block; after each block
a ToRGB is added to the running RGB. Every convolution adds its own noise channel, read from its own
lattice. Order in a layer: convolution, bias, noise, activation. Convolution i reads style i, the
ToRGB of block b style 2b + 3, the last one style 2 * blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.nn.ops import (
    SLOPE,
    SQRT2,
    Mapping,
    ModulatedConv,
    center_crop,
    skip_up,
)

COARSE = 2  # entries of w that are coarse: those of the first block's convolutions


class TextureLayer(nn.Module):
    """Modulated convolution, plus bias, strength * z_n, activation."""

    def __init__(
        self, in_dim: int, out_dim: int, style_dim: int, *, up: bool = False, padding: bool = False
    ) -> None:
        super().__init__()
        self.padding = padding
        self.conv = ModulatedConv(in_dim, out_dim, 3, style_dim, up=up)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_dim))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """noise [N,1,h',w'] of the layer's own lattice; None draws it from torch's generator."""
        x = F.pad(x, (1, 1, 1, 1)) if self.padding else x
        y: Tensor = self.conv(x, w, self.bias * SQRT2)
        if self.padding and self.conv.up:
            y = y[:, :, 1:, 1:]  # indices -1 .. 2n - 1 -> 0 .. 2n - 1
        if noise is None:
            noise = torch.randn(y.shape[0], 1, *y.shape[2:], device=y.device)
        y = y + (self.noise_strength * SQRT2 * noise).to(y.dtype)
        return F.leaky_relu(y, SLOPE)


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB without demodulation, plus bias; float32 out."""

    def __init__(self, in_dim: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(in_dim, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        rgb: Tensor = self.conv(x, w).float() + self.bias[:, None, None]
        return rgb


class TextureBlock(nn.Module):
    """Up-and-convolve: [N,I,n,n] -> features [N,O,2n-5,2n-5], and the RGB so far."""

    def __init__(self, in_dim: int, out_dim: int, style_dim: int, *, padding: bool = False) -> None:
        super().__init__()
        self.up = TextureLayer(in_dim, out_dim, style_dim, up=True, padding=padding)
        self.conv = TextureLayer(out_dim, out_dim, style_dim, padding=padding)
        self.to_rgb = ToRGB(out_dim, style_dim)

    def forward(
        self, x: Tensor, w: Sequence[Tensor], noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """w: styles of the up convolution, the convolution and the ToRGB, [N,D] each.

        Returns the features and this block's own RGB.
        """
        x = self.up(x, w[0], noise[0])
        x = self.conv(x, w[1], noise[1])
        return x, self.to_rgb(x, w[2])


class TextureSynthesizer(nn.Module):
    """z_s [N,S,h,w] and styles w [N,2 blocks + 1,D] -> RGB float32 [N,3,H,W], about [-1, 1].

    `padding` puts StyleGAN2's zero padding back, n -> 2n a block: an ablation of the paper, whose
    pictures depend on the canvas and are therefore trained but never rendered.
    """

    def __init__(
        self,
        structure_dim: int,
        dims: Sequence[int],
        style_dim: int,
        mapping_layers: int,
        *,
        padding: bool = False,
    ) -> None:
        super().__init__()
        self.padding = padding
        self.mapping = Mapping(style_dim, mapping_layers)
        in_dims = [structure_dim, *dims[:-1]]
        self.blocks = nn.ModuleList(
            TextureBlock(i, o, style_dim, padding=padding)
            for i, o in zip(in_dims, dims, strict=True)
        )

    def forward(
        self, z_structure: Tensor, w: Tensor, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        x, rgb = z_structure, None
        last = len(self.blocks) - 1
        for b, block in enumerate(self.blocks):
            entries = (2 * b, 2 * b + 1, 2 * b + 2 if b == last else 2 * b + 3)
            own_noise = (None, None) if noise is None else (noise[2 * b], noise[2 * b + 1])
            x, painted = block(x, [w[:, entry] for entry in entries], own_noise)
            if rgb is not None:
                rgb = F.pad(rgb, (0, 1, 0, 1)) if self.padding else rgb
                painted = painted + center_crop(skip_up(rgb), *painted.shape[2:])
            rgb = painted
        assert isinstance(rgb, Tensor)
        return rgb
