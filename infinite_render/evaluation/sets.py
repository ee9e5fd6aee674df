"""Sets of features: of the photographs, kept between runs, and of what a generator paints.

A thumbnail, uint8 [16,16,3], goes along with every patch: what memorisation is looked for in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from infinite_render.evaluation.distances import Features
from infinite_render.evaluation.features import FeatureSpace
from infinite_render.evaluation.painters import Painter, draw_samples
from infinite_render.evaluation.photographs import Cuts, Integers, Photographs
from infinite_render.evaluation.protocols import Pictures, Protocol, shrink
from infinite_render.evaluation.work import Progress, in_threads
from infinite_render.files import replace_file

THUMB_PX = 16
BATCH = 32  # pictures a job paints or reads, then measures
CACHE_VERSION = 1


@dataclass(frozen=True)
class Measured:
    """Features [N,D] and thumbnails uint8 [N,16,16,3] of patches, and their vertical position."""

    features: Features
    thumbs: Pictures
    row: Integers


def _parts(count: int) -> list[slice]:
    return [slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]


def thumbnails(pixels: Pictures) -> Pictures:
    """uint8 [N,S,S,3] -> [N,16,16,3]."""
    return shrink(pixels, THUMB_PX, THUMB_PX)


def features_of_cuts(
    photographs: Photographs,
    cuts: Cuts,
    space: FeatureSpace,
    *,
    workers: int,
    cache: Path | None,
    phase: str,
) -> Generator[Progress, None, Features]:
    """Features [N,D] of squares cut from photographs, read from `cache` where they are known."""
    path = None if cache is None else _cache_path(cache, photographs, cuts, space)
    if path is not None and path.is_file():
        try:
            known: Features = load_file(path)["features"]
            return known
        except (SafetensorError, KeyError):
            path.unlink()  # damaged: made again below

    def measure(part: slice) -> Features:
        return space(photographs.pixels(cuts, part))

    parts = yield from in_threads(measure, _parts(len(cuts)), workers, phase, len(cuts))
    features = np.concatenate(parts)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: save_file({"features": features}, file))
    return features


def _cache_path(cache: Path, photographs: Photographs, cuts: Cuts, space: FeatureSpace) -> Path:
    """A name that tells these features from all others: files, height, squares, network."""
    digest = hashlib.sha256()
    key = [CACHE_VERSION, photographs.digest, photographs.image_px, cuts.side_px, space.name]
    digest.update(json.dumps(key).encode())
    for places in (cuts.source, cuts.y_px, cuts.x_px, cuts.mirrored):
        digest.update(np.ascontiguousarray(places).tobytes())
    return cache / f"features-{digest.hexdigest()[:24]}.safetensors"


def painted_patches(
    painter: Painter, space: FeatureSpace, count: int, seed: int, *, workers: int
) -> Generator[Progress, None, Measured]:
    """`count` patches of a generator: painted, measured and forgotten, a batch at a time."""
    samples = draw_samples(painter.view, painter.columns, count, seed)

    def measure(part: slice) -> tuple[Features, Pictures]:
        pixels = painter.patches(samples[part])
        return space(pixels), thumbnails(pixels)

    parts = yield from in_threads(measure, _parts(count), workers, "patches", count)
    features, thumbs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Measured(features, thumbs, np.array([row for _, row, _ in samples]))


def painted_frames(
    painter: Painter,
    space: FeatureSpace,
    scale: int,
    count: int,
    seed: int,
    *,
    protocol: Protocol,
    workers: int,
) -> Generator[Progress, None, Features]:
    """Features of `count` frames of `scale`, each rendered and shrunk to the training size.

    The same scenes at every scale: sample i of one scale and of another share seed and column.
    """
    samples = draw_samples(painter.view, painter.columns, count, seed)
    side = painter.view.image_px

    def measure(sample: tuple[int, int, int]) -> Features:
        scene, _, column = sample
        return space(shrink(painter.frame(scene, column, scale), side, side, protocol))

    parts = yield from in_threads(measure, samples, workers, f"frames {scale}x")
    return np.concatenate(parts)
