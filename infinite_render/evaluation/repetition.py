"""Whether a long canvas repeats itself: against the photographs' own variety, and at its period.

Blocks of 64 px are compared as thumbnails of a quarter of their size, by root mean square
difference in grey levels; candidates lie at least 512 px away on the canvas, in another photograph
among the photographs. The canvas is a strip as high as a photograph, on the trained band, so that
both sides show sky above ground.
Autocorrelation: of the strip along x, the mean of every row taken out, at the period of the
horizontal coordinate, against all lags of 512 px and more that are far from its multiples.

Spaces: px of the canvas; thumb, 4 px each. Shapes: pictures uint8 [H,W,3].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from infinite_render.errors import UsageError
from infinite_render.evaluation.nearest import nearest_distance

BLOCK_PX = 64
APART_PX = 512
SHRINK = 4  # px per thumb
SIDE = BLOCK_PX // SHRINK  # thumbs
STEP = 2  # thumbs between candidates
QUERIES = 1000

Picture = npt.NDArray[np.uint8]
Thumbs = npt.NDArray[np.float32]  # [h,w,3]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Repetition:
    """Distances in grey levels (0 .. 255), of median blocks; correlations in [-1, 1].

    ratio    canvas over photographs at equal numbers of candidates: about 1, or below where one
             scene's palette makes its places more alike than two photographs
    closest  of any query block to any block of the whole canvas; 0 is an exact repetition
    """

    canvas: float
    photographs: float
    ratio: float
    closest: float
    candidates: int
    blocks: int
    at_period: float
    lag_low: float
    lag_high: float
    period_px: int
    megapixels: float


def repetition(
    canvas: Picture, photographs: Sequence[Picture], period_px: int, seed: int = 0
) -> Repetition:
    """Compare a canvas [H,W,3] with photographs [h,w,3] of the same scale.

    Raises UsageError for a canvas under 64 px high or too short to hold distant blocks, and where
    no photograph is 64 px high and wide.
    """
    small = _shrunk(canvas)
    if small.shape[0] < SIDE or canvas.shape[1] < 2 * (APART_PX + BLOCK_PX):
        raise UsageError(
            f"repetition of a canvas of {canvas.shape[1]} x {canvas.shape[0]} px: it must be at "
            f"least {2 * (APART_PX + BLOCK_PX)} x {BLOCK_PX} px"
        )
    blocks, x = _blocks(small)
    parts = [_blocks(_shrunk(picture))[0] for picture in photographs]
    own = np.concatenate(parts)
    source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    if len(np.unique(source)) < 2:
        raise UsageError(f"repetition needs two photographs of {BLOCK_PX} px and more")

    rng = np.random.default_rng([seed, len(blocks), len(own)])
    candidates = min(len(blocks), len(own))
    apart = APART_PX // SHRINK

    def far(queries: Integers, among: Integers) -> npt.NDArray[np.float32]:
        return nearest_distance(
            blocks[queries],
            blocks[among],
            lambda part: np.abs(x[queries][:, None] - x[among][part][None]) >= apart,
        )

    every = np.arange(len(blocks))
    queries = _some(rng, len(blocks), QUERIES)
    matched = far(queries, _some(rng, len(blocks), candidates))
    asked, among = _some(rng, len(own), QUERIES), _some(rng, len(own), candidates)
    reference = nearest_distance(
        own[asked],
        own[among],
        lambda part: source[asked][:, None] != source[among][part][None],
    )
    at_period, low, high = _autocorrelation(small, period_px)
    of_canvas, of_photographs = float(np.median(matched)), float(np.median(reference))
    return Repetition(
        canvas=of_canvas,
        photographs=of_photographs,
        ratio=of_canvas / max(of_photographs, 1e-12),
        closest=float(far(queries, every).min()),
        candidates=candidates,
        blocks=len(blocks),
        at_period=at_period,
        lag_low=low,
        lag_high=high,
        period_px=period_px,
        megapixels=canvas.shape[0] * canvas.shape[1] / 1e6,
    )


def _some(rng: np.random.Generator, total: int, count: int) -> Integers:
    return rng.permutation(total)[:count]


def _shrunk(picture: Picture) -> Thumbs:
    """Means of squares of 4 px, float32 [h,w,3]; a rest at the right and below is left out."""
    h, w = picture.shape[0] // SHRINK, picture.shape[1] // SHRINK
    whole = picture[: h * SHRINK, : w * SHRINK].reshape(h, SHRINK, w, SHRINK, 3)
    thumbs: Thumbs = whole.mean(axis=(1, 3), dtype=np.float32)
    return thumbs


def _blocks(small: Thumbs) -> tuple[npt.NDArray[np.uint8], Integers]:
    """All blocks at steps of two thumbs, uint8 [n,768], and the column of each in thumbs."""
    if small.shape[0] < SIDE or small.shape[1] < SIDE:
        return np.empty((0, SIDE * SIDE * 3), np.uint8), np.empty(0, np.int64)
    levels = small.round().astype(np.uint8)
    views = np.lib.stride_tricks.sliding_window_view(levels, (SIDE, SIDE), axis=(0, 1))
    views = views[::STEP, ::STEP]  # [rows,columns,3,16,16]
    x = np.tile(np.arange(views.shape[1]) * STEP, views.shape[0])
    return views.reshape(-1, SIDE * SIDE * 3), x


def _autocorrelation(small: Thumbs, period_px: int) -> tuple[float, float, float]:
    """The correlation at the period, and the 2.5 % and 97.5 % quantiles of those of other lags."""
    period = round(period_px / SHRINK)
    width = small.shape[1]
    longest = min(width // 2, 8 * period)
    if period > longest:
        raise UsageError(
            f"a canvas of {width * SHRINK} px is too short for a period of {period_px} px; "
            "make it twice as long or longer"
        )
    rows = np.moveaxis(small - small.mean(axis=1, keepdims=True), 1, 2).reshape(-1, width)
    size = 1 << (2 * width - 1).bit_length()
    power = np.zeros(size // 2 + 1)
    for row in rows:
        power += np.abs(np.fft.rfft(row, size)) ** 2
    sums = np.fft.irfft(power, size)[: longest + 1]
    correlation = sums / (width - np.arange(longest + 1))
    correlation /= max(correlation[0], 1e-12)
    lags = np.arange(longest + 1)
    from_multiple = np.minimum(lags % period, period - lags % period)
    others = (lags * SHRINK >= APART_PX) & (from_multiple > SIDE)
    low, high = np.quantile(correlation[others], [0.025, 0.975]) if others.any() else (0.0, 0.0)
    return float(correlation[period]), float(low), float(high)
