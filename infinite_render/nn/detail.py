"""One step of the detail ladder: twice the resolution, with learnt detail and the same scene.

`low_layers` convolutions at the low resolution, one upsampling convolution with its blur (the
texture synthesizer's own), one convolution at the high resolution, a 1x1 to RGB; then the painted
picture's low-pass is replaced by the input (`scale.keep_low_pass`). So what a step gives, halved,
is what it was given: exactly, for any weights, at any depth. Zooming cannot move, tint or fade the
scene; the network decides only what the input leaves open.

A layer is convolution, gain of the zoom, noise, bias, activation. Zoom d is the step from depth d
to d + 1; beyond the last trained zoom its gains stay those of the last. They are constant in one
picture, so that `fold_detail` turns a step into plain convolutions.
Lattices: x px of depth d; each layer's noise has the lattice and window of its output
(`geometry.detail_stage`, entry i + 1 of `spans_given` for layer i).
Shapes: x float32 [N,3,h,w], about [-1,1] -> [N,3,2h-29,2w-29].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.config import DetailConfig
from infinite_render.geometry import Window, detail_stage, windows_given
from infinite_render.nn.ops import SLOPE, SQRT2, activate, up_conv
from infinite_render.nn.scale import keep_low_pass


class DetailLayer(nn.Module):
    """3x3 convolution (`up`: upsampling) with a gain and a noise strength per zoom and channel."""

    def __init__(
        self, in_dim: int, out_dim: int, zooms: int, *, up: bool = False, noisy: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.zoom_gain = nn.Parameter(torch.zeros(zooms, out_dim))
        self.noise_strength = nn.Parameter(torch.full((zooms, out_dim), 0.1)) if noisy else None
        self.gain = (in_dim * 9) ** -0.5
        self.up = up

    def forward(self, x: Tensor, zoom: Tensor, noise: Tensor | None) -> Tensor:
        """x [N,I,h,w], zoom int64 [N], noise [N,1,h',w'] (None: drawn) -> [N,O,h',w']."""
        weight = (self.weight * self.gain).to(x.dtype)
        y = up_conv(x, weight) if self.up else F.conv2d(x, weight)
        y = y * (1 + self.zoom_gain[zoom])[:, :, None, None].to(y.dtype)
        if self.noise_strength is not None:
            if noise is None:
                noise = torch.randn(y.shape[0], 1, *y.shape[2:], device=y.device)
            strength = self.noise_strength[zoom][:, :, None, None]  # [N,O,1,1]
            y = y + strength.to(y.dtype) * noise.to(y.dtype)
        return activate(y + self.bias[:, None, None].to(y.dtype))


class DetailStep(nn.Module):
    """RGB of depth d -> RGB of depth d + 1: [N,3,h,w] -> [N,3,2h-29,2w-29] (three low layers).

    Features are computed in the dtype of `self.compute`, RGB in float32.
    """

    def __init__(
        self, low_dim: int, up_dim: int, high_dim: int, *, low_layers: int, zooms: int
    ) -> None:
        super().__init__()
        self.low_layers = low_layers
        self.zooms = zooms
        self.compute = torch.float32
        last = low_layers - 1
        layers = [
            DetailLayer(low_dim if i else 3, low_dim, zooms, noisy=i == last)
            for i in range(low_layers)
        ]
        layers.append(DetailLayer(low_dim, up_dim, zooms, up=True, noisy=True))
        layers.append(DetailLayer(up_dim, high_dim, zooms, noisy=True))
        self.layers = nn.ModuleList(layers)
        self.rgb_weight = nn.Parameter(torch.randn(3, high_dim, 1, 1))
        self.rgb_bias = nn.Parameter(torch.zeros(3))
        self.rgb_gain = 0.3 * high_dim**-0.5

    def noise_sizes(self, height: int, width: int) -> list[tuple[int, int] | None]:
        """(h', w') of each layer's noise for an input of that size; None for a layer without."""
        windows = windows_given(detail_stage(self.low_layers), Window(0, 0, height, width))
        return [
            (window.height, window.width) if layer.noise_strength is not None else None
            for layer, window in zip(self.layers, windows[1:-2], strict=True)
        ]

    def forward(
        self, x: Tensor, zoom: int | Tensor, noise: Sequence[Tensor | None] | None = None
    ) -> Tensor:
        """zoom: one for all, or int64 [N]. noise: one [N,1,h',w'] a layer, None where a layer has
        none; `noise=None` draws it from torch's generator.
        """
        zoom = torch.as_tensor(zoom, device=x.device).expand(x.shape[0])
        zoom = zoom.clamp(max=self.zooms - 1)
        y = x.to(self.compute)
        for i, layer in enumerate(self.layers):
            y = layer(y, zoom, None if noise is None else noise[i])
        painted = F.conv2d(y, (self.rgb_weight * self.rgb_gain).to(y.dtype)).float()
        return keep_low_pass(x.float(), painted + self.rgb_bias[:, None, None])


def build_detail(config: DetailConfig) -> DetailStep:
    """The step that `config` describes, with fresh weights from torch's generator."""
    return DetailStep(
        config.low_dim,
        config.up_dim,
        config.high_dim,
        low_layers=config.low_layers,
        zooms=config.zooms,
    )


@dataclass(frozen=True)
class FoldedLayer:
    """A plain convolution, `+ noise_strength * z_n + bias`, leaky ReLU 0.2 without gain."""

    weight: Tensor  # [O,I,3,3] float32
    bias: Tensor  # [O]
    noise_strength: Tensor | None  # [O], times the layer's one noise channel; None: no noise
    up: bool  # transposed 3x3 of stride 2, cropped by 1, blurred (`ops.up_conv`)


@dataclass(frozen=True)
class FoldedDetail:
    """A step at one zoom: its layers, then a 1x1 convolution to RGB, then `keep_low_pass`."""

    layers: tuple[FoldedLayer, ...]
    rgb_weight: Tensor  # [3,O,1,1]
    rgb_bias: Tensor  # [3]


@torch.no_grad()
def fold_detail(step: DetailStep, zoom: int) -> FoldedDetail:
    """`step` at `zoom` (0 or more) as plain convolutions, every gain folded into the weights.

    The activation's sqrt(2) moves into the next layer's weights.
    """
    z = min(zoom, step.zooms - 1)
    folded, carried = [], 1.0
    for layer in step.layers:
        assert isinstance(layer, DetailLayer)
        scale = (1 + layer.zoom_gain[z])[:, None, None, None] * (layer.gain * carried)
        strength = None if layer.noise_strength is None else layer.noise_strength[z].clone()
        folded.append(FoldedLayer(layer.weight * scale, layer.bias.clone(), strength, layer.up))
        carried = SQRT2
    rgb_weight = step.rgb_weight * (step.rgb_gain * carried)
    return FoldedDetail(tuple(folded), rgb_weight, step.rgb_bias.clone())


def run_folded(folded: FoldedDetail, x: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
    """What the folded step paints from x [N,3,h,w]; the plain form of a compiled one."""
    y = x
    for layer, z in zip(folded.layers, noise, strict=True):
        y = up_conv(y, layer.weight) if layer.up else F.conv2d(y, layer.weight)
        if layer.noise_strength is not None:
            assert z is not None
            y = y + layer.noise_strength[:, None, None] * z
        y = F.leaky_relu(y + layer.bias[:, None, None], SLOPE)
    return keep_low_pass(x, F.conv2d(y, folded.rgb_weight, folded.rgb_bias))
