"""The generator's operators: equalised layers, modulated convolutions, padding-free resampling.

Sources: equalised learning rate (Karras et al., ICLR 2018), modulation and demodulation (StyleGAN2,
Karras et al., CVPR 2020), all without padding (InfinityGAN, Lin et al., ICLR 2022).
Shapes: x [N,I,h,w], style [N,I] or, per location, [N,I,h,w]; weights [O,I,k,k].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2.0)
SLOPE = 0.2


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, scaled by sqrt(2) to keep the variance."""
    return F.leaky_relu(x, SLOPE) * SQRT2


def pixel_norm(z: Tensor) -> Tensor:
    """z / sqrt(mean(z^2) + 1e-8) over the channels of z [N,D]."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


def tent_kernel(gain: float) -> Tensor:
    """[1,2,1] x [1,2,1] / 16 * gain, [3,3]."""
    tap = torch.tensor([1.0, 2.0, 1.0])
    return torch.outer(tap, tap) * (gain / 16)


def spread_tent(x: Tensor) -> Tensor:
    """[1,2,1] x [1,2,1] / 4 for every channel of x [N,C,h,w], in its dtype: [C,1,3,3]."""
    return tent_kernel(4.0).to(x).expand(x.shape[1], 1, 3, 3)


def blur(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """[1,2,1] x [1,2,1] / 4 on every channel, plus bias [C]: [N,C,h,w] -> [N,C,h-2,w-2]."""
    return F.conv2d(x, spread_tent(x), bias, groups=x.shape[1])


def skip_up(x: Tensor) -> Tensor:
    """The running RGB, doubled by the transposed tent, cropped by 1: n -> 2n - 1 on each axis."""
    return F.conv_transpose2d(x, spread_tent(x), stride=2, padding=1, groups=x.shape[1])


def up_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Transposed 3x3 convolution of stride 2, cropped by 1, blurred: [N,I,n,n] -> [N,O,2n-3,2n-3].

    `weight` is [O,I,3,3] as for a plain convolution, `bias` [O] comes last.
    """
    return blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2, padding=1), bias)


def center_crop(x: Tensor, height: int, width: int) -> Tensor:
    """The central `height` x `width` of x [N,C,h,w]."""
    top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
    return x[:, :, top : top + height, left : left + width]


def drawn(*shape: int, divisor: float = 1.0) -> Tensor:
    """Fresh weights, N(0,1) / divisor from torch's generator; on "meta" their shape alone.

    There `torch.randn`, and any arithmetic, would take a second to import symbolic shapes.
    """
    weight = torch.empty(shape)
    return weight if weight.is_meta else weight.normal_().div_(divisor)


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate; stored weights are N(0,1) / lr_multiplier."""

    def __init__(
        self, in_dim: int, out_dim: int, *, lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(out_dim, in_dim, divisor=lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_dim,), bias_init))
        self.gain = lr_multiplier / math.sqrt(in_dim)
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.gain, self.bias * self.lr_multiplier)


class Mapping(nn.Module):
    """z_g [N,D] -> w [N,D]: PixelNorm, then equalised linear layers, lr multiplier 0.01."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList(
            EqualLinear(dim, dim, lr_multiplier=0.01) for _ in range(layers)
        )

    def forward(self, z_global: Tensor) -> Tensor:
        w = pixel_norm(z_global)
        for layer in self.layers:
            w = activate(layer(w))
        return w


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, without padding.

    In a batch the activations are scaled, not the weights: one plain convolution for all pictures;
    the demodulation `rsqrt(sum (w s)^2 + 1e-8)` is then a factor per output channel, one product of
    s^2 with the summed squared weights, exact also where the style varies by location. One picture
    has its style folded into the weights, as rendering has it: the same sums, in the same order.

    What is demodulated goes into a leaky ReLU and carries its gain, sqrt(2): sqrt(2) * lrelu(y) =
    lrelu(sqrt(2) y).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel: int,
        style_dim: int,
        *,
        up: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(out_dim, in_dim, kernel, kernel))
        self.modulation = EqualLinear(style_dim, in_dim, bias_init=1.0)
        self.gain = 1 / math.sqrt(in_dim * kernel * kernel)
        self.up = up
        self.demodulate = demodulate

    def scaled_weight(self) -> Tensor:
        """[O,I,k,k] with the equalised gain in it."""
        return self.weight * self.gain

    def folded_weight(self, w: Tensor) -> Tensor:
        """[O,I,k,k] for one style vector w [D]: scaled by it and demodulated, with every gain."""
        style: Tensor = self.modulation(w[None])[0]  # [I]
        weight = self.scaled_weight() * style[None, :, None, None]
        if self.demodulate:
            squares = weight.square().sum(dim=(1, 2, 3), keepdim=True)
            weight = weight * torch.rsqrt(squares + 1e-8) * SQRT2
        return weight

    def forward(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        """x [N,I,h,w], style vectors w [N,D], bias [O] -> [N,O,h',w']."""
        bias = None if bias is None else bias.to(x.dtype)
        if len(x) == 1:
            x = x.contiguous(memory_format=torch.channels_last)
            return self._convolve(x, self.folded_weight(w[0]), bias)
        style = self.modulation(w)  # [N,I]
        weight = self.scaled_weight()
        y = self._convolve(x * style[:, :, None, None].to(x.dtype), weight, None)
        if self.demodulate:
            squares = weight.square().sum(dim=(2, 3))  # [O,I]
            factor = SQRT2 * torch.rsqrt(style.square() @ squares.t() + 1e-8)  # [N,O]
            y = y * factor[:, :, None, None].to(y.dtype)
        return y if bias is None else y + bias[:, None, None]

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        weight = weight.to(x.dtype)
        return up_conv(x, weight, bias) if self.up else F.conv2d(x, weight, bias)
