"""The photographs' side of every comparison, and its floors: photographs against photographs.

What the photographs are compared at depends on what training showed to a model (its `View`), so
models trained at other sizes have a reference of their own.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from infinite_render.errors import DataError
from infinite_render.evaluation.distances import (
    Features,
    Figure,
    Statistics,
    frechet_figure,
    kernel_figure,
    statistics_of,
)
from infinite_render.evaluation.features import FeatureSpace
from infinite_render.evaluation.photographs import (
    Cuts,
    Integers,
    Photographs,
    View,
    halves,
    read_photographs,
)
from infinite_render.evaluation.sets import features_of_cuts
from infinite_render.evaluation.work import Progress

REAL_SEED = 0  # of the photographs' draws: the same for every run, so that they can be kept


@dataclass(frozen=True)
class Distances:
    """Both distances of one set to the photographs."""

    frechet: Figure
    kernel: Figure


@dataclass(frozen=True)
class RealSet:
    """Features [N,D] of photographs, and the photograph of each; fitted once."""

    features: Features
    source: Integers

    @cached_property
    def statistics(self) -> Statistics:
        return statistics_of(self.features)

    def distances(self, features: Features, replicates: int, seed: int) -> Distances:
        """Distances of `features` to this set."""
        return Distances(
            frechet_figure(self.statistics, features, replicates, seed),
            kernel_figure(self.features, features, replicates, seed),
        )

    def other_crops(self, samples: int, replicates: int) -> Distances:
        """`samples` crops at most against other crops of the same photographs.

        What a generator would reach that had learnt these very photographs: chance alone.
        """
        apart = min(samples, len(self.features) // 2)
        first = np.arange(len(self.features)) >= apart
        return self.part(first).distances(self.features[:apart], replicates, REAL_SEED)

    def other_half(self, samples: int, replicates: int) -> Distances:
        """One half of the photographs, `samples` crops at most, against the other half.

        What as many photographs of other places would reach. No photograph is in both halves.
        """
        first, second = halves(self.source, REAL_SEED)
        return self.part(first).distances(self.features[second][:samples], replicates, REAL_SEED)

    def part(self, chosen: npt.NDArray[np.bool_]) -> RealSet:
        """The samples for which `chosen` [N] is true."""
        return RealSet(self.features[chosen], self.source[chosen])


@dataclass(frozen=True)
class Reference:
    """Photographs at one view: patches, the same by vertical band, and frames."""

    view: View
    photographs: Photographs
    cuts: Cuts
    patches: RealSet
    bands: tuple[RealSet, ...]
    frames: RealSet | None  # None where no frames are compared


def bands_of(view: View, row: Integers, bands: int) -> Integers:
    """The vertical band of each patch by its row, int [N]."""
    return np.array([view.band_of(value, bands) for value in row.tolist()])


def build_reference(
    data: Path,
    view: View,
    space: FeatureSpace,
    *,
    samples: int,
    frames: int,
    bands: int,
    workers: int,
    cache: Path | None,
) -> Generator[Progress, None, Reference]:
    """Read the photographs and measure their patches and frames.

    Twice as many patches as `samples`, so that each half of the photographs has about as many.
    `frames` is their number, 0 for none.
    """
    yield Progress("photographs", 0, 1)
    photographs = read_photographs(data, view.image_px)
    yield Progress("photographs", 1, 1)
    cuts = photographs.patches(view, 2 * samples, REAL_SEED)
    features = yield from features_of_cuts(
        photographs, cuts, space, workers=workers, cache=cache, phase="photographs' patches"
    )
    whole = None
    if frames:
        squares = photographs.frames(frames, REAL_SEED)
        of_frames = yield from features_of_cuts(
            photographs, squares, space, workers=workers, cache=cache, phase="photographs' frames"
        )
        whole = RealSet(of_frames, squares.source)
    patches = RealSet(features, cuts.source)
    band = bands_of(view, cuts.row, bands)
    return Reference(
        view,
        photographs,
        cuts,
        patches,
        tuple(patches.part(band == i) for i in range(bands)),
        whole,
    )


def held_out_patches(
    data: Path, view: View, space: FeatureSpace, count: int, workers: int
) -> Generator[Progress, None, tuple[Photographs, Cuts, Features]]:
    """Patches of photographs that training did not see."""
    try:
        photographs = read_photographs(data, view.image_px)
    except DataError as error:
        raise DataError(f"--held-out: {error}") from None
    cuts = photographs.patches(view, count, REAL_SEED)
    features = yield from features_of_cuts(
        photographs, cuts, space, workers=workers, cache=None, phase="held-out patches"
    )
    return photographs, cuts, features
