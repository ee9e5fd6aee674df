"""The compiled generator where styles meet: plain convolutions between maps of scales.

The modulation is linear, so that where the shares a_k of K styles vary by location, the scales of a
convolution's input are s = sum_k a_k s_k, a product of matrices; and its demodulation is exact at
every location by

    sum_i s_i^2 (sum_taps w_oi^2) = sum_kl a_k a_l q_klo,   q_klo = sum_i s_ki s_li sum_taps w_oi^2:

the 1x1 convolution of s^2 with the summed squared weights; multiplied out where there are fewer
pairs of styles than channels. The structure's scales come from z_g, those of the texture from w;
both are blended by the same shares, interpolated between the nodes of the lattice of cells
(`shares`). Everything between two convolutions is done for a few rows at a time, which stay in the
cache.
Shapes: features [1,C,h,w] in the scene's precision, channels last, changed in place; shares
float32 [K,h,w] at nodes; noise as in `compiled`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.geometry import Window, structure_stage, texture_stage, windows_given
from infinite_render.nn.ops import SLOPE, SQRT2, ModulatedConv, blur, center_crop, skip_up
from infinite_render.nn.structure import StructureLayer, StructureSynthesizer
from infinite_render.nn.texture import TextureBlock, TextureSynthesizer
from infinite_render.rendering.compiled import NoiseReader
from infinite_render.rendering.shares import Band, Shares

EPSILON = 1e-8 / 2  # of the demodulation; beside the squares, which carry the gain, too


def _grid(x: Tensor) -> Tensor:
    """[1,C,h,w], channels last -> the same memory as [h,w,C]."""
    return x.permute(0, 2, 3, 1)[0]


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Scales:
    """Scales [K,C] of the styles, in the precision: at a location sum_k a_k s_k."""

    of_styles: Tensor

    def at(self, band: Band, out: Tensor) -> Tensor:
        """[n,C], or [C] for a band of one style; `out` is memory to use, [n,C] or more."""
        if band.weights is None:
            return self.of_styles[band.styles[0]]
        scales = self.of_styles[list(band.styles)]
        weights = band.weights.to(out.dtype).t()
        return torch.mm(weights, scales, out=out[: len(weights)])


@dataclass(frozen=True)
class Demodulation:
    """1 / sqrt of the blended q, with the activation's gain, in the precision.

    scales [K,I], and the summed squared weights over two, [I,O]: rsqrt(1 / 2) is the gain.
    """

    scales: Tensor
    squares: Tensor
    dtype: torch.dtype
    _kept: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def at(self, band: Band, out: Tensor) -> Tensor:
        """[n,O], or [O] for a band of one style; `out` is memory to use, [n,O] or more."""
        weights, styles = band.weights, band.styles
        if weights is None:
            return self._of_pairs(styles)[0].rsqrt()
        out = out[: weights.shape[1]]
        if len(styles) * (len(styles) + 1) // 2 <= self.scales.shape[1]:
            pairs = _pairs(weights).to(self.dtype).t()
            return torch.mm(pairs, self._of_pairs(styles), out=out).rsqrt_()
        scales = weights.to(self.dtype).t() @ self.scales[list(styles)].to(self.dtype)
        q = torch.mm(scales.square_(), self.squares.to(self.dtype), out=out)
        return q.add_(EPSILON).rsqrt_()

    def _of_pairs(self, styles: tuple[int, ...]) -> Tensor:
        """q of the pairs k <= l in order, [K (K + 1) / 2,O], in the precision."""
        if styles not in self._kept:
            scales = self.scales[list(styles)]
            k, j = torch.triu_indices(len(styles), len(styles), device=scales.device)
            twice = torch.where(k == j, 1.0, 2.0)[:, None]
            # The products of the shares sum to 1, and so carry the epsilon.
            q = (scales[k] * scales[j] * twice) @ self.squares + EPSILON * twice
            self._kept[styles] = q.to(self.dtype)
        return self._kept[styles]


def _pairs(share: Tensor) -> Tensor:
    """a_k a_l for k <= l in order, [K,n] -> [K (K + 1) / 2,n]."""
    count, n = share.shape
    products = share.new_empty(count * (count + 1) // 2, n)
    row = 0
    for k in range(count):
        torch.mul(share[k:], share[k], out=products[row : row + count - k])
        row += count - k
    return products


def _scratch(x: Tensor, shares: Shares) -> Tensor:
    """Memory for what a band of [h,w,C] is multiplied by, taken once: fresh memory is slow."""
    channels = x.shape[1]
    return x.new_empty(shares.step(channels) * shares.window.width, channels)


def _spread(factors: Tensor, values: Tensor) -> Tensor:
    """Factors [C] or [n,C] of a band as they multiply its values [r,w,C]."""
    rows, width = values.shape[:2]
    if factors.ndim == 1 or len(factors) == width:  # one row's, and so every row's
        return factors
    return factors[: rows * width].view(values.shape)


def scale_(x: Tensor, scales: Scales, shares: Shares) -> Tensor:
    """x [1,I,h,w] times sum_k a_k s_k, in place."""
    grid, scratch = _grid(x), _scratch(x, shares)
    for band in shares.bands(x.shape[1]):
        values = grid[band.rows]
        values.mul_(_spread(scales.at(band, scratch), values))
    return x


@dataclass(frozen=True)
class BlendedConv:
    """A convolution whose input is scaled already; then demodulation, noise, bias, leaky ReLU.

    weight [O,I,k,k] ([I,O,k,k] when up); noise_bias [2,O]: strength and bias, with the activation's
    gain. then_scales are those of the next convolution, where nothing else reads the output.
    """

    weight: Tensor
    demodulation: Demodulation
    noise_bias: Tensor
    up: bool
    then_scales: Scales | None = None

    def __call__(self, x: Tensor, shares: Shares, noise: Tensor | None) -> Tensor:
        """x [1,I,h,w] -> [1,O,h',w']; shares and noise [h',w'] on the lattice of the output."""
        if self.up:
            y = blur(F.conv_transpose2d(x, self.weight, stride=2, padding=1))
        else:
            y = F.conv2d(x, self.weight)
        y = _last(y)
        grid = _grid(y)
        added = torch.zeros(*grid.shape[:2], 2, dtype=y.dtype, device=y.device)
        added[..., 1] = 1
        if noise is not None:
            added[..., 0] = noise
        scratch = _scratch(y, shares)
        for band in shares.bands(y.shape[1]):
            values = grid[band.rows]
            values.mul_(_spread(self.demodulation.at(band, scratch), values))
            values.flatten(0, 1).addmm_(added[band.rows].flatten(0, 1), self.noise_bias)
            F.leaky_relu_(values, SLOPE)
            if self.then_scales is not None:
                values.mul_(_spread(self.then_scales.at(band, scratch), values))
        return y


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
    squares = weight.square().sum(dim=(2, 3)).t() / 2  # [I,O]
    strength = torch.zeros_like(bias) if noise_strength is None else noise_strength.expand_as(bias)
    weight = weight.transpose(0, 1) if conv.up else weight
    return BlendedConv(
        weight=_last(weight.to(dtype)),
        demodulation=Demodulation(scales, squares, dtype),
        noise_bias=(torch.stack([strength, bias]) * SQRT2).to(dtype),
        up=conv.up,
        then_scales=None if then_scales is None else Scales(then_scales.to(dtype)),
    )


@dataclass(frozen=True)
class BlendedStructure:
    """As `CompiledStructure`, over the window of cells that the shares were made for."""

    layers: tuple[tuple[Scales, BlendedConv], ...]  # scales of the input, convolution
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
                x = _last(torch.cat([x, center_crop(c, x.shape[2], x.shape[3]).to(x.dtype)], dim=1))
            x = conv(scale_(x, scales, lattices[i]), lattices[i + 1], None)
        return x


@dataclass(frozen=True)
class BlendedRGB:
    """A 1x1 convolution to RGB: weight [I,3] in the precision, bias [3,1,1] float32.

    scales are those of its input; None where the convolution before has scaled it, for nothing else
    reads it.
    """

    weight: Tensor
    bias: Tensor
    scales: Scales | None

    def __call__(self, x: Tensor, shares: Shares, then_scales: Scales | None) -> Tensor:
        """x [1,I,h,w] -> float32 [3,h,w]; then x is scaled in place for what reads it next."""
        grid = _grid(x)
        rgb = x.new_empty(*grid.shape[:2], 3)
        if self.scales is None:
            torch.mm(grid.flatten(0, 1), self.weight, out=rgb.flatten(0, 1))
        else:
            scratch, scaled = _scratch(x, shares), _scratch(x, shares)
            for band in shares.bands(x.shape[1]):
                values = grid[band.rows]
                part = scaled[: values.shape[0] * values.shape[1]]
                factors = _spread(self.scales.at(band, scratch), values)
                torch.mul(values, factors, out=part.view(values.shape))
                torch.mm(part, self.weight, out=rgb[band.rows].flatten(0, 1))
                if then_scales is not None:
                    values.mul_(_spread(then_scales.at(band, scratch), values))
        return rgb.permute(2, 0, 1).float() + self.bias


@dataclass(frozen=True)
class BlendedBlock:
    """Scales of the input, an upsampling convolution, a convolution and a ToRGB."""

    scales: Scales
    up: BlendedConv
    conv: BlendedConv
    to_rgb: BlendedRGB


@dataclass(frozen=True)
class BlendedTexture:
    """As `CompiledTexture`, on the window of z_s that the shares were made for."""

    blocks: tuple[BlendedBlock, ...]
    nodes: Tensor
    window_cell: Window

    def __call__(self, z_structure: Tensor, noise: NoiseReader) -> Tensor:
        windows = windows_given(texture_stage(len(self.blocks)), self.window_cell)
        given, *lattices = [
            Shares(self.nodes, self.window_cell, window, 1 << (i + 1) // 2)
            for i, window in enumerate(windows)
        ]
        x = z_structure.clone(memory_format=torch.channels_last)
        x = scale_(x, self.blocks[0].scales, given)
        rgb: Tensor | None = None
        for b, block in enumerate(self.blocks):
            middle, out = lattices[2 * b : 2 * b + 2]
            x = block.up(x, middle, noise(2 * b, *middle.window[2:]))
            x = block.conv(x, out, noise(2 * b + 1, *out.window[2:]))
            following = self.blocks[b + 1 : b + 2]
            painted = block.to_rgb(x, out, following[0].scales if following else None)
            if rgb is not None:
                painted += center_crop(skip_up(rgb[:, None]), *painted.shape[1:])[:, 0]
            rgb = painted
        assert rgb is not None
        return rgb


def blend_structure(
    structure: StructureSynthesizer, z_global: Tensor, dtype: torch.dtype
) -> tuple[tuple[Scales, BlendedConv], ...]:
    """The layers of the structure synthesizer for K global latents [K,D]."""
    layers = []
    for layer in structure.layers:
        assert isinstance(layer, StructureLayer)
        scales = layer.conv.modulation(z_global)
        blended = blend_conv(layer.conv, scales, layer.bias, None, dtype)
        layers.append((Scales(scales.to(dtype)), blended))
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
        rgb_weight = rgb.conv.scaled_weight().flatten(1).t().contiguous()
        blocks.append(
            BlendedBlock(
                Scales(up_scales.to(dtype)),
                blend_conv(up.conv, up_scales, up.bias, up.noise_strength, dtype, conv_scales),
                blend_conv(
                    *(conv.conv, conv_scales, conv.bias, conv.noise_strength, dtype),
                    then_scales=rgb_scales if b == last else None,
                ),
                BlendedRGB(
                    rgb_weight.to(dtype),
                    rgb.bias[:, None, None].clone(),
                    None if b == last else Scales(rgb_scales.to(dtype)),
                ),
            )
        )
    return tuple(blocks)
