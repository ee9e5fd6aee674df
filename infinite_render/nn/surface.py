"""The surface of lakes: where water is laid over land, px by px, and how it ripples.

    how far inside the shores cells lie, noise -> share of water, ripples; RGB of both -> RGB

Shores are rough, and water ripples, by the noise that the texture synthesizer adds, too: so both
are functions of the position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.geometry import Span, Window

ROUGH = (0.06, 0.2)  # px to a deviation of noise and px between its points: far shore and near
SHALLOWS_PX = 3.5  # of the near shore; the far one is a px wide
RIPPLES = 0.06  # of water's light, to a deviation
WAVE = 5  # points of a lattice: about half of a ripple's length, which is a point high
FINEST_PX = 5.0  # as far from the far shore ripples are a px high
OCTAVES = 1.2  # times that this distance doubles until they are twice as high
FINE = 0.4  # of their height that ripples a px high keep on larger ones: else water is a blur

NoiseOf = Callable[[int, Window], Tensor]
"""(layer, window) -> noise float32 [N,1,h,w] of a texture layer, over a window of its lattice."""


class Surface(NamedTuple):
    """Of each px, float32 [N,1,h,w]: what share is water, and what share of light ripples add."""

    share: Tensor
    ripples: Tensor


def surface_of(
    inside: Tensor, window_cell: Window, noise: NoiseOf, blocks: int, window_px: Window
) -> Surface:
    """Shores and ripples of px of a window; `inside` [N,2,n,m] of a window of cells around it.

    Ripples are long and low, the larger the nearer, and fine ones lie on all others.
    """
    inside_px = (1 << blocks) * _enlarged(inside, window_cell, blocks, window_px)
    doubled = (inside_px[:, :1] / FINEST_PX).clamp(min=1).log2() / OCTAVES
    rough = ripples = torch.zeros_like(doubled)
    for block in range(blocks):
        doublings = blocks - 1 - block
        window = _points_around(window_px, doublings)
        longer = window._replace(x=window.x - WAVE, width=window.width + 2 * WAVE)
        points = noise(2 * block + 1, longer)
        waves = F.conv2d(points, _wave(points.device))
        points = points[:, :, :, WAVE:-WAVE]
        rough = rough + (1 << doublings) * _enlarged(points, window, doublings, window_px)
        here = 1 - (doubled.clamp(max=blocks - 1) - doublings).abs()
        here = here.clamp(min=0 if doublings else FINE)
        ripples = ripples + here * _enlarged(waves, window, doublings, window_px)
    roughness, width = (
        torch.tensor(values, device=inside.device)[:, None, None]
        for values in (ROUGH, (1.0, SHALLOWS_PX))
    )
    share = ((inside_px + roughness * rough) / width + 0.5).clamp(0, 1)
    return Surface(share.prod(dim=1, keepdim=True), RIPPLES * ripples)


def laid_over(land: Tensor, water: Tensor, surface: Surface) -> Tensor:
    """RGB of land with water over it, float32 [N,3,h,w] each, about [-1, 1]; land where none is."""
    rippled = water + surface.ripples * (water + 1)
    return torch.lerp(land, rippled, surface.share)


def _wave(device: torch.device) -> Tensor:
    """A filter along rows that makes waves of noise, of variance 1 both, [1,1,1,2 WAVE + 1]."""
    taps = 1 + WAVE - torch.arange(-WAVE, WAVE + 1, device=device).abs().float()
    wave: Tensor = taps / taps.norm()
    return wave[None, None, None]


def _points_around(window_px: Window, doublings: int) -> Window:
    """The window of a lattice that px of a window lie between, after so many doublings."""
    if doublings == 0:
        return window_px

    def points(span: Span) -> Span:
        return Span((span.start >> doublings) - 1, -(-span.stop >> doublings) + 1)

    return Window.of(points(window_px.y_span), points(window_px.x_span))


def _enlarged(values: Tensor, window: Window, doublings: int, window_px: Window) -> Tensor:
    """Values [N,C,n,m] of points of a lattice, between them for each px, [N,C,h,w]."""
    step = 1 << doublings
    if step > 1:
        values = F.interpolate(values, scale_factor=step, mode="bilinear")
    before = max(0, step // 2 - 1)  # px: the centre of cell 0 is px 0.5
    first = Window(step * window.y - before, step * window.x - before, *values.shape[2:])
    rows, columns = window_px.within(first)
    return values[:, :, rows, columns]
