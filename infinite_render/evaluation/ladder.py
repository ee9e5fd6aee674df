"""How good a detail ladder is: is what it paints like photographs, and does it hold its course?

    patches    1:1 patches of photographs' coarsest level, climbed or enlarged by bicubic
               interpolation, against the same places of the photographs (`detail_data` levels)
    course     one window climbed step after step: how much detail each step adds, how far it moves
               the mean colour, how far the picture as bytes, halved, is from what was climbed
Spaces: depth d has 2^d px for one of depth 0, pixel q lying at 2^d q. Grey levels are of 0..255.
Shapes: rgb float32 [1,3,h,w] in [-1, 1]; pictures uint8 [N,P,P,3].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.evaluation.distances import (
    Features,
    frechet_distance,
    kernel_distance,
    statistics_of,
)
from infinite_render.evaluation.protocols import Pictures
from infinite_render.geometry import Halve, Stage, Window, detail_stage, windows_given
from infinite_render.nn.detail import DetailStep
from infinite_render.nn.scale import double, halve
from infinite_render.pixels import Pixels
from infinite_render.training.detail_sheets import to_rgb

GREY = 127.5  # grey levels per unit of rgb


@dataclass(frozen=True)
class PatchFigures:
    """Distances of patches at one depth to photographs' patches at the same places."""

    depth: int
    patches: int
    frechet_ladder: float
    frechet_bicubic: float
    kernel_ladder: float
    kernel_bicubic: float


@dataclass(frozen=True)
class Course:
    """What one step of a climb did; grey levels."""

    depth: int  # that the step reached
    detail: float  # mean absolute difference from its input, doubled
    colour: float  # how far the mean of a channel moved, at most
    beyond: float  # share of values past [-1, 1]
    drift: float  # mean absolute difference of the picture as bytes, halved, from what was climbed


def climb(
    step: DetailStep, rgb: Tensor, given: Window, zoom: int, numbers: torch.Generator
) -> tuple[Tensor, Window]:
    """One step from rgb, which covers `given`: the picture and the window it covers."""
    noise = torch.randn(1, 1, *rgb.shape[2:], generator=numbers)
    return step(rgb, zoom, noise), windows_given(_stage(step), given)[-1]


@torch.no_grad()
def course(step: DetailStep, rgb: Tensor, steps: int = 8, side_px: int = 96) -> list[Course]:
    """Climb the middle of rgb `steps` times, cutting each picture to about `side_px`."""
    numbers = torch.Generator().manual_seed(0)
    window, figures = Window(0, 0, *rgb.shape[2:]), []
    for zoom in range(steps):
        finer, out = climb(step, rgb, window, zoom, numbers)
        plain = _double(rgb, window, out)
        moved = (finer - plain).mean(dim=(0, 2, 3)).abs().max()
        figures.append(
            Course(
                depth=zoom + 1,
                detail=GREY * (finer - plain).abs().mean().item(),
                colour=GREY * moved.item(),
                beyond=(finer.abs() > 1).float().mean().item(),
                drift=_drift(finer, out, rgb, window),
            )
        )
        rgb, window = _middle(finer, out, side_px)
    return figures


def patch_figures(
    step: DetailStep,
    photographs: Sequence[Sequence[Pixels]],
    space: Callable[[Pictures], Features],
    depth: int,
    patch_px: int = 64,
    most: int = 1000,
    stride_px: int | None = None,
) -> PatchFigures:
    """Distances at `depth`, over photographs given as levels, coarse to fine.

    Patches are cut every `stride_px` (None: side by side) from every photograph that reaches the
    depth, and thinned evenly to `most`: few patches bias the Frechet distance upwards. The two
    distances of the ladder and of bicubic interpolation are of equal counts.
    """
    numbers = torch.Generator().manual_seed(depth)
    rows = [
        patches
        for levels in photographs
        if len(levels) > depth
        for patches in _triples(step, levels, depth, patch_px, stride_px or patch_px, numbers)
    ]
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    ladder, bicubic, real = (space(np.stack(column)) for column in zip(*chosen, strict=True))
    law = statistics_of(real)
    return PatchFigures(
        depth=depth,
        patches=len(chosen),
        frechet_ladder=frechet_distance(law, statistics_of(ladder)),
        frechet_bicubic=frechet_distance(law, statistics_of(bicubic)),
        kernel_ladder=kernel_distance(real, ladder),
        kernel_bicubic=kernel_distance(real, bicubic),
    )


def _triples(
    step: DetailStep,
    levels: Sequence[Pixels],
    depth: int,
    patch_px: int,
    stride_px: int,
    numbers: torch.Generator,
) -> Iterator[tuple[Pixels, Pixels, Pixels]]:
    """(climbed, bicubic, photograph) patches of one photograph."""
    climbed = to_rgb(levels[0])
    window = Window(0, 0, *climbed.shape[2:])
    enlarged = enlarge(climbed, depth)
    with torch.no_grad():
        for zoom in range(depth):
            climbed, window = climb(step, climbed, window, zoom, numbers)
    pictures = [
        _bytes(climbed),
        _bytes(enlarged[(..., *_index(window))]),
        levels[depth][_index(window)],
    ]
    for y in range(0, window.height - patch_px + 1, stride_px):
        for x in range(0, window.width - patch_px + 1, stride_px):
            first, second, third = (p[y : y + patch_px, x : x + patch_px] for p in pictures)
            yield first, second, third


def enlarge(rgb: Tensor, depth: int) -> Tensor:
    """Bicubic enlargement by 2^depth on the ladder's lattice: pixel q at 2^depth q."""
    size = [((n - 1) << depth) + 1 for n in rgb.shape[2:]]
    return F.interpolate(rgb, size=size, mode="bicubic", align_corners=True)


def _drift(finer: Tensor, out: Window, rgb: Tensor, given: Window) -> float:
    """Mean absolute difference, in grey levels, of `finer` as bytes and halved from `rgb`."""
    shown = (finer.clamp(-1, 1) * GREY).round() / GREY
    kept = windows_given((Halve(),), out)[-1]  # a step's output begins at an even pixel
    return GREY * (halve(shown) - rgb.clamp(-1, 1)[(..., *kept.within(given))]).abs().mean().item()


def _double(rgb: Tensor, window: Window, out: Window) -> Tensor:
    whole = Window(2 * window.y + 2, 2 * window.x + 2, 2 * window.height - 5, 2 * window.width - 5)
    return double(rgb)[(..., *out.within(whole))]


def _middle(rgb: Tensor, window: Window, side_px: int) -> tuple[Tensor, Window]:
    height, width = min(side_px, window.height), min(side_px, window.width)
    y, x = (window.height - height) // 2, (window.width - width) // 2
    cut = Window(window.y + y, window.x + x, height, width)
    return rgb[(..., *cut.within(window))], cut


def _index(window: Window) -> tuple[slice, slice]:
    return slice(window.y, window.y + window.height), slice(window.x, window.x + window.width)


def _bytes(rgb: Tensor) -> Pixels:
    pixels = (rgb.clamp(-1, 1) * GREY + GREY).round().to(torch.uint8)[0].permute(1, 2, 0)
    return np.ascontiguousarray(pixels.numpy())


def _stage(step: DetailStep) -> Stage:
    return detail_stage(step.low_layers)
