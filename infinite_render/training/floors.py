"""A model's floors: what its own pictures, or eyes that saw them, tell of its latents.

    latents, truncated -> pictures -> measures -> each as linear in the latents -> floors

Measures are of the ground (`training.grounds`), of level streaks (`training.levels`) and marks that
were given by eye (`training.marks`). Styles that read too low are taken up to where a share of all
styles lie below (`nn.floors`); no weight that paints changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from infinite_render.errors import ModelError
from infinite_render.models import Model
from infinite_render.nn.floors import Floors
from infinite_render.nn.generator import build_generator
from infinite_render.training.lessons import draw_inside, frames_recipe
from infinite_render.training.painting import Scene

BATCH = 12
RIDGE = 0.125  # of a latent's variance
SAME = 0.9  # correlation of two readings from which on they are of one measure


class Seen(NamedTuple):
    """Latents [N,D] and measures of what is painted by them [N,K]."""

    latents: Tensor
    measures: Tensor


def joined(batches: Sequence[Seen]) -> Seen:
    """Several batches as one."""
    return Seen(*(torch.cat(each) for each in zip(*batches, strict=True)))


def check_truncated(model: Model) -> None:
    """ModelError for a model that truncates nothing: floors are for truncated latents."""
    if model.recipe.render.truncation == 1:
        raise ModelError(
            f"model {model.name} is not truncated, and floors are for truncated latents; "
            "set truncation in its model.toml below 1"
        )


def scenes_of(model: Model, frames: int, seed: int) -> Iterator[Scene]:
    """Truncated frames of one style each, a batch at a time; no water lies there.

    Raises ModelError for a model that truncates nothing.
    """
    check_truncated(model)
    recipe = frames_recipe(model, seed)
    one_style = dataclasses.replace(recipe.loss, style_mixing=0.0)
    recipe = dataclasses.replace(recipe, truncated=1.0, loss=one_style)
    for done in range(0, frames, BATCH):
        yield draw_inside(recipe, done, BATCH)


def with_floors(model: Model, key: str, floors: Floors) -> Model:
    """The model with floors; `key` is theirs in its configuration, and their name in its generator.

    Raises RecipeError for more of them than latents have channels.
    """
    counted: dict[str, Any] = {key: len(floors.least)}
    config = dataclasses.replace(model.recipe.generator, **counted)
    generator = build_generator(config)
    kept = model.generator.state_dict()
    generator.load_state_dict(
        {name: each for name, each in kept.items() if not name.startswith(f"{key}.")}, strict=False
    )
    setattr(generator, key, floors)
    recipe = dataclasses.replace(model.recipe, generator=config)
    return dataclasses.replace(model, recipe=recipe, generator=generator)


def with_style_floors(model: Model, seen: Seen, share: float, ridge: float = RIDGE) -> Model:
    """The model with floors of more measures, below which a share of its styles were seen to read.

    Raises ModelError where it has a floor that reads nearly the same.
    """
    check_truncated(model)
    before = model.generator.floors
    floors = fitted(seen, share, before, ridge)
    if before is not None:
        readings = torch.corrcoef(floors.reads.double() @ seen.latents.double().T)
        old = len(before.least)
        if bool((readings[:old, old:].abs() > SAME).any()):
            raise ModelError(
                f"model {model.name} has floors already that read nearly the same; "
                "give one without them"
            )
    return with_floors(model, "floors", floors)


def fitted(seen: Seen, share: float, before: Floors | None = None, ridge: float = RIDGE) -> Floors:
    """Floors of styles, those `before` first, by ridge regression; new ones read in deviations.

    What raises a measure is what goes with it in the styles seen, and with no other measure.
    """
    w = seen.latents.double()
    reads, covariance = regressed(seen, ridge)
    reads = reads / (w @ reads).std(dim=0)
    least = (w @ reads).quantile(share, dim=0)
    if before is not None:
        reads = torch.cat([before.reads.double().T, reads], dim=1)
        least = torch.cat([before.least.double(), least])
    along = covariance @ reads
    floors = Floors(len(least), w.shape[1])
    floors.reads.copy_(reads.T)
    floors.moves.copy_((along @ torch.linalg.inv(reads.T @ along)).T)
    floors.least.copy_(least)
    return floors


def regressed(seen: Seen, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Measures as linear in the latents [D,K], and the latents' covariance [D,D]; float64."""
    latents, measures = seen.latents.double(), seen.measures.double()
    away = latents - latents.mean(dim=0)
    covariance = away.T @ away / len(latents)
    damped = ridge * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    joint = away.T @ (measures - measures.mean(dim=0)) / len(latents)
    return torch.linalg.solve(covariance + damped, joint), covariance
