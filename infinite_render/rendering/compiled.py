"""The compiled generator: for one scene, a short list of plain convolutions.

Within a scene z_g and w are constant, so modulation, demodulation, equalised scales and the
activation's gain fold into plain weights once: sqrt(2) * lrelu(y) = lrelu(sqrt(2) y).
The plain network of `nn` stays beside it and a test ties the two.

Shapes: features [1,C,h,w] in the scene's precision, channels last; RGB [3,h,w] in float32;
noise of a layer [h,w] float32 of that layer's own lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.nn.detail import DetailStep, fold_detail
from infinite_render.nn.generator import Generator
from infinite_render.nn.ops import (
    SLOPE,
    SQRT2,
    ModulatedConv,
    center_crop,
    skip_up,
    spread_tent,
)
from infinite_render.nn.scale import keep_low_pass
from infinite_render.nn.structure import StructureLayer, StructureSynthesizer
from infinite_render.nn.texture import TextureBlock, TextureLayer, ToRGB
from infinite_render.rendering.fused import conv_leaky
from infinite_render.rendering.strips import strips

NoiseReader = Callable[[int, int, int], Tensor]
"""(layer, height, width) -> noise float32 [height, width]: the sizes the layer has computed."""


@dataclass(frozen=True)
class PlainConv:
    """Convolution, noise, bias, leaky ReLU with everything folded in; `up` doubles and blurs.

    weight [O,I,k,k] ([I,O,k,k] when up), bias [O], noise_strength [O] or None for a layer without
    noise, all in the scene's precision.
    """

    weight: Tensor
    bias: Tensor
    noise_strength: Tensor | None
    up: bool

    def __call__(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """x [1,I,h,w], noise [h',w'] of the output or None -> [1,O,h',w']."""
        weight, groups = self.weight, 1
        if self.up:  # what is left is the blur
            x = F.conv_transpose2d(x, weight, stride=2, padding=1)
            weight, groups = spread_tent(x), x.shape[1]
        if noise is None or self.noise_strength is None:
            return conv_leaky(x, weight, self.bias, groups)
        y = F.conv2d(x, weight, self.bias, groups=groups)
        # The sum of the outer product noise x strength, in place on [h' w',O]: as a product of
        # matrices it is one pass over memory, many times faster than an addition that spreads.
        rows = y.permute(0, 2, 3, 1).view(-1, y.shape[1])
        rows.addmm_(noise.to(y.dtype).view(-1, 1), self.noise_strength[None])
        activated: Tensor = F.leaky_relu_(y, SLOPE)
        return activated


@dataclass(frozen=True)
class PlainRGB:
    """1x1 convolution to planes of RGB [3,h,w]: weight [3,I,1,1] in the scene's precision.

    bias [3,1,1] float32, or None for a picture whose low-pass is replaced.
    """

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        rgb = F.conv2d(x, self.weight)[0]
        rgb = rgb.to(torch.float32, memory_format=torch.contiguous_format)
        return rgb if self.bias is None else rgb.add_(self.bias)


@dataclass(frozen=True)
class CompiledStructure:
    """z_l [1,L,h+2m,w+2m] -> z_s [1,S,h,w] in the scene's precision; c float32 [1,3,h+2m,w+2m]."""

    layers: tuple[PlainConv, ...]
    coordinates: bool

    def __call__(self, z_local: Tensor, c: Tensor) -> Tensor:
        x = z_local
        for layer in self.layers:
            if self.coordinates:
                x = torch.cat([x, center_crop(c, x.shape[2], x.shape[3]).to(x.dtype)], dim=1)
            x = layer(x, None)
        return x


@dataclass(frozen=True)
class CompiledTexture:
    """z_s [1,S,h,w] -> RGB float32 [3,H,W]; layer i reads noise i."""

    blocks: tuple[tuple[PlainConv, PlainConv, PlainRGB], ...]

    def __call__(self, z_structure: Tensor, noise: NoiseReader) -> Tensor:
        x = z_structure
        rgb: Tensor | None = None
        for b, (up, conv, to_rgb) in enumerate(self.blocks):
            height, width = 2 * x.shape[2] - 3, 2 * x.shape[3] - 3
            x = up(x, _noise_of(up, noise, 2 * b, height, width))
            x = conv(x, _noise_of(conv, noise, 2 * b + 1, height - 2, width - 2))
            painted = to_rgb(x)
            if rgb is not None:
                painted += center_crop(skip_up(rgb[:, None]), *painted.shape[1:])[:, 0]
            rgb = painted
        assert rgb is not None
        return rgb


@dataclass(frozen=True)
class CompiledDetail:
    """One step of the detail ladder at one zoom.

    RGB float32 [3,h,w] and noise float32 [h,w] -> [3,2h-29,2w-29] (three low layers).
    """

    layers: tuple[PlainConv, ...]  # those at low resolution, the upsampling one, one at high
    to_rgb: PlainRGB

    def __call__(self, rgb: Tensor, noise: Tensor) -> Tensor:
        x = torch.cat([rgb, noise[None]])[None]
        x = x.to(self.to_rgb.weight.dtype, memory_format=torch.channels_last)
        for layer in self.layers[:-2]:
            x = layer(x, None)
        painted = self._painted(x)
        del x  # as large as what is painted
        return keep_low_pass(rgb[None], painted[None])[0]

    def _painted(self, x: Tensor) -> Tensor:
        """What the layers of high resolution paint on features [1,C,n,m]: [3,2n-5,2m-5]."""
        up, high = self.layers[-2:]
        painted = torch.empty(3, 2 * x.shape[2] - 5, 2 * x.shape[3] - 5, device=x.device)
        for low, rows in strips(x.shape[2]):
            y = up(x[:, :, low], None)[:, :, : rows.stop - rows.start + 2]
            painted[:, rows] = self.to_rgb(high(y, None))
        return painted


def _noise_of(
    layer: PlainConv, noise: NoiseReader, index: int, height: int, width: int
) -> Tensor | None:
    return None if layer.noise_strength is None else noise(index, height, width)


def fold(
    conv: ModulatedConv,
    style: Tensor,
    bias: Tensor,
    noise_strength: Tensor | None,
    dtype: torch.dtype,
) -> PlainConv:
    """Fold a modulated convolution, its style [D], bias [O] and activation gain (float32)."""
    strength = None if noise_strength is None else (noise_strength * SQRT2).expand(len(bias))
    return plain_conv(conv.folded_weight(style), bias * SQRT2, strength, conv.up, dtype)


def plain_conv(
    weight: Tensor, bias: Tensor, noise_strength: Tensor | None, up: bool, dtype: torch.dtype
) -> PlainConv:
    """A layer of weight [O,I,k,k], bias [O] and noise strength [O], brought into `dtype`."""
    weight = weight.transpose(0, 1) if up else weight
    if noise_strength is not None:
        noise_strength = noise_strength.to(dtype).contiguous() if noise_strength.any() else None
    return PlainConv(
        weight=weight.to(dtype).contiguous(memory_format=torch.channels_last),
        bias=bias.to(dtype).contiguous(),
        noise_strength=noise_strength,
        up=up,
    )


def compile_structure(
    structure: StructureSynthesizer, z_global: Tensor, dtype: torch.dtype
) -> CompiledStructure:
    """Fold the structure synthesizer for one z_g [D]."""
    parts = [layer for layer in structure.layers if isinstance(layer, StructureLayer)]
    layers = [fold(part.conv, z_global, part.bias, None, dtype) for part in parts]
    return CompiledStructure(tuple(layers), structure.coordinates)


def compile_texture(
    blocks: Sequence[TextureBlock], w: Tensor, dtype: torch.dtype
) -> CompiledTexture:
    """Fold the texture synthesizer for styles w [styles,D]."""

    def layer(part: TextureLayer, style: Tensor) -> PlainConv:
        return fold(part.conv, style, part.bias, part.noise_strength, dtype)

    def rgb(part: ToRGB, style: Tensor) -> PlainRGB:
        weight = part.conv.folded_weight(style).to(dtype)
        return PlainRGB(
            weight.contiguous(memory_format=torch.channels_last), part.bias[:, None, None].clone()
        )

    last = len(blocks) - 1
    return CompiledTexture(
        tuple(
            (
                layer(block.up, w[2 * b]),
                layer(block.conv, w[2 * b + 1]),
                rgb(block.to_rgb, w[2 * b + 2 if b == last else 2 * b + 3]),
            )
            for b, block in enumerate(blocks)
        )
    )


@torch.no_grad()
def compile_generator(
    generator: Generator, z_global: Tensor, w: Tensor, dtype: torch.dtype
) -> tuple[CompiledStructure, CompiledTexture]:
    """Both synthesizers folded for z_g [D] and styles w [styles,D], on their device."""
    blocks = [block for block in generator.texture.blocks if isinstance(block, TextureBlock)]
    return (
        compile_structure(generator.structure, z_global, dtype),
        compile_texture(blocks, w, dtype),
    )


@torch.no_grad()
def compile_detail(step: DetailStep, zoom: int, dtype: torch.dtype) -> CompiledDetail:
    """The step from depth `zoom` to `zoom + 1`, on the device of `step`."""
    folded = fold_detail(step, zoom)
    layers = [
        plain_conv(layer.weight, layer.bias, None, layer.up, dtype) for layer in folded.layers
    ]
    weight = folded.rgb_weight.to(dtype).contiguous(memory_format=torch.channels_last)
    return CompiledDetail(tuple(layers), PlainRGB(weight, None))
