"""A folder of pictures painted by any other system, compared as frames of a stated scale.

Each picture is `scale` times its system's training size: it is shrunk by `scale` under the
protocol, cut to a square around its middle, and, where that is still larger, shrunk to the height
of the photographs, so that both sides of the comparison have the same number of pixels.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips

from infinite_render.errors import DataError, UsageError
from infinite_render.evaluation.distances import Features
from infinite_render.evaluation.features import FeatureSpace
from infinite_render.evaluation.protocols import Pictures, Protocol, shrink
from infinite_render.evaluation.work import Progress, in_threads
from infinite_render.training.data import decode, list_photographs

LEAST_PX = 16  # of a shrunk side


@dataclass(frozen=True)
class ImageFolder:
    """Pictures under `folder`, each `scale` times the training size of what painted them.

    Raises UsageError for a scale below 1.
    """

    folder: Path
    scale: int

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise UsageError(f"--scale {self.scale} must be 1 or more")


def read_frame(path: Path, scale: int, image_px: int, protocol: Protocol) -> Pictures:
    """One picture as a frame, uint8 [1,S,S,3] with S <= image_px; DataError when damaged."""
    try:
        whole = decode(path, pyvips.Image.new_from_file(str(path)).height)
    except pyvips.Error as error:
        raise DataError(f"{path} is damaged: {' '.join(str(error).split())[:120]}") from None
    if whole is None:
        raise DataError(f"{path} cannot be decoded")
    height, width = whole.shape[0] // scale, whole.shape[1] // scale
    if min(height, width) < LEAST_PX:
        raise DataError(
            f"{path} is {whole.shape[1]} x {whole.shape[0]} px: too small for --scale {scale}"
        )
    shrunk = shrink(whole[None], height, width, protocol)
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    square = shrunk[:, y : y + side, x : x + side]
    return shrink(square, image_px, image_px) if side > image_px else square


def frames_of_images(
    images: ImageFolder,
    space: FeatureSpace,
    image_px: int,
    *,
    protocol: Protocol,
    workers: int,
) -> Generator[Progress, None, Features]:
    """Features [N,D] of all pictures of the folder; DataError when they are fewer than two."""
    names = list(list_photographs(images.folder))
    if len(names) < 2:
        raise DataError(f"--images {images.folder} holds 1 picture; a distance needs 2 or more")

    def measure(name: str) -> Features:
        return space(read_frame(images.folder / name, images.scale, image_px, protocol))

    phase = f"images {images.scale}x"
    parts = yield from in_threads(measure, names, workers, phase)
    return np.concatenate(parts)
