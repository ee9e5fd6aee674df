"""What an evaluation found: a plain tree, its JSON, and its table.

The table has one row a figure and one column a subject. Two columns before them are floors, of
photographs against photographs: other crops of the same ones, and one half of them against the
other. `+-` is half of a 95 % interval over the draw of the samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from infinite_render.evaluation.distances import Figure
from infinite_render.evaluation.memorisation import Nearest
from infinite_render.evaluation.reference import Distances
from infinite_render.evaluation.repetition import Repetition
from infinite_render.evaluation.seams import Seams


@dataclass(frozen=True)
class ScaleRow:
    """Distances of frames of `scale` times the training size, shrunk to it."""

    scale: int
    distances: Distances


@dataclass(frozen=True)
class Memory:
    """Nearest training patches of painted patches, and the spread of both sides' features."""

    pixels: Nearest
    features: Nearest
    spread_painted: float
    spread_photographs: float


@dataclass(frozen=True)
class FloorSet:
    """Photographs against photographs; bands from the top down."""

    patches: Distances
    bands: tuple[Distances, ...]
    frames: Distances | None


@dataclass(frozen=True)
class Floor:
    """The photographs against themselves at one view.

    crops: against other crops of the same photographs; halves: one half of them against the other.
    """

    image_px: int
    patch_px: int
    photographs: int
    files: int
    left_out: tuple[str, ...]
    crops: FloorSet
    halves: FloorSet


@dataclass(frozen=True)
class SubjectReport:
    """All that was asked of one model, or of one folder of images; None or () where it was not."""

    name: str
    digest: str | None
    image_px: int
    patch_px: int
    patches: Distances | None = None
    bands: tuple[Distances, ...] = ()
    scales: tuple[ScaleRow, ...] = ()
    seams: Seams | None = None
    repetition: Repetition | None = None
    memory: Memory | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """One evaluation."""

    metric: str  # what the Frechet distance is called
    features: str  # the feature space in full
    protocol: str
    seed: int
    samples: int
    scale_samples: int
    precision: str
    seconds: float
    floors: tuple[Floor, ...]
    subjects: tuple[SubjectReport, ...]
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; None stands for an interval that was not asked for."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def title(self) -> str:
        """One line that says what the distances are."""
        return (
            f"{self.metric} and kernel distance, {self.samples} patches, {self.scale_samples} "
            f"frames a scale, {self.protocol}, seed {self.seed}"
        )

    def table(self) -> list[tuple[str, ...]]:
        """Rows of text, the heading first: figure, the two floors, one column a subject."""
        floor, names = self.floors[0], [subject.name for subject in self.subjects]
        rows = [("", "other crops", "other half", *names)]
        for label, of_floor, of_subject in self._rows():
            cells = [of_subject(subject) for subject in self.subjects]
            if any(cells):
                floors = (of_floor(floor.crops), of_floor(floor.halves))
                rows.append((label, *floors, *(cell or "-" for cell in cells)))
        return rows

    def markdown(self) -> str:
        """The title and the table, for a model's card."""
        heading, *rows = [f"| {' | '.join(row)} |" for row in self.table()]
        rule = "|---" * (3 + len(self.subjects)) + "|"
        return "\n".join([self.title() + ":", "", heading, rule, *rows]) + "\n"

    def _rows(self) -> Iterator[tuple[str, FloorCell, SubjectCell]]:
        for kind, short in (("frechet", "Frechet"), ("kernel", "kernel")):
            yield from self._distance_rows(kind, short)
        yield ("seams: step at cell borders / elsewhere (1)", _nothing, _seams)
        yield ("repetition: nearest distant block", _nothing, _repetition)
        yield ("repetition: closest of all", _nothing, _closest)
        yield ("correlation at the period (95 % of other lags)", _nothing, _period)
        yield ("nearest photograph, pixels: painted / unseen", _nothing, _nearest("pixels"))
        yield ("nearest photograph, features: painted / unseen", _nothing, _nearest("features"))
        yield ("copies, pixels / features (0.01 by chance)", _nothing, _copies)
        yield ("spread of features: painted / photographs", _nothing, _spread)

    def _distance_rows(self, kind: str, short: str) -> Iterator[tuple[str, FloorCell, SubjectCell]]:
        def shown(distances: Distances | None) -> str:
            return "" if distances is None else format_figure(getattr(distances, kind))

        yield (f"{short}, patches", lambda f: shown(f.patches), lambda s: shown(s.patches))
        bands = max((len(s.bands) for s in self.subjects), default=0)
        for i in range(bands):
            where = _band_name(i, bands)
            yield (
                f"{short}, patches at the {where}",
                lambda f, i=i: shown(f.bands[i]),  # type: ignore[misc]
                lambda s, i=i: shown(s.bands[i] if i < len(s.bands) else None),  # type: ignore[misc]
            )
        for scale in sorted({row.scale for s in self.subjects for row in s.scales}):
            yield (
                f"{short}, ScaleInv {scale}x",
                lambda f: shown(f.frames),
                lambda s, scale=scale: shown(  # type: ignore[misc]
                    next((row.distances for row in s.scales if row.scale == scale), None)
                ),
            )


FloorCell = Callable[[FloorSet], str]
SubjectCell = Callable[[SubjectReport], str]


def format_figure(figure: Figure) -> str:
    """A figure with its interval, three digits.

    >>> format_figure(Figure(12.345, 12.0, 12.69, 5000, 5000))
    '12.3 +- 0.34'
    """
    half = figure.high - figure.value
    if math.isnan(half):
        return _short(figure.value)
    return f"{_short(figure.value)} +- {half:.2g}"


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _band_name(index: int, bands: int) -> str:
    if index == 0 or bands == 1:
        return "top" if bands > 1 else "whole"
    return "bottom" if index == bands - 1 else ("middle" if bands == 3 else f"band {index + 1}")


def _nothing(_: FloorSet) -> str:
    return ""


def _seams(subject: SubjectReport) -> str:
    seams = subject.seams
    return "" if seams is None else f"{seams.ratio:.3f} +- {seams.high - seams.ratio:.3f}"


def _repetition(subject: SubjectReport) -> str:
    r = subject.repetition
    if r is None:
        return ""
    return f"{r.canvas:.1f} / {r.photographs:.1f} = {r.ratio:.2f}"


def _closest(subject: SubjectReport) -> str:
    return "" if subject.repetition is None else f"{subject.repetition.closest:.2f}"


def _period(subject: SubjectReport) -> str:
    r = subject.repetition
    return "" if r is None else f"{r.at_period:.3f} ({r.lag_low:.3f} .. {r.lag_high:.3f})"


def _nearest(kind: str) -> SubjectCell:
    def cell(subject: SubjectReport) -> str:
        if subject.memory is None:
            return ""
        found: Nearest = getattr(subject.memory, kind)
        return f"{found.median_painted:.3g} / {found.median_unseen:.3g}"

    return cell


def _copies(subject: SubjectReport) -> str:
    memory = subject.memory
    return "" if memory is None else f"{memory.pixels.copies:.3f} / {memory.features.copies:.3f}"


def _spread(subject: SubjectReport) -> str:
    memory = subject.memory
    if memory is None:
        return ""
    return f"{memory.spread_painted / memory.spread_photographs:.2f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
