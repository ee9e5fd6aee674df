"""What floats in the sky of a painted frame, and the frame without it.

    frame -> features -> skyline -> view -> dark spots -> what is afloat -> the sky around, instead

A discriminator hardly sees that a sliver of rock hangs in the air: in a frame of 101 px it is a
few pixels. The picture itself tells: above the skyline it is a small dark spot that no darkness
joins to the ground, what an area closing fills (Vincent, 1993). scikit-image is an optional
package, of the extra `skies`; nothing but `training.lessons` imports this file.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.measure import label, regionprops
from skimage.morphology import area_closing

from infinite_render.pixels import Pixels

SMALLEST_PX, LARGEST_PX = 6, 450  # area of what floats
DARK = 0.03  # least depth of a spot, where 1 is from black to white
STEEPEST_PX = 5  # that a skyline may rise or fall from one column to the next

Mask = NDArray[np.bool_]


def features(rgb: Pixels) -> NDArray[np.float32]:
    """Brightness, two differences of colour and roughness of every pixel, [h,w,4]."""
    blurred = gaussian_filter(rgb.astype(np.float32) / 255, (0.7, 0.7, 0))
    grey = blurred.mean(axis=2)
    rough = np.sqrt(gaussian_filter((grey - gaussian_filter(grey, 2)) ** 2, 2) + 1e-6)
    red, green, blue = np.moveaxis(blurred, 2, 0)
    return np.stack([grey, red - green, blue - green, 3 * rough], axis=2)


def mahalanobis(given: NDArray[np.float32], sample: Mask) -> tuple[NDArray[np.float64], float]:
    """Squared Mahalanobis distance of every pixel to those of a sample, and log |covariance|."""
    chosen = given[sample].astype(np.float64)
    away = chosen - chosen.mean(axis=0)
    covariance = away.T @ away / len(away) + np.diag([3e-4, 1e-4, 1e-4, 3e-4])
    apart = given - chosen.mean(axis=0)
    squared = np.einsum("hwi,ij,hwj->hw", apart, np.linalg.inv(covariance), apart)
    return squared, float(np.linalg.slogdet(covariance)[1])


def best_line(gain: NDArray[np.float64]) -> NDArray[np.int64]:
    """The row in each column at which to go from sky to land, [w].

    gain [h,w]: how much better a pixel is as land than as sky. By dynamic programming; a step up or
    down costs 0.6 a pixel.
    """
    as_land = np.concatenate([np.zeros((1, gain.shape[1])), gain.cumsum(axis=0)])
    score = as_land[-1] - 2 * as_land
    rows, width = score.shape
    steps = np.arange(-STEEPEST_PX, STEEPEST_PX + 1)
    best, came = score[:, 0], np.zeros((width, rows), np.int64)
    for x in range(1, width):
        edged = np.pad(best, STEEPEST_PX, constant_values=-np.inf)
        choices = sliding_window_view(edged, len(steps))[:, ::-1] - 0.6 * abs(steps)
        came[x] = np.arange(rows) - steps[choices.argmax(axis=1)]
        best = choices.max(axis=1) + score[:, x]
    line = np.empty(width, np.int64)
    line[-1] = best.argmax()
    for x in range(width - 1, 0, -1):
        line[x - 1] = came[x, line[x]]
    return line


def skyline(given: NDArray[np.float32]) -> NDArray[np.int64]:
    """The first row of land in each column, by what the frame's own sky and land look like."""
    height, width = given.shape[:2]
    row = np.arange(height)[:, None]
    sky, land = (np.repeat(rows, width, axis=1) for rows in (row < height // 5, row > 0.7 * height))
    line = np.zeros(width, np.int64)
    for _ in range(3):
        if min(sky.sum(), land.sum()) < 50:
            break
        (to_sky, of_sky), (to_land, of_land) = mahalanobis(given, sky), mahalanobis(given, land)
        line = best_line(np.clip((to_sky + of_sky - to_land - of_land) / 8, -1.5, 1.5))
        sky, land = row < line - 2, (row > line + 2) & (row < line + 0.3 * height)
    return line


class View(NamedTuple):
    """What tells things from sky in a frame, [h,w] each."""

    above: NDArray[np.int64]  # pixels above the skyline, negative under it
    grey: NDArray[np.float32]
    blue: NDArray[np.floating]  # less red
    rough: NDArray[np.float32]  # grey's difference from its surroundings
    steep: NDArray[np.float32]  # grey's slope, a pixel
    depth: NDArray[np.float32]  # what the area closing lightened it by
    unlike_sky: NDArray[np.float64]  # squared distance from the topmost fifth's colours


def view_of(rgb: Pixels) -> View | None:
    """What a frame shows; None where no skyline is sure."""
    height = len(rgb)
    row = np.arange(height)[:, None]
    given = features(rgb)
    line = skyline(given)
    above = line - row
    grey = rgb.mean(axis=2, dtype=np.float32) / 255
    rough = abs(grey - gaussian_filter(grey, 2))
    near = (above > 5) & (above <= 16)
    if not near.any() or (line > 0.95 * height).mean() > 0.1 or (line < 4).mean() > 0.3:
        return None  # no horizon
    if rough[near].mean() > 3.5 * (rough[: height // 5].mean() + 0.002):
        return None  # snowy peaks were taken for sky
    blurred = gaussian_filter(grey, 0.6)
    depth = area_closing(blurred, LARGEST_PX) - blurred
    clear = (above > 2) & (row < height // 5) & ~binary_dilation(depth > DARK)
    if clear.sum() < 50:
        return None
    return View(
        above=above,
        grey=grey,
        blue=(rgb[..., 2].astype(np.float32) - rgb[..., 0]) / 255,
        rough=rough,
        steep=np.hypot(*np.gradient(blurred)),
        depth=depth,
        unlike_sky=mahalanobis(given, clear)[0],
    )


def floats(here: Mask, view: View) -> bool:
    """Whether a dark spot of a frame is a thing afloat: sharp, unlike the sky, no gap in clouds."""
    depth, above = view.depth[here].max(), view.above[here].mean()
    if depth < 0.06 or view.steep[binary_dilation(here) & ~here].mean() < 0.022:
        return False  # a shade
    around = binary_dilation(here, iterations=6) & ~binary_dilation(here, iterations=2)
    if (view.above > 2)[here].mean() < 0.8:  # under the skyline: in haze?
        hazy = np.quantile(view.rough[around], 0.75) < 0.03
        like_sky = np.median(view.unlike_sky[around]) < 40
        return bool(hazy and like_sky and above > -26 and depth >= 0.1)
    bluer = view.blue[here].mean() - view.blue[around].mean()
    darker = view.grey[around].mean() - view.grey[here].mean()
    gap = above > 16 and bluer > max(0.03, darker / 1.5)
    return bool(not gap and above <= 50 and np.quantile(view.unlike_sky[here], 0.75) > 6)


def afloat(rgb: Pixels) -> tuple[Mask, Mask]:
    """What is dark and afloat in a frame, and its sky, [h,w] each; no sky where none is sure."""
    found = np.zeros(rgb.shape[:2], np.bool_)
    view = view_of(rgb)
    if view is None:
        return found, found
    spots = label(view.depth > DARK)
    for spot in regionprops(spots):
        top_px, left_px, _, right_px = spot.bbox
        whole = min(top_px, left_px, rgb.shape[1] - right_px) > 0
        if whole and SMALLEST_PX <= spot.area <= LARGEST_PX:
            here = spots == spot.label
            found |= here & floats(here, view)
    return found, view.above > 2


def mended(rgb: Pixels) -> tuple[Pixels, Mask]:
    """A frame in which the sky around takes the place of what floats in it, and where it did."""
    found, sky = afloat(rgb)
    gone = binary_dilation(found, iterations=2) & (sky | found)
    kept = (sky & ~binary_dilation(gone)).astype(np.float32)
    weight = gaussian_filter(kept, 4) + 1e-6
    filled = gaussian_filter(rgb * kept[..., None], (4, 4, 0)) / weight[..., None]
    gone &= weight > 1e-3  # where there is sky within reach
    return np.where(gone[..., None], filled.round().astype(np.uint8), rgb), gone
