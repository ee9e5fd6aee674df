"""Whether the borders of a renderer's cells can be seen in a picture: they must not.

At a border of cells lies the step from pixel b - 1 to pixel b. Its mean absolute difference is
divided by that of the steps elsewhere: those within `REACH` strides of the border, at whole strides
from it. Nearby, because a picture's contrast changes with height; at whole strides, because an
upsampling network paints every pixel of its lattice a little differently, and a border always
falls on the same one. A visible seam is a ratio above 1 by more than chance.

Shapes: picture uint8 [H,W,3], its first pixel at (y, x) of the plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infinite_render.errors import UsageError
from infinite_render.evaluation.distances import NORMAL_95

REACH = 8  # strides on either side of a border
SEGMENT_PX = 128  # borders are cut to such lengths, and these are resampled for the interval
RESAMPLES = 400

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seams:
    """Mean step at borders over mean step elsewhere, and its 95 % interval over the segments."""

    ratio: float
    low: float
    high: float
    segments: int
    cell_px: int
    megapixels: float


def seam_ratio(
    picture: Picture, y_px: int, x_px: int, cell_px: int, stride: int, seed: int = 0
) -> Seams:
    """The ratio over all borders of cells inside the picture, upright and level together.

    Raises UsageError where the picture holds no border far enough from its own edge.
    """
    upright = _segments(picture, x_px, cell_px, stride)
    level = _segments(picture.transpose(1, 0, 2), y_px, cell_px, stride)
    pairs = np.concatenate([upright, level])  # [n,2]: step at the border, mean step elsewhere
    if not len(pairs):
        raise UsageError(
            f"a picture of {picture.shape[1]} x {picture.shape[0]} px holds no whole border of "
            f"cells of {cell_px} px; give a larger canvas"
        )
    drawn = np.random.default_rng([seed, len(pairs)]).integers(
        0, len(pairs), (RESAMPLES, len(pairs))
    )
    resampled = pairs[drawn].sum(axis=1)  # [RESAMPLES,2]
    deviation = float(np.std(_ratio(resampled), ddof=1))
    ratio = float(_ratio(pairs.sum(axis=0)))
    half = NORMAL_95 * deviation
    megapixels = picture.shape[0] * picture.shape[1] / 1e6
    return Seams(ratio, ratio - half, ratio + half, len(pairs), cell_px, megapixels)


def _ratio(sums: Floats) -> Floats:
    """Border over elsewhere; two flat pictures have no seam."""
    at_border, elsewhere = sums[..., 0], sums[..., 1]
    ratio: Floats = (at_border + 1e-12) / (elsewhere + 1e-12)
    return ratio


def _segments(picture: Picture, first_px: int, cell_px: int, stride: int) -> Floats:
    """Steps along axis 1 at borders and around them, [n,2], one row a segment of a border."""
    height, width = picture.shape[:2]
    reach = REACH * stride
    first = -(-(first_px + reach + 1) // cell_px) * cell_px - first_px
    pairs = []
    for border in range(first, width - reach, cell_px):
        places = np.arange(border - reach, border + reach + 1, stride)
        before = picture[:, places - 1].astype(np.float64)
        steps = np.abs(picture[:, places] - before).mean(axis=2)  # [H, 2 REACH + 1]
        for start in range(0, height - SEGMENT_PX + 1, SEGMENT_PX):
            means = steps[start : start + SEGMENT_PX].mean(axis=0)
            pairs.append((means[REACH], np.delete(means, REACH).mean()))
    return np.array(pairs, np.float64).reshape(-1, 2)
