"""One step of the detail ladder: twice the resolution, with learnt detail and the same scene.

`low_layers` convolutions at the low resolution, one upsampling convolution with its blur (the
texture synthesizer's own), one convolution at the high resolution, a 1x1 to RGB; then the painted
picture's low-pass is replaced by the input (`scale.keep_low_pass`). So what a step gives, halved,
is what it was given: exactly, for any weights, at any depth. Zooming cannot move, tint or fade the
scene; the network decides only what the input leaves open.

The noise enters once, as a fourth channel of the picture: drawn for three layers and added after
each, as the texture synthesizer has it, it took a fifth of the time of a picture of depth 6.

A layer is convolution, gain of the zoom, bias, activation. Zoom d is the step from depth d to
d + 1; beyond the last trained zoom its gains stay those of the last. They are constant in one
picture, so that `fold_detail` turns a step into plain convolutions.
Lattices: x and its noise are px of depth d.
Shapes: x float32 [N,3,h,w], about [-1,1], noise [N,1,h,w] -> [N,3,2h-29,2w-29] (three low layers).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.config import DetailConfig
from infinite_render.nn.ops import SLOPE, SQRT2, activate, drawn, up_conv
from infinite_render.nn.scale import keep_low_pass

GIVEN_CHANNELS = 4  # RGB and noise


class DetailLayer(nn.Module):
    """3x3 convolution (`up`: upsampling) with a gain per zoom and channel."""

    def __init__(self, in_dim: int, out_dim: int, zooms: int, *, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(out_dim, in_dim, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.zoom_gain = nn.Parameter(torch.zeros(zooms, out_dim))
        self.gain = (in_dim * 9) ** -0.5
        self.up = up

    def forward(self, x: Tensor, zoom: Tensor) -> Tensor:
        """x [N,I,h,w], zoom int64 [N] -> [N,O,h',w']."""
        weight = (self.weight * self.gain).to(x.dtype)
        y = up_conv(x, weight) if self.up else F.conv2d(x, weight)
        y = y * (1 + self.zoom_gain[zoom])[:, :, None, None].to(y.dtype)
        return activate(y + self.bias[:, None, None].to(y.dtype))


class DetailStep(nn.Module):
    """RGB of depth d and noise -> RGB of depth d + 1.

    Features are computed in the dtype of `self.compute`, RGB in float32.
    """

    def __init__(
        self, low_dim: int, up_dim: int, high_dim: int, *, low_layers: int, zooms: int
    ) -> None:
        super().__init__()
        self.low_layers = low_layers
        self.zooms = zooms
        self.compute = torch.float32
        layers = [
            DetailLayer(low_dim if i else GIVEN_CHANNELS, low_dim, zooms) for i in range(low_layers)
        ]
        layers.append(DetailLayer(low_dim, up_dim, zooms, up=True))
        layers.append(DetailLayer(up_dim, high_dim, zooms))
        self.layers = nn.ModuleList(layers)
        # Without a bias: a constant is low-pass, and would be taken away again.
        self.rgb_weight = nn.Parameter(drawn(3, high_dim, 1, 1))
        self.rgb_gain = 0.3 * high_dim**-0.5

    def forward(self, x: Tensor, zoom: int | Tensor, noise: Tensor) -> Tensor:
        """x [N,3,h,w], zoom one for all or int64 [N], noise [N,1,h,w]."""
        zoom = torch.as_tensor(zoom, device=x.device).expand(x.shape[0])
        zoom = zoom.clamp(max=self.zooms - 1)
        y = torch.cat([x, noise], dim=1).to(self.compute)
        for layer in self.layers:
            y = layer(y, zoom)
        painted = F.conv2d(y, (self.rgb_weight * self.rgb_gain).to(y.dtype))
        return keep_low_pass(x.float(), painted.float())


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
    """A plain convolution, its bias, leaky ReLU 0.2 without gain."""

    weight: Tensor  # [O,I,3,3] float32
    bias: Tensor  # [O]
    up: bool  # transposed 3x3 of stride 2, cropped by 1, blurred (`ops.up_conv`)


@dataclass(frozen=True)
class FoldedDetail:
    """A step at one zoom: its layers, then a 1x1 convolution to RGB, then `keep_low_pass`."""

    layers: tuple[FoldedLayer, ...]
    rgb_weight: Tensor  # [3,O,1,1]


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
        folded.append(FoldedLayer(layer.weight * scale, layer.bias.clone(), layer.up))
        carried = SQRT2
    return FoldedDetail(tuple(folded), step.rgb_weight * (step.rgb_gain * carried))


def run_folded(folded: FoldedDetail, x: Tensor, noise: Tensor) -> Tensor:
    """What the folded step paints from x [N,3,h,w]; the plain form of a compiled one."""
    y = torch.cat([x, noise], dim=1)
    for layer in folded.layers:
        y = up_conv(y, layer.weight) if layer.up else F.conv2d(y, layer.weight)
        y = F.leaky_relu(y + layer.bias[:, None, None], SLOPE)
    return keep_low_pass(x, F.conv2d(y, folded.rgb_weight))
