"""Whether the border of a pinned photograph can be seen: the steps across it against those nearby.

A step is the mean absolute difference between a pixel and the next one, at right angles to the
border. The step across the border, from the photograph's outermost pixel to the first painted one,
is divided by the mean of the steps within `REACH_PX` of it on both sides, in the photograph and in
what is painted. A visible border is a ratio above 1.

Shapes: picture uint8 [H,W,3]; the photograph's window in px of that picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infinite_render.errors import UsageError
from infinite_render.geometry import Window

REACH_PX = 32

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Border:
    """Mean steps in grey levels: across the border, inside the photograph, outside near it."""

    across: float
    inside: float
    outside: float

    @property
    def ratio(self) -> float:
        """The step across over the mean of the others; two flat pictures have no border."""
        return (self.across + 1e-9) / ((self.inside + self.outside) / 2 + 1e-9)


def border_of_photograph(picture: Picture, photograph: Window, reach_px: int = REACH_PX) -> Border:
    """The steps at all sides of a photograph that lie inside the picture, by their lengths.

    Raises UsageError where none does.
    """
    sums = np.zeros(3)
    length = 0
    y, x, height, width = photograph
    for turned, along, spans in (
        (picture, (y, height), (x, x + width)),
        (picture.transpose(1, 0, 2), (x, width), (y, y + height)),
    ):
        lines = turned[max(0, along[0]) : max(0, along[0] + along[1])]
        for place, outward in zip(spans, (-1, 1), strict=True):
            first, stop = place - reach_px, place + reach_px
            if first < 1 or stop > lines.shape[1] or not len(lines):
                continue
            part = lines[:, first - 1 : stop + 1].astype(np.int16)
            steps = np.abs(np.diff(part, axis=1)).mean(axis=(0, 2), dtype=np.float64)
            low, across, high = steps[:reach_px], steps[reach_px], steps[reach_px + 1 :]
            inside, outside = (high, low) if outward < 0 else (low, high)
            sums += len(lines) * np.array([across, inside.mean(), outside.mean()])
            length += len(lines)
    if not length:
        raise UsageError(
            f"no side of the photograph lies {reach_px} px inside the picture of "
            f"{picture.shape[1]} x {picture.shape[0]} px; there is no border to judge"
        )
    return Border(*(float(value) for value in sums / length))
