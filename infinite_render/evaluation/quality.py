"""The figure of quality a training run logs: the plain distance of patches, on few samples.

The photographs are measured once, then a generator at a time is held against them. Compare its
values within one run only: few samples make a Frechet distance too large, all by about as much.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

from infinite_render.config import GeneratorConfig, ModelRecipe
from infinite_render.evaluation.distances import Features, frechet_distance, statistics_of
from infinite_render.evaluation.features import FeatureSpace, LiteSpace
from infinite_render.evaluation.painters import ModelPainter, view_of_config
from infinite_render.evaluation.photographs import read_photographs
from infinite_render.evaluation.protocols import Pictures, shrink
from infinite_render.evaluation.reference import REAL_SEED
from infinite_render.evaluation.sets import features_of_cuts, painted_patches
from infinite_render.evaluation.work import finish
from infinite_render.models import Model
from infinite_render.nn.generator import Generator

Quality = Callable[[Generator], float]


class _Shrunk:
    """A feature space in which pictures are seen at another size."""

    def __init__(self, space: FeatureSpace, side_px: int) -> None:
        self.name, self.label = f"{space.name} at {side_px} px", space.label
        self.dim = space.dim
        self._space, self._side_px = space, side_px

    def __call__(self, pictures: Pictures) -> Features:
        return self._space(shrink(pictures, self._side_px, self._side_px))


def training_quality(
    data: Path,
    config: GeneratorConfig,
    image_px: int,
    *,
    samples: int = 1000,
    seed: int = 0,
    workers: int = 1,
    device: str = "cpu",
    cache: Path | None = None,
    seen_px: int | None = None,
) -> Quality:
    """Measure the photographs under `data`, and return what measures a generator against them.

    The result is the Frechet distance of `samples` patches on EfficientNet-Lite0 features, float32
    on `device`; of patches shrunk to `seen_px`, so that models of several sizes can be compared.
    Raises DataError for photographs that cannot be used, UsageError where the features' package is
    absent.
    """
    space = LiteSpace(device) if seen_px is None else _Shrunk(LiteSpace(device), seen_px)
    view = view_of_config(config, image_px)
    photographs = read_photographs(data, image_px)
    cuts = photographs.patches(view, samples, REAL_SEED)
    features = finish(
        features_of_cuts(
            photographs, cuts, space, workers=workers, cache=cache, phase="photographs' patches"
        )
    )
    real = statistics_of(features)

    def measure(generator: Generator) -> float:
        # A copy: the painter moves its network to `device`, and a run must not find its own moved.
        copied = copy.deepcopy(generator).eval()
        model = Model("in training", Path(), ModelRecipe(generator=config), copied)
        painter = ModelPainter(model, view, "float32", device)
        painted = finish(painted_patches(painter, space, samples, seed, workers=workers))
        return frechet_distance(real, statistics_of(painted.features))

    return measure
