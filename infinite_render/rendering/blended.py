"""The compiled generator where styles meet: plain convolutions between maps of scales.

The modulation is linear, so that where the shares a_k of K styles vary by location, the scales of a
convolution's input are s = sum_k a_k s_k, a product of matrices; and its demodulation is exact at
every location by

    sum_i s_i^2 (sum_taps w_oi^2) = sum_kl a_k a_l q_klo,   q_klo = sum_i s_ki s_li sum_taps w_oi^2:

the 1x1 convolution of s^2 with the summed squared weights; multiplied out where there are fewer
pairs of styles than channels. The structure's scales come from z_g, those of
the texture from w; both are blended by the same shares, given at the nodes of the lattice of cells
and interpolated linearly on every finer lattice.

Everything between two convolutions is done for a few rows at a time, which stay in the cache.
Shapes: features [1,C,h,w] in the scene's precision, channels last, changed in place; shares
float32 [K,h,w] at nodes; noise as in `compiled`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.geometry import Window, structure_stage, texture_stage, windows_given
from infinite_render.nn.ops import SLOPE, SQRT2, ModulatedConv, blur, center_crop, skip_up
from infinite_render.nn.structure import StructureLayer, StructureSynthesizer
from infinite_render.nn.texture import TextureBlock, TextureSynthesizer
from infinite_render.rendering.compiled import NoiseReader

_BAND_VALUES = 1 << 19  # of features at a time: about a core's cache, and few calls a cell
EPSILON = 1e-8 / 2  # of the demodulation; beside the squares, which carry the gain, too


@dataclass(frozen=True)
class Shares:
    """Shares of K styles on a lattice of `points` to a cell, read a band of rows at a time.

    nodes [K,n,m] cover `cells`; `window` is the part of the lattice that is asked for.
    """

    nodes: Tensor
    cells: Window
    window: Window
    points: int

    def bands(self, channels: int) -> Iterator[tuple[slice, Tensor]]:
        """Rows of features [h w,C] of the window, and the shares there, float32 [K,rows]."""
        height, width = self.window[2:]
        step = max(1, _BAND_VALUES // (channels * width))
        down = _tents(self.window.y, height, self.cells.y, self.cells.height, self.points)
        across = _tents(self.window.x, width, self.cells.x, self.cells.width, self.points)
        down = down.to(self.nodes.device)
        columns = self.nodes @ across.to(self.nodes.device).t()  # [K,n,w]
        for y in range(0, height, step):
            stop = min(y + step, height)
            first = (self.window.y + y) // self.points - self.cells.y
            last = (self.window.y + stop - 1) // self.points + 2 - self.cells.y
            shares = down[y:stop, first:last] @ columns[:, first:last]  # [K,rows,w]
            yield slice(y * width, stop * width), shares.flatten(1)


def _tents(start: int, size: int, first: int, count: int, points: int) -> Tensor:
    """Linear interpolation from nodes first .. first + count - 1, [size,count]; exact weights."""
    place = (np.arange(start, start + size) - first * points)[:, None] / points
    weight = 1 - np.abs(place - np.arange(count)[None])
    return torch.from_numpy(np.maximum(weight, 0).astype(np.float32))


def _rows(x: Tensor) -> Tensor:
    """[1,C,h,w], channels last -> the same memory as [h w,C]."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def scale_(x: Tensor, scales: Tensor, shares: Shares) -> Tensor:
    """x [1,I,h,w] times sum_k a_k s_k, in place; scales [K,I]."""
    rows = _rows(x)
    scratch = _scratch(rows, shares)
    for band, share in shares.bands(x.shape[1]):
        part = rows[band]
        part.mul_(torch.mm(share.to(x.dtype).t(), scales, out=scratch[: len(part)]))
    return x


def _scratch(rows: Tensor, shares: Shares) -> Tensor:
    """Memory for what a band of [n,C] is multiplied by, taken once: fresh memory is slow."""
    channels = rows.shape[1]
    return rows.new_empty(max(_BAND_VALUES // channels, shares.window.width), channels)


@dataclass(frozen=True)
class BlendedConv:
    """A convolution whose input is scaled already; then demodulation, noise, bias, leaky ReLU.

    weight [O,I,k,k] ([I,O,k,k] when up); squares [K (K + 1) / 2, O] are q, the pairs k <= l in
    order, or, where `scales` [K,I] are given, the summed squared weights [I,O]; noise_bias [2,O]:
    strength and bias. All with the activation's gain, in the precision. then_scales [K,O] are
    those of the next convolution, where nothing else reads the output.
    """

    weight: Tensor
    squares: Tensor
    scales: Tensor | None
    noise_bias: Tensor
    up: bool
    then_scales: Tensor | None = None

    def __call__(self, x: Tensor, shares: Shares, noise: Tensor | None) -> Tensor:
        """x [1,I,h,w] -> [1,O,h',w']; shares and noise [h',w'] on the lattice of the output."""
        if self.up:
            y = blur(F.conv_transpose2d(x, self.weight, stride=2, padding=1))
        else:
            y = F.conv2d(x, self.weight)
        y = _last(y)
        rows = _rows(y)
        added = torch.zeros(rows.shape[0], 2, dtype=y.dtype, device=y.device)
        added[:, 1] = 1
        if noise is not None:
            added[:, 0] = noise.reshape(-1)
        scratch = _scratch(rows, shares)
        for band, share in shares.bands(y.shape[1]):
            part, factor = rows[band], scratch[: band.stop - band.start]
            if self.scales is None:
                torch.mm(_pairs(share).to(y.dtype).t(), self.squares, out=factor)
            else:
                scales = share.to(y.dtype).t() @ self.scales
                torch.mm(scales.square_(), self.squares, out=factor).add_(EPSILON)
            part.mul_(factor.rsqrt_())
            part.addmm_(added[band], self.noise_bias)
            F.leaky_relu_(part, SLOPE)
            if self.then_scales is not None:
                part.mul_(torch.mm(share.to(y.dtype).t(), self.then_scales, out=factor))
        return y


def _pairs(share: Tensor) -> Tensor:
    """a_k a_l for k <= l, [K,n] -> [K (K + 1) / 2,n]."""
    return torch.cat([share[k:] * share[k] for k in range(len(share))])


def blend_conv(
    conv: ModulatedConv,
    scales: Tensor,
    bias: Tensor,
    noise_strength: Tensor | None,
    dtype: torch.dtype,
    then_scales: Tensor | None = None,
) -> BlendedConv:
    """Compile a demodulated convolution for K styles, whose scales are [K,I] float32."""
    weight = conv.scaled_weight()
    squares = weight.square().sum(dim=(2, 3)).t() / 2  # [I,O]; the gain: sqrt(2) = rsqrt(1 / 2)
    k, j = torch.triu_indices(len(scales), len(scales), device=scales.device)
    by_pairs = len(k) <= scales.shape[1]
    if by_pairs:
        twice = torch.where(k == j, 1.0, 2.0)[:, None]
        # The products of the shares sum to 1, and so carry the epsilon.
        squares = (scales[k] * scales[j] * twice) @ squares + EPSILON * twice
    strength = torch.zeros_like(bias) if noise_strength is None else noise_strength.expand_as(bias)
    weight = weight.transpose(0, 1) if conv.up else weight
    return BlendedConv(
        weight=_last(weight.to(dtype)),
        squares=squares.to(dtype).contiguous(),
        scales=None if by_pairs else scales.to(dtype),
        noise_bias=(torch.stack([strength, bias]) * SQRT2).to(dtype),
        up=conv.up,
        then_scales=None if then_scales is None else then_scales.to(dtype),
    )


@dataclass(frozen=True)
class BlendedStructure:
    """As `CompiledStructure`, over the window of cells that the shares were made for."""

    layers: tuple[tuple[Tensor, BlendedConv], ...]  # scales [K,I] of the input, convolution
    nodes: Tensor
    window_cell: Window
    radius: int
    coordinates: bool

    def __call__(self, z_local: Tensor, c: Tensor) -> Tensor:
        windows = windows_given(structure_stage(len(self.layers), self.radius), self.window_cell)
        lattices = [Shares(self.nodes, self.window_cell, window, 1) for window in windows]
        x = z_local.clone(memory_format=torch.channels_last)
        for i, (scales, conv) in enumerate(self.layers):
            if self.coordinates:
                x = _last(torch.cat([x, center_crop(c, x.shape[2], x.shape[3])], dim=1))
            x = conv(scale_(x, scales, lattices[i]), lattices[i + 1], None)
        return x


@dataclass(frozen=True)
class BlendedBlock:
    """Scales [K,I] of the input, an upsampling convolution, a convolution and a ToRGB.

    rgb_weight [3 K,I,1,1] is that of style 0, then of style 1, ...; rgb_bias [3,1,1] float32.
    """

    scales: Tensor
    up: BlendedConv
    conv: BlendedConv
    rgb_weight: Tensor
    rgb_bias: Tensor


@dataclass(frozen=True)
class BlendedTexture:
    """As `CompiledTexture`, on the window of z_s that the shares were made for."""

    blocks: tuple[BlendedBlock, ...]
    nodes: Tensor
    window_cell: Window

    def __call__(self, z_structure: Tensor, noise: NoiseReader) -> Tensor:
        windows = windows_given(texture_stage(len(self.blocks)), self.window_cell)
        lattices = [
            Shares(self.nodes, self.window_cell, window, 1 << (i + 1) // 2)
            for i, window in enumerate(windows)
        ]
        x = z_structure.clone(memory_format=torch.channels_last)
        rgb: Tensor | None = None
        for b, block in enumerate(self.blocks):
            given, middle, out = lattices[2 * b : 2 * b + 3]
            x = scale_(x, block.scales, given)
            x = block.up(x, middle, noise(2 * b, *middle.window[2:]))
            x = block.conv(x, out, noise(2 * b + 1, *out.window[2:]))
            painted = _paint(x, block, out)
            if rgb is not None:
                painted += center_crop(skip_up(rgb[:, None]), *painted.shape[1:])[:, 0]
            rgb = painted
        assert rgb is not None
        return rgb


def _paint(x: Tensor, block: BlendedBlock, shares: Shares) -> Tensor:
    """The ToRGB of each style by its share: x [1,C,h,w] -> float32 [3,h,w]."""
    each = _rows(_last(F.conv2d(x, block.rgb_weight)))  # [h w,3 K]
    rgb = torch.empty(3, len(each), dtype=torch.float32, device=x.device)
    for band, share in shares.bands(each.shape[1]):
        colours = each[band].t().float().view(len(share), 3, -1)  # [K,3,n]
        torch.mul(colours[0], share[0], out=rgb[:, band])
        for k in range(1, len(share)):
            rgb[:, band].addcmul_(colours[k], share[k])
    return rgb.view(3, *x.shape[2:]) + block.rgb_bias


def blend_structure(
    structure: StructureSynthesizer, z_global: Tensor, dtype: torch.dtype
) -> tuple[tuple[Tensor, BlendedConv], ...]:
    """The layers of the structure synthesizer for K global latents [K,D]."""
    layers = []
    for layer in structure.layers:
        assert isinstance(layer, StructureLayer)
        scales = layer.conv.modulation(z_global)
        layers.append((scales.to(dtype), blend_conv(layer.conv, scales, layer.bias, None, dtype)))
    return tuple(layers)


def blend_texture(
    texture: TextureSynthesizer, w: Tensor, dtype: torch.dtype
) -> tuple[BlendedBlock, ...]:
    """The blocks of the texture synthesizer for K styles w [K,styles,D]."""
    blocks = []
    last = len(texture.blocks) - 1
    for b, block in enumerate(texture.blocks):
        assert isinstance(block, TextureBlock)
        up, conv, rgb = block.up, block.conv, block.to_rgb
        up_scales = up.conv.modulation(w[:, 2 * b])
        conv_scales = conv.conv.modulation(w[:, 2 * b + 1])
        rgb_scales = rgb.conv.modulation(w[:, 2 * b + 2 if b == last else 2 * b + 3])
        rgb_weight = (rgb.conv.scaled_weight() * rgb_scales[:, None, :, None, None]).flatten(0, 1)
        blocks.append(
            BlendedBlock(
                up_scales.to(dtype),
                blend_conv(up.conv, up_scales, up.bias, up.noise_strength, dtype, conv_scales),
                blend_conv(conv.conv, conv_scales, conv.bias, conv.noise_strength, dtype),
                _last(rgb_weight.to(dtype)),
                rgb.bias[:, None, None].clone(),
            )
        )
    return tuple(blocks)
