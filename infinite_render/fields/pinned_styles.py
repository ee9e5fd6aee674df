"""The styles of pinned photographs: each over its own stretch of the plane, blended in between.

Left of the first photograph its style goes on for ever, and right of the last one that one's.
Spaces: cells of the plane, as in `fields.styles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from infinite_render.errors import UsageError
from infinite_render.fields.pins import Pin
from infinite_render.fields.styles import (
    AnyStyle,
    Blend,
    Floats,
    OneStyle,
    PinnedStyle,
    StyleField,
    gather,
    nodes,
    smooth,
)
from infinite_render.geometry import Window


class StyledSpan(NamedTuple):
    """Columns start <= x <= stop of nodes, which have one style."""

    start: float
    stop: float
    style: PinnedStyle


@dataclass(frozen=True)
class StyledSpans:
    """Spans from left to right; between two of them the style changes smoothly."""

    spans: tuple[StyledSpan, ...]

    def __post_init__(self) -> None:
        for left, right in pairwise(self.spans):
            if not left.start <= left.stop < right.start <= right.stop:
                raise ValueError(f"spans {left[:2]} and {right[:2]} are not one after the other")

    def blend(self, window_cell: Window) -> Blend:
        _, x = nodes(window_cell)
        column = np.zeros((window_cell.height, 1))
        parts: list[tuple[AnyStyle, Floats]] = []
        left = self.spans[0]
        share: Floats = np.ones_like(x)
        for right in self.spans[1:]:
            after = smooth((x - left.stop) / (right.start - left.stop))
            parts.append((left.style, share * (1 - after) + column))
            share, left = after, right
        return gather([*parts, (left.style, share + column)])

    def wrapped(self, period_cells: int) -> Self:
        raise UsageError("photographs cannot be pinned on a cylinder; leave out one of the two")

    def describe(self) -> dict[str, Any]:
        rows = [[span.start, span.stop, span.style.digest] for span in self.spans]
        return {"kind": "spans", "spans": rows}


def style_of(pin: Pin) -> PinnedStyle:
    """The style that repaints a pin's photograph."""
    return PinnedStyle(pin.digest, (pin.z_global, pin.styles))


def styles_between(pins: Sequence[Pin]) -> StyleField:
    """Each pin's style over the columns of latents it pins, blended between neighbours.

    At least a third of the way from one photograph to the next is left to the change.
    Raises UsageError for photographs less than a cell apart along x.
    """
    row = sorted(pins, key=lambda pin: pin.place_px[1])
    if len(row) == 1:
        return OneStyle(style_of(row[0]))
    starts, stops = [float(row[0].z_window.x)], []
    for left, right in pairwise(row):
        stop = (left.place_px[1] + left.size_px[1]) / left.cell_px
        start = right.place_px[1] / right.cell_px
        if start - stop < 1:
            raise UsageError(
                f"photographs at x = {left.place_px[1]} and {right.place_px[1]} px are less than "
                f"a cell of latents ({left.cell_px} px) apart; place them farther apart"
            )
        third = (start - stop) / 3
        stops.append(min(float(left.z_window.x_span.stop), stop + third))
        starts.append(max(float(right.z_window.x), start - third))
    stops.append(float(row[-1].z_window.x_span.stop))
    spans = zip(starts, stops, row, strict=True)
    return StyledSpans(tuple(StyledSpan(a, b, style_of(pin)) for a, b, pin in spans))
