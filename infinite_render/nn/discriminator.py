"""StyleGAN2's residual discriminator on patches, with a head for the vertical position.

After Karras et al. (CVPR 2020); the second head is InfinityGAN's (section 3.4). Sizes are the
patch's, each level n -> ceil(n / 2); "log2 sizes rounded" fixes how many levels there are.
Shapes: patches [N,3,n,n] in [-1, 1] -> logits [N,1] and position [N].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from infinite_render.nn.ops import SQRT2, EqualLinear, activate, drawn, tent_kernel

LAST_PX = 4  # the size, about, at which convolutions end
GROUP = 4  # samples that share one minibatch standard deviation


def levels_of(patch_px: int) -> int:
    """Residual blocks from `patch_px` to about 4 px: round(log2 patch) - 2.

    >>> [levels_of(n) for n in (53, 101, 197, 389, 773)]
    [4, 5, 6, 7, 8]
    """
    return max(1, round(math.log2(patch_px)) - 2)


def minibatch_deviation(x: Tensor, group: int | None = GROUP) -> Tensor:
    """Append one channel: the mean standard deviation over each group of samples.

    x [N,C,h,w] -> [N,C+1,h,w]. A group is `group` consecutive samples, or the largest part of
    them that divides N; None makes it the whole batch, as the reference does.
    """
    samples, channels, height, width = x.shape
    size = samples if group is None else math.gcd(samples, group)
    y = x.float().view(-1, size, channels, height, width)
    deviation = (y.var(dim=1, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [N / size]
    plane = deviation.repeat_interleave(size).view(samples, 1, 1, 1).expand(-1, -1, height, width)
    return torch.cat([x, plane.to(x.dtype)], dim=1)


def smooth(x: Tensor, stride: int = 1) -> Tensor:
    """[1,2,1] x [1,2,1] / 16, then every `stride`-th pixel: [N,C,n,n] -> [N,C,n',n'], n' = ceil."""
    channels = x.shape[1]
    kernel = tent_kernel(1.0).to(x).expand(channels, 1, 3, 3)
    return F.conv2d(x, kernel, stride=stride, padding=1, groups=channels)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate and zero padding; stored weights are N(0,1)."""

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int, *, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(drawn(out_dim, in_dim, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_dim)) if bias else None
        self.gain = 1 / math.sqrt(in_dim * kernel * kernel)
        self.padding, self.stride = kernel // 2, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, self.bias, self.stride, self.padding)


class ResidualBlock(nn.Module):
    """Two convolutions, the second of stride 2, beside a 1x1 skip: [N,I,n,n] -> [N,O,n',n'].

    n' = ceil(n / 2), and both branches keep pixel 0 on pixel 0 whatever the parity of n.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.first = EqualConv(in_dim, in_dim, 3)
        self.second = EqualConv(in_dim, out_dim, 3, stride=2)
        self.skip = EqualConv(in_dim, out_dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = activate(self.first(x))
        y = activate(self.second(smooth(y)))
        skipped: Tensor = self.skip(smooth(x, stride=2))
        return (y + skipped) / SQRT2


class ResidualDiscriminator(nn.Module):
    """Patches [N,3,n,n] in [-1, 1] -> one head's logits [N,1], and vertical position [N].

    dims: channels of the first 1x1 convolution and after each residual block, fine to coarse.
    """

    def __init__(self, patch_px: int, dims: Sequence[int], *, group: int | None = GROUP) -> None:
        super().__init__()
        self.group = group
        self.from_rgb = EqualConv(3, dims[0], 1)
        self.blocks = nn.ModuleList(ResidualBlock(i, o) for i, o in itertools.pairwise(dims))
        side = patch_px
        for _ in self.blocks:
            side = -(-side // 2)
        self.last = EqualConv(dims[-1] + 1, dims[-1], 3)
        self.hidden = EqualLinear(dims[-1] * side * side, dims[-1])
        self.logit = EqualLinear(dims[-1], 1)
        self.position = EqualLinear(dims[-1], 1)
        self.dtype = torch.float32

    def prepare(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Nothing is frozen here: the patches themselves."""
        return (patches,)

    def forward(self, prepared: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        """(patches,) -> ([logits float32 [N,1]], position [N])."""
        (x,) = prepared
        low = self.dtype
        with torch.autocast(x.device.type, dtype=low, enabled=low != torch.float32):
            x = x.contiguous(memory_format=torch.channels_last)
            x = activate(self.from_rgb(x))
            for block in self.blocks:
                x = block(x)
            x = activate(self.last(minibatch_deviation(x, self.group)))
        x = activate(self.hidden(x.float().flatten(1)))
        return [self.logit(x)], self.position(x)[:, 0]
