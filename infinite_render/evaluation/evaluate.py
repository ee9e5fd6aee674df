"""One evaluation from end to end: subjects and photographs in, progress out, a report at the end.

Every part is a function of (subject, photographs, settings); none depends on the number of workers.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from infinite_render.errors import UsageError, nearest
from infinite_render.evaluation import canvases
from infinite_render.evaluation.features import FeatureSpace, InceptionSpace, LiteSpace
from infinite_render.evaluation.images import ImageFolder, frames_of_images
from infinite_render.evaluation.memorisation import (
    QUERIES,
    TrainingPatches,
    Unseen,
    lattice_thumbnails,
    nearest_by_features,
    nearest_by_pixels,
    spread,
)
from infinite_render.evaluation.painters import ModelPainter
from infinite_render.evaluation.photographs import View
from infinite_render.evaluation.protocols import Protocol, check_protocol
from infinite_render.evaluation.reference import (
    Distances,
    RealSet,
    Reference,
    bands_of,
    build_reference,
    held_out_patches,
)
from infinite_render.evaluation.report import (
    Floor,
    FloorSet,
    Memory,
    Report,
    ScaleRow,
    SubjectReport,
)
from infinite_render.evaluation.sets import (
    Measured,
    painted_frames,
    painted_patches,
    thumbnails,
)
from infinite_render.evaluation.work import Progress
from infinite_render.precision import choose_precision
from infinite_render.rendering.workers import choose_device

Part = Literal["patches", "scales", "seams", "repetition", "memory"]
PARTS: tuple[Part, ...] = get_args(Part)
LEAST_IN_BAND = 4  # samples in a vertical band, or frames of a scale
Subject = ModelPainter | ImageFolder
Steps = Generator[Progress, None, SubjectReport]


@dataclass(frozen=True)
class Settings:
    """What is measured, and how. Raises UsageError for values that cannot be."""

    parts: tuple[Part, ...] = PARTS
    samples: int = 5000  # patches of every model, and of each half of the photographs
    scale_samples: int = 250  # frames of every model at each scale
    real_frames: int = 2000  # frames of the photographs
    scales: tuple[int, ...] = (1, 2, 4, 8, 16)
    bands: int = 3  # vertical bands of the spatial distance
    protocol: Protocol = "antialiased"
    seed: int = 0
    replicates: int = 20  # bootstrap resamples behind an interval; 0: no intervals
    canvas_px: int = 1 << 24  # pixels of the canvases for seams and repetition, at least
    workers: int = os.cpu_count() or 1
    precision: str = "auto"  # of the generator; features are float32
    device: str = "cpu"
    inception: Path | None = None  # the standard Inception weights: true FID
    cache: Path | None = None  # where the photographs' features are kept
    held_out: Path | None = None  # photographs that training did not see

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise UsageError(
                    f"--only {part} is unknown; use {', '.join(PARTS)}{nearest(part, PARTS)}"
                )
        for option, value, least in (
            ("--samples", self.samples, max(16, LEAST_IN_BAND * self.bands)),
            ("--scale-samples", self.scale_samples, LEAST_IN_BAND),
            ("--bands", self.bands, 1),
            ("--workers", self.workers, 1),
            ("--seed", self.seed, 0),
        ):
            if value < least:
                raise UsageError(f"{option} {value} must be {least} or more")
        if not self.scales or min(self.scales) < 1:
            raise UsageError(f"--scales {self.scales} must be whole numbers of 1 or more")
        check_protocol(self.protocol)
        choose_precision(self.precision, choose_device(self.device))


def choose_space(settings: Settings) -> FeatureSpace:
    """EfficientNet-Lite0, or Inception where its weights are given."""
    if settings.inception is not None:
        return InceptionSpace(settings.inception, settings.device)
    return LiteSpace(settings.device)


def evaluate(
    subjects: Sequence[Subject], data: Path, settings: Settings | None = None
) -> Generator[Progress, None, Report]:
    """Hold models, and other systems' pictures, against a folder of photographs.

    Yields progress; the generator's return value is the report:

        report = yield from evaluate([ModelPainter(model, view_of(model))], Path("photographs"))

    Folders of images are compared at the first model's view. Raises UsageError without a model,
    DataError for photographs that cannot be used.
    """
    settings = settings or Settings()
    views = [subject.view for subject in subjects if isinstance(subject, ModelPainter)]
    if not views:
        raise UsageError("an evaluation needs one model or more; it says at what size to compare")
    start = time.monotonic()
    space = choose_space(settings)
    frames = "scales" in settings.parts or len(views) < len(subjects)
    references: dict[View, Reference] = {}
    for view in views:
        if view not in references:
            references[view] = yield from _reference(data, view, space, settings, frames)
    reports = []
    for subject in subjects:
        if isinstance(subject, ImageFolder):
            steps = _evaluate_images(subject, references[views[0]], space, settings)
        else:
            steps = _evaluate_model(subject, references[subject.view], space, settings)
        reports.append((yield from steps))
    yield Progress("photographs against photographs", 0, 1)
    floors = tuple(_floor(reference, settings) for reference in references.values())
    yield Progress("photographs against photographs", 1, 1)
    return Report(
        metric=space.label,
        features=space.name,
        protocol=settings.protocol,
        seed=settings.seed,
        samples=settings.samples,
        scale_samples=settings.scale_samples,
        precision=choose_precision(settings.precision, settings.device),
        seconds=time.monotonic() - start,
        floors=floors,
        subjects=tuple(reports),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    )


def _reference(
    data: Path, view: View, space: FeatureSpace, settings: Settings, frames: bool
) -> Generator[Progress, None, Reference]:
    return (
        yield from build_reference(
            data,
            view,
            space,
            samples=settings.samples,
            frames=settings.real_frames if frames else 0,
            bands=settings.bands,
            workers=settings.workers,
            cache=settings.cache,
        )
    )


def _floor(reference: Reference, settings: Settings) -> Floor:
    photographs, view = reference.photographs, reference.view
    return Floor(
        image_px=view.image_px,
        patch_px=view.patch_px,
        photographs=len(photographs),
        files=photographs.files,
        left_out=photographs.left_out,
        crops=_floor_set(reference, settings, RealSet.other_crops),
        halves=_floor_set(reference, settings, RealSet.other_half),
    )


def _floor_set(
    reference: Reference, settings: Settings, against: Callable[[RealSet, int, int], Distances]
) -> FloorSet:
    """Every set of the photographs against a part of itself, at the counts of a generator's."""
    samples, replicates, frames = settings.samples, settings.replicates, reference.frames
    return FloorSet(
        against(reference.patches, samples, replicates),
        tuple(against(band, samples // settings.bands, replicates) for band in reference.bands),
        None if frames is None else against(frames, settings.scale_samples, replicates),
    )


def _evaluate_images(
    images: ImageFolder, reference: Reference, space: FeatureSpace, settings: Settings
) -> Steps:
    view = reference.view
    features = yield from frames_of_images(
        images, space, view.image_px, protocol=settings.protocol, workers=settings.workers
    )
    assert reference.frames is not None
    distances = reference.frames.distances(features, settings.replicates, settings.seed)
    rows = (ScaleRow(images.scale, distances),)
    name = images.folder.resolve().name
    return SubjectReport(name, None, view.image_px, view.patch_px, scales=rows)


def _evaluate_model(
    painter: ModelPainter, reference: Reference, space: FeatureSpace, settings: Settings
) -> Steps:
    parts, view, notes = settings.parts, painter.view, []
    if painter.psi != 1.0:
        notes.append(f"latents are truncated to {painter.psi:g}")
    if painter.model.recipe.render.style_drift:
        notes.append("a patch has the style of its middle")
    if painter.climbs and "scales" in parts:
        notes.append("frames are painted by the detail ladder")
    patches, memory, seams, repetition = None, None, None, None
    bands: tuple[Distances, ...] = ()
    scales: tuple[ScaleRow, ...] = ()
    if "patches" in parts or "memory" in parts:
        measured = yield from painted_patches(
            painter, space, settings.samples, settings.seed, workers=settings.workers
        )
        if "patches" in parts:
            yield Progress("distances of patches", 0, 1)
            patches, bands = _patch_distances(measured, reference, settings)
            yield Progress("distances of patches", 1, 1)
        if "memory" in parts:
            memory = yield from _memory(measured, reference, space, settings)
    if "scales" in parts:
        scales = yield from _scale_rows(painter, reference, space, settings)
    if painter.model.recipe.generator.padding:
        notes.append("it pads its texture, so it has no canvas: no seams, no repetition")
    else:
        size, seed, workers = settings.canvas_px, settings.seed, settings.workers
        if "seams" in parts:
            seams = yield from canvases.seams(painter, size, seed, workers)
        if "repetition" in parts:
            repetition = yield from canvases.repetition_on_strip(
                painter, reference.photographs, size, seed, workers
            )
    return SubjectReport(
        name=painter.model.name,
        digest=painter.model.digest,
        image_px=view.image_px,
        patch_px=view.patch_px,
        patches=patches,
        bands=bands,
        scales=scales,
        seams=seams,
        repetition=repetition,
        memory=memory,
        notes=tuple(notes),
    )


def _patch_distances(
    measured: Measured, reference: Reference, settings: Settings
) -> tuple[Distances, tuple[Distances, ...]]:
    """The plain distance, and the same by vertical band."""
    replicates, seed = settings.replicates, settings.seed
    band = bands_of(reference.view, measured.row, settings.bands)
    return reference.patches.distances(measured.features, replicates, seed), tuple(
        real.distances(measured.features[band == i], replicates, seed)
        for i, real in enumerate(reference.bands)
    )


def _scale_rows(
    painter: ModelPainter, reference: Reference, space: FeatureSpace, settings: Settings
) -> Generator[Progress, None, tuple[ScaleRow, ...]]:
    """The ScaleInv distance at every scale."""
    assert reference.frames is not None
    rows = []
    for scale in sorted(set(settings.scales)):
        features = yield from painted_frames(
            painter,
            space,
            scale,
            settings.scale_samples,
            settings.seed,
            protocol=settings.protocol,
            workers=settings.workers,
        )
        distances = reference.frames.distances(features, settings.replicates, settings.seed)
        rows.append(ScaleRow(scale, distances))
    return tuple(rows)


def _memory(
    painted: Measured, reference: Reference, space: FeatureSpace, settings: Settings
) -> Generator[Progress, None, Memory]:
    """Nearest training patches of what was painted, against those of unseen patches."""
    photographs, real = reference.photographs, reference.patches
    if settings.held_out is None:
        first = slice(0, QUERIES)
        thumbs = thumbnails(photographs.pixels(reference.cuts, first))
        unseen = Unseen(thumbs, real.features[first], real.source[first])
    else:
        others, cuts, features = yield from held_out_patches(
            settings.held_out,
            reference.view,
            space,
            min(QUERIES, settings.samples),
            settings.workers,
        )
        unseen = Unseen(thumbnails(others.pixels(cuts)), features, None)
    yield Progress("nearest photographs", 0, 1)
    lattice, source = lattice_thumbnails(photographs, reference.view.patch_px)
    training = TrainingPatches(lattice, source, real.features, real.source)
    memory = Memory(
        pixels=nearest_by_pixels(training, painted.thumbs, unseen),
        features=nearest_by_features(training, painted.features, unseen),
        spread_painted=spread(painted.features),
        spread_photographs=spread(real.features, real.source),
    )
    yield Progress("nearest photographs", 1, 1)
    return memory
