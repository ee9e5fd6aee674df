"""The photograph at the resolution of the base model: the ladder's own shrink, mirrored margins.

Spaces, all (y, x): fine px of the plane of depth d, on which the photograph has its own pixels;
base px of depth 0. Base pixel q lies where fine pixel 2^d q does, and its value is the ladder's
low-pass there (`nn.scale.halve`), so that what the ladder makes of the base is comparable with the
photograph pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinite_render.config import GeneratorConfig, ModelRecipe
from infinite_render.errors import UsageError
from infinite_render.geometry import Halve, Span, Stage, Window, window_needed, windows_given
from infinite_render.nn.scale import halve
from infinite_render.pixels import Pixels
from infinite_render.rendering.plan import default_depth

LEAST_PX = 8  # of a photograph at base scale, along each axis


def choose_depth(recipe: ModelRecipe, height_px: int) -> int:
    """The depth at which a photograph of that height is nearest to the trained band: that of a
    canvas of the same height; 0 without a ladder.
    """
    return default_depth(recipe.generator, recipe.render, recipe.detail, height_px)


def check_photograph(photograph: Pixels, depth: int) -> None:
    """UsageError for what is no picture, or is too small to be seen at base scale."""
    shape, kind = tuple(photograph.shape), photograph.dtype
    if len(shape) != 3 or shape[2] != 3 or kind != np.uint8:
        raise UsageError(f"a photograph is uint8 [height, width, 3], got {kind} {list(shape)}")
    least = LEAST_PX << depth
    if min(shape[:2]) < least:
        raise UsageError(
            f"the photograph of {shape[1]} x {shape[0]} px is too small to be inverted at depth "
            f"{depth}; both sides must be {least} px or more"
        )


def base_window(window_px: Window, depth: int) -> Window:
    """All base pixels that a window of fine pixels touches.

    >>> base_window(Window(8, -5, 16, 10), 3)
    Window(y=1, x=-1, height=2, width=2)
    """
    spans = [
        Span(span.start >> depth, -(-span.stop >> depth))
        for span in (window_px.y_span, window_px.x_span)
    ]
    return Window.of(*spans)


def to_base(photograph: Pixels, place_px: Sequence[int], depth: int) -> tuple[Tensor, Window]:
    """A photograph [H,W,3] at (y, x) of depth d -> float32 [3,h,w] in about [-1, 1], base window.

    Beyond its edges, where the low-pass reads on, the photograph is mirrored.
    """
    here = Window(*place_px, *photograph.shape[:2])
    target = base_window(here, depth)
    stage: Stage = (Halve(),) * depth
    needed = window_needed(stage, target)
    rows = _mirrored(needed.y_span, here.y_span)
    columns = _mirrored(needed.x_span, here.x_span)
    x = torch.from_numpy(photograph[rows[:, None], columns]).permute(2, 0, 1)[None]
    x = x.contiguous().float().div_(127.5).sub_(1)
    for _ in range(depth):
        x = halve(x)
    given = windows_given(stage, needed)[-1]
    rows_kept, columns_kept = target.within(given)
    return x[0, :, rows_kept, columns_kept].contiguous(), target


def _mirrored(needed: Span, given: Span) -> NDArray[np.intp]:
    """Indices into an axis of `given` for every place of `needed`; the edge is not repeated."""
    period = max(1, 2 * (given.size - 1))
    index = (np.arange(needed.start, needed.stop) - given.start) % period
    return np.minimum(index, period - index)


def spans_band(config: GeneratorConfig, base: Window) -> float:
    """The vertical shift, in cells, that puts the middle of the band on that of the photograph."""
    first_px, stop_px = config.band_px
    return ((first_px + stop_px) / 2 - (base.y + base.height / 2)) / config.stride


def horizon_shift(config: GeneratorConfig, horizon_base_px: float) -> float:
    """The vertical shift, in cells, that puts v = 0 on a base row of the plane."""
    return config.span_cells / 2 - horizon_base_px / config.stride


def first_row(config: GeneratorConfig, y_px: int) -> float:
    """Row of the trained band at which a patch starts whose first pixel row is y_px, unshifted.

    >>> first_row(GeneratorConfig(), 14), first_row(GeneratorConfig(), 62)
    (0.0, 6.0)
    """
    return (y_px - config.band_px[0]) / config.stride
