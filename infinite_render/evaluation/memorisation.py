"""Whether a generator repeats its photographs, and whether it has as many faces as they have.

The nearest training patch of every painted patch is sought twice: by pixels, as thumbnails of
16 px over all patches on a dense lattice of the photographs, mirrored too; and by features, over
the patches that the distances use. What a patch unseen in training would give is the yardstick:
patches of held-out photographs where there are some, and else each photograph's patches against
those of all others.

Shapes: thumbnails uint8 [N,16,16,3]; features float32 [N,D].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from infinite_render.evaluation.distances import Features
from infinite_render.evaluation.nearest import nearest_distance
from infinite_render.evaluation.photographs import Cuts, Integers, Photographs
from infinite_render.evaluation.protocols import Pictures
from infinite_render.evaluation.sets import thumbnails

MOST = 100_000  # lattice patches
QUERIES = 1000
STEPS = 13  # lattice steps within a patch, where that stays under MOST
CHUNK = 1024


@dataclass(frozen=True)
class Nearest:
    """Distances to the nearest training patch, of painted and of unseen patches.

    median_*, lowest_* (the 1 % quantile); copies: the share of painted patches that are nearer to
    a training patch than 99 % of the unseen ones. About 0.01 or less: nothing is memorised.
    """

    median_painted: float
    median_unseen: float
    lowest_painted: float
    lowest_unseen: float
    copies: float

    @classmethod
    def of(cls, painted: npt.NDArray[Any], unseen: npt.NDArray[Any]) -> Nearest:
        lowest = np.quantile(unseen, 0.01)
        return cls(
            float(np.median(painted)),
            float(np.median(unseen)),
            float(np.quantile(painted, 0.01)),
            float(lowest),
            float(np.mean(painted < lowest)),
        )


@dataclass(frozen=True)
class Unseen:
    """Patches that training did not show.

    `source` [N] is the photograph of `photographs` each lay in, or None where they are from others.
    """

    thumbs: Pictures
    features: Features
    source: Integers | None


@dataclass(frozen=True)
class TrainingPatches:
    """What memory is looked for in: lattice thumbnails, features, and their photographs [N]."""

    thumbs: Pictures
    thumb_source: Integers
    features: Features
    feature_source: Integers


def lattice_thumbnails(photographs: Photographs, patch_px: int) -> tuple[Pictures, Integers]:
    """Thumbnails of all patches on a lattice, mirrored too, and the photograph of each."""
    step_px = max(1, patch_px // STEPS)
    cuts = photographs.grid(patch_px, step_px)
    while 2 * len(cuts) > MOST and step_px < patch_px:
        step_px += 1
        cuts = photographs.grid(patch_px, step_px)
    thumbs = _thumbs(photographs, cuts)
    return np.concatenate([thumbs, thumbs[:, :, ::-1]]), np.concatenate([cuts.source] * 2)


def _thumbs(photographs: Photographs, cuts: Cuts) -> Pictures:
    parts = [slice(start, start + CHUNK) for start in range(0, len(cuts), CHUNK)]
    return np.concatenate([thumbnails(photographs.pixels(cuts, part)) for part in parts])


def nearest_by_pixels(training: TrainingPatches, thumbs: Pictures, unseen: Unseen) -> Nearest:
    """Root mean square difference in grey levels (0 .. 255) to the nearest lattice patch."""
    return _nearest(
        _flat(training.thumbs), training.thumb_source, _flat(thumbs), _flat(unseen.thumbs), unseen
    )


def nearest_by_features(training: TrainingPatches, features: Features, unseen: Unseen) -> Nearest:
    """Root mean square difference of features to the nearest training patch."""
    return _nearest(training.features, training.feature_source, features, unseen.features, unseen)


def _flat(thumbs: Pictures) -> npt.NDArray[np.uint8]:
    return thumbs.reshape(len(thumbs), -1)


def _nearest(
    candidates: npt.NDArray[Any],
    source: Integers,
    painted: npt.NDArray[Any],
    unseen: npt.NDArray[Any],
    which: Unseen,
) -> Nearest:
    asked = unseen[:QUERIES]
    own = None if which.source is None else which.source[: len(asked)]
    reference = nearest_distance(
        asked,
        candidates,
        None if own is None else lambda part: own[:, None] != source[part][None],
    )
    return Nearest.of(nearest_distance(painted[:QUERIES], candidates), reference)


def spread(features: Features, source: Integers | None = None, seed: int = 0) -> float:
    """Mean distance of two features drawn at random, of two photographs where `source` is given.

    A generator with fewer faces than its photographs has less of it.
    """
    rng = np.random.default_rng([seed, len(features)])
    i, j = rng.integers(0, len(features), (2, 20 * QUERIES))
    apart = i != j if source is None else source[i] != source[j]
    return float(np.sqrt(np.square(features[i[apart]] - features[j[apart]]).mean(axis=1)).mean())
