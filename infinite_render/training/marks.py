"""A model nearer to what eyes like: marks they gave to its own pictures, learnt as a floor.

    judge,seed,mark  ->  w of the seeds, truncated  ->  marks as linear in w  ->  a floor

A mark says how unlike a landscape the picture of a seed is, in one style (`generate --style-drift
0`): 0 not at all, 3 broken. No measure of a picture tells it, yet it is partly linear in w: styles
that speckle snow or cut rocks off do so wherever they hold. Judges differ in how strict they are,
so a mark counts from the mean of its judge's.
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

COLUMNS = ["judge", "seed", "mark"]
RIDGE = 0.5  # of a style's variance: marks are few, and scatter


class Mark(NamedTuple):
    """How unlike a landscape the picture of a seed is, to one judge."""

    judge: str
    seed: int
    mark: float


def read_marks(path: Path) -> list[Mark]:
    """The marks of a CSV file with a line `judge,seed,mark` above them.

    Raises DataError for a file that is missing or holds anything else.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            first, *rows = csv.reader(file)
        if first != COLUMNS:
            raise ValueError(f"its first line is {','.join(first)}")
        return [Mark(judge, int(seed), float(mark)) for judge, seed, mark in rows]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} holds no marks ({error}); give a CSV file of {','.join(COLUMNS)}"
        ) from None


def seen_by_marks(model: Model, marks: list[Mark]) -> Seen:
    """Styles of the seeds as the model paints them [N,D], and how much better than usual [N,1]."""
    of_judge = defaultdict(list)
    for judge, _, mark in marks:
        of_judge[judge].append(mark)
    usual = {judge: sum(given) / len(given) for judge, given in of_judge.items()}
    dim = model.recipe.generator.global_dim
    z_global = torch.from_numpy(np.stack([Style(seed).z_global(dim) for _, seed, _ in marks]))
    w = Truncation(model.generator, model.recipe.render.truncation).latents(z_global)[1][:, 0]
    better = torch.tensor([[usual[judge] - mark] for judge, _, mark in marks])
    return Seen(w, better)


def with_marks(model: Model, seen: Seen, share: float) -> Model:
    """The model with a floor of what marks tell, below which a share of its styles were.

    Raises ModelError where it has such a floor already.
    """
    return with_style_floors(model, seen, share, RIDGE)
