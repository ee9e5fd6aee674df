"""A model nearer to what eyes like: marks they gave to its own pictures, learnt as floors.

    judge,seed,fault,...  ->  latents of the seeds  ->  marks as linear in them  ->  floors

A mark says how much the picture of a seed, in one style (`generate --style-drift 0`), has of a
fault: 0 nothing, 3 so much that it is broken. Measures of a picture hardly tell it, yet it is
partly linear in the style w: styles that speckle snow or cut rocks off do so wherever they hold.
Judges differ in how strict they are, so a mark counts from the mean of its judge's. Floors of what
hangs on forms may be of coarse styles alone: then light and colours stay as they are. What hangs on
where things stand is told by the layout z_g, too, and by what drifts of z_l.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from infinite_render.config import FLOORS, GeneratorConfig
from infinite_render.errors import DataError
from infinite_render.fields.local import LocalLaw, drift_in
from infinite_render.fields.styles import Style
from infinite_render.geometry import Span, Window, cover
from infinite_render.models import Model
from infinite_render.nn.truncation import Truncation
from infinite_render.noise import Array
from infinite_render.training.floors import Seen, with_more_floors

COLUMNS = ["judge", "seed"]  # and one a fault, named as it is
WORST = 3.0
WIDTH_PX = 512  # of the pictures that are marked
RIDGE = 0.5  # of a latent's variance: marks are few, and scatter


class Mark(NamedTuple):
    """How much the picture of a seed has of each fault to one judge, 0 .. WORST."""

    judge: str
    seed: int
    faults: tuple[float, ...]


class Marks(NamedTuple):
    """Marks, and the names of the faults that they are of."""

    names: tuple[str, ...]
    given: list[Mark]


def read_marks(path: Path) -> Marks:
    """The marks of a CSV file with a line above them, `judge,seed` and the names of the faults.

    Raises DataError for a file that is missing or holds anything else.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            heading = next(rows, [])
            names = tuple(heading[2:])
            unique = len(set(names)) == len(names) and all(names)
            if heading[:2] != COLUMNS or not names or not unique:
                raise ValueError("its first line does not name the columns")
            return Marks(names, [_mark_of(row, len(names), rows.line_num) for row in rows if row])
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} holds no marks: {error}; give lines of {','.join(COLUMNS)} and a mark for "
            f"each fault, from 0 to {WORST:g}, below one that names them"
        ) from None


def _mark_of(row: list[str], faults: int, line: int) -> Mark:
    try:
        judge, seed, *marks = row
        given = Mark(judge, int(seed), tuple(map(float, marks)))
    except ValueError:
        given = None
    if given is None or len(given.faults) != faults:
        raise ValueError(f"line {line} is not a judge, a seed and marks, one a fault, {faults}")
    if not all(0 <= mark <= WORST for mark in given.faults):
        raise ValueError(f"line {line} has a mark that is not 0 to {WORST:g}")
    return given


def seen_by_marks(model: Model, marks: list[Mark], key: str = "floors") -> Seen:
    """Latents of the seeds [N,D], and how much better than usual their pictures are [N,faults].

    Latents are by `key`: for `layout_floors` z_g as it is drawn; for `drift_floors` what drifts of
    z_l as it is drawn, its mean over a picture WIDTH_PX wide; else coarse styles as the model
    paints them. Best the marked pictures were this model's: floors that it got since move styles.
    Raises DataError for marks of no more seeds than latents have channels.
    """
    dim = getattr(model.recipe.generator, FLOORS[key])
    seeds = len({mark.seed for mark in marks})
    if seeds <= dim:
        raise DataError(
            f"marks of {seeds} seeds are too few for latents of {dim} channels; "
            f"mark {dim + 1} seeds or more"
        )
    of_judge = defaultdict(list)
    for mark in marks:
        of_judge[mark.judge].append(mark.faults)
    usual = {judge: np.mean(given, axis=0) for judge, given in of_judge.items()}
    better = np.stack([usual[mark.judge] - mark.faults for mark in marks])
    latents = _latents_of(model, [mark.seed for mark in marks], key)
    return Seen(latents, torch.from_numpy(better).float())


def _latents_of(model: Model, seeds: Sequence[int], key: str) -> Tensor:
    """The latents of seeds that floors of `key` are of, [N,D]."""
    config = model.recipe.generator
    if key == "drift_floors":
        return torch.from_numpy(np.stack([_drift_of(config, seed) for seed in seeds]))
    z_global = torch.from_numpy(np.stack([Style(s).z_global(config.global_dim) for s in seeds]))
    if key == "layout_floors":
        return z_global
    truncation = Truncation(model.generator, model.recipe.render.truncation)
    return truncation.latents(z_global)[1][:, 0]


def _drift_of(config: GeneratorConfig, seed: int) -> Array:
    """What drifts of z_l, [L], on average over a picture as wide as those marked."""
    window_cell = Window(0, 0, config.span_cells, len(cover(Span(0, WIDTH_PX), config.stride)))
    drift = drift_in(seed, window_cell, config.local_dim, LocalLaw.of(config))
    mean: Array = drift.mean(axis=(1, 2))
    return mean


def with_marks(model: Model, marks: Marks, shares: Sequence[float], key: str = "floors") -> Model:
    """The model with floors of what marks tell; below each a share of its latents were.

    `shares` are one for all faults or one a fault; `key` is one of `config.FLOORS`. Errors as of
    `seen_by_marks` and `with_more_floors`.
    """
    seen = seen_by_marks(model, marks.given, key)
    return with_more_floors(model, marks.names, seen, shares, RIDGE, key)
