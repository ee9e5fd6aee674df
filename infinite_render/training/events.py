"""What a training run tells its caller, one small value at a time; drawing is the caller's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Reading:
    """Photographs decoded so far; `left_out` of them were damaged or too small."""

    done: int
    total: int
    left_out: int = 0


@dataclass(frozen=True)
class Notice:
    """One line the user should see once."""

    text: str


@dataclass(frozen=True)
class Progress:
    """Where the run stands; `terms` are the losses averaged since the last Progress."""

    images: int
    total: int
    images_per_s: float
    seconds_left: float
    terms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A checkpoint is whole on the disk."""

    images: int
    folder: Path


@dataclass(frozen=True)
class Sheet:
    """A sample sheet was written."""

    images: int
    path: Path


@dataclass(frozen=True)
class Quality:
    """The figure of quality (lower is better) of the averaged generator."""

    images: int
    value: float


@dataclass(frozen=True)
class Stopped:
    """The run was asked to stop; the same command resumes it."""

    images: int
    folder: Path


@dataclass(frozen=True)
class Finished:
    """All images were shown; `model` is a folder that `generate --model` takes."""

    images: int
    model: Path


Event = Reading | Notice | Progress | Saved | Sheet | Quality | Stopped | Finished
