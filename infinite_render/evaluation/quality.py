"""The figure of quality a training run logs: the plain distance of patches, on few samples.

The photographs are measured once, then a generator at a time is held against them. Compare its
values within one run only: few samples make a Frechet distance too large, all by about as much.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

from infinite_render.config import GeneratorConfig, ModelRecipe
from infinite_render.evaluation.distances import frechet_distance, statistics_of
from infinite_render.evaluation.features import LiteSpace
from infinite_render.evaluation.painters import ModelPainter, view_of_config
from infinite_render.evaluation.photographs import read_photographs
from infinite_render.evaluation.reference import REAL_SEED
from infinite_render.evaluation.sets import features_of_cuts, painted_patches
from infinite_render.evaluation.work import finish
from infinite_render.models import Model
from infinite_render.nn.generator import Generator

Quality = Callable[[Generator], float]


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
) -> Quality:
    """Measure the photographs under `data`, and return what measures a generator against them.

    The result is the Frechet distance of `samples` patches on EfficientNet-Lite0 features, float32
    on `device`.
    Raises DataError for photographs that cannot be used, UsageError where the features' package is
    absent.
    """
    space = LiteSpace(device)
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
