"""A model nearer to what eyes like: marks they gave to its own pictures, learnt as a floor.

    judge,seed,mark  ->  w of the seeds, truncated  ->  marks as linear in w  ->  a floor

A mark says how bad the picture of a seed is, in one style (`generate --style-drift 0`): 0 not at
all, 3 broken. Measures of a picture hardly tell it, yet it is partly linear in w: styles that
speckle snow or cut rocks off do so wherever they hold. Judges differ in how strict they are, so a
mark counts from the mean of its judge's.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from infinite_render.errors import DataError
from infinite_render.fields.styles import Style
from infinite_render.models import Model
from infinite_render.nn.truncation import Truncation
from infinite_render.training.floors import Seen, with_style_floors

COLUMNS = "judge,seed,mark"
WORST = 3.0
RIDGE = 0.5  # of a style's variance: marks are few, and scatter


class Mark(NamedTuple):
    """How bad the picture of a seed is to one judge, 0 .. WORST."""

    judge: str
    seed: int
    mark: float


def read_marks(path: Path) -> list[Mark]:
    """The marks of a CSV file with a line `judge,seed,mark` above them.

    Raises DataError for a file that is missing or holds anything else.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if not lines or lines[0] != COLUMNS:
            raise ValueError(f"its first line is not {COLUMNS}")
        return [_mark_of(line) for line in lines[1:] if line]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} holds no marks: {error}; give lines of {COLUMNS}, a mark from 0 to {WORST:g}"
        ) from None


def _mark_of(line: str) -> Mark:
    try:
        judge, seed, mark = next(csv.reader([line]))
        given = Mark(judge, int(seed), float(mark))
    except (ValueError, csv.Error):
        raise ValueError(f"no {COLUMNS} is {line!r}") from None
    if not 0 <= given.mark <= WORST:
        raise ValueError(f"no mark is {mark} in {line!r}")
    return given


def seen_by_marks(model: Model, marks: list[Mark]) -> Seen:
    """Styles of the seeds as the model paints them [N,D], and how much better than usual [N,1].

    Best the marked pictures were this model's: floors that it got since move the styles.
    Raises DataError for marks of no more seeds than styles have channels.
    """
    dim, seeds = model.recipe.generator.global_dim, len({mark.seed for mark in marks})
    if seeds <= dim:
        raise DataError(
            f"marks of {seeds} seeds are too few for styles of {dim} channels; "
            f"mark {dim + 1} seeds or more"
        )
    of_judge = defaultdict(list)
    for mark in marks:
        of_judge[mark.judge].append(mark.mark)
    usual = {judge: sum(given) / len(given) for judge, given in of_judge.items()}
    z_global = torch.from_numpy(np.stack([Style(mark.seed).z_global(dim) for mark in marks]))
    w = Truncation(model.generator, model.recipe.render.truncation).latents(z_global)[1][:, 0]
    return Seen(w, torch.tensor([[usual[mark.judge] - mark.mark] for mark in marks]))


def with_marks(model: Model, name: str, seen: Seen, share: float) -> Model:
    """The model with a floor of that name of what marks tell; a share of its styles were below.

    Errors as of `with_style_floors`.
    """
    return with_style_floors(model, [name], seen, share, RIDGE)
