"""Inception v3 as the FID of the literature uses it: its pool features, [N,2048].

Szegedy et al., "Rethinking the Inception architecture" (2016), as exported from TensorFlow in
2015: average pools that do not count their padding, and a maximum in the pool branch of the last
block. Parameters carry the names of the widespread PyTorch port of those weights, so that its
state dict loads as it is; the weights themselves are the user's.

A block is a table: branches side by side, each a row of steps; what the branches give is joined.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INCEPTION_DIM = 2048
INPUT_PX = 299
CLASSES = 1008  # of the classifier that comes with the weights, unused here


class Conv(NamedTuple):
    """A convolution by name: out channels, kernel (y, x), stride; padded where it has stride 1."""

    name: str
    out_dim: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


class Fork(NamedTuple):
    """Two convolutions of one input, joined."""

    first: Conv
    second: Conv


Step = Conv | Fork | str  # a str is a pool: "average", "maximum" (3x3, stride 1) or "halve"
Branches = tuple[tuple[Step, ...], ...]


def _conv_chain(
    prefix: str, *steps: tuple[int, tuple[int, int]], stride: int = 1
) -> tuple[Conv, ...]:
    """Convolutions prefix_1, prefix_2, ...; only the last one has the stride."""
    last = len(steps)
    return tuple(
        Conv(f"{prefix}_{i}", out_dim, kernel, stride if i == last else 1)
        for i, (out_dim, kernel) in enumerate(steps, start=1)
    )


def _block_a(pool_dim: int) -> Branches:
    return (
        (Conv("branch1x1", 64),),
        _conv_chain("branch5x5", (48, (1, 1)), (64, (5, 5))),
        _conv_chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
        ("average", Conv("branch_pool", pool_dim)),
    )


_BLOCK_B: Branches = (
    (Conv("branch3x3", 384, (3, 3), 2),),
    _conv_chain("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3)), stride=2),
    ("halve",),
)


def _block_c(dim: int) -> Branches:
    wide, tall = (1, 7), (7, 1)
    return (
        (Conv("branch1x1", 192),),
        _conv_chain("branch7x7", (dim, (1, 1)), (dim, wide), (192, tall)),
        _conv_chain(
            "branch7x7dbl", (dim, (1, 1)), (dim, tall), (dim, wide), (dim, tall), (192, wide)
        ),
        ("average", Conv("branch_pool", 192)),
    )


_BLOCK_D: Branches = (
    _conv_chain("branch3x3", (192, (1, 1)), (320, (3, 3)), stride=2),
    _conv_chain(
        "branch7x7x3", (192, (1, 1)), (192, (1, 7)), (192, (7, 1)), (192, (3, 3)), stride=2
    ),
    ("halve",),
)


def _block_e(pool: str) -> Branches:
    def fork(prefix: str) -> Fork:
        return Fork(Conv(f"{prefix}a", 384, (1, 3)), Conv(f"{prefix}b", 384, (3, 1)))

    return (
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), fork("branch3x3_2")),
        (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), fork("branch3x3dbl_3")),
        (pool, Conv("branch_pool", 192)),
    )


BLOCKS: dict[str, Branches] = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": _BLOCK_B,
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": _BLOCK_D,
    "Mixed_7b": _block_e("average"),
    "Mixed_7c": _block_e("maximum"),
}


class NormedConv(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, in_dim: int, spec: Conv, *, padded: bool = True) -> None:
        super().__init__()
        same = padded and spec.stride == 1
        padding = (spec.kernel[0] // 2, spec.kernel[1] // 2) if same else (0, 0)
        self.conv = nn.Conv2d(in_dim, spec.out_dim, spec.kernel, spec.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(spec.out_dim, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """One table of branches; `out_dim` channels come out."""

    def __init__(self, in_dim: int, branches: Branches) -> None:
        super().__init__()
        self.branches = branches
        self.out_dim = 0
        for steps in branches:
            dim = in_dim
            for step in steps:
                convs = (
                    (step,) if isinstance(step, Conv) else step if isinstance(step, Fork) else ()
                )
                for conv in convs:
                    self.add_module(conv.name, NormedConv(dim, conv))
                dim = sum(conv.out_dim for conv in convs) or dim
            self.out_dim += dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._branch(steps, x) for steps in self.branches], dim=1)

    def _branch(self, steps: tuple[Step, ...], x: Tensor) -> Tensor:
        for step in steps:
            if isinstance(step, Conv):
                x = self.get_submodule(step.name)(x)
            elif isinstance(step, Fork):
                x = torch.cat([self.get_submodule(conv.name)(x) for conv in step], dim=1)
            elif step == "average":
                x = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
            elif step == "maximum":
                x = F.max_pool2d(x, 3, stride=1, padding=1)
            else:
                x = F.max_pool2d(x, 3, stride=2)
        return x


class Inception(nn.Module):
    """uint8 [N,3,H,W] -> pool features float32 [N,2048]; resizes to 299 px without antialias."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = NormedConv(3, Conv("", 32, (3, 3), 2))
        self.Conv2d_2a_3x3 = NormedConv(32, Conv("", 32, (3, 3)), padded=False)
        self.Conv2d_2b_3x3 = NormedConv(32, Conv("", 64, (3, 3)))
        self.Conv2d_3b_1x1 = NormedConv(64, Conv("", 80))
        self.Conv2d_4a_3x3 = NormedConv(80, Conv("", 192, (3, 3)), padded=False)
        dim = 192
        for name, branches in BLOCKS.items():
            block = Block(dim, branches)
            self.add_module(name, block)
            dim = block.out_dim
        self.fc = nn.Linear(dim, CLASSES)  # there only so that the state dict is whole

    def forward(self, rgb: Tensor) -> Tensor:
        x = F.interpolate(rgb.float() / 255, (INPUT_PX, INPUT_PX), mode="bilinear") * 2 - 1
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3))
