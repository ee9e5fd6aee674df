"""A model's floors: its ground is to be no void, neither black nor blank.

    styles, truncated -> whole frames -> light and detail of the ground -> both as linear in w

Both are logarithms, for the eye sees ratios. The lowest styles are taken up to where SHARE of all
styles lie below (`nn.floors`); no weight that paints changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from infinite_render.errors import ModelError
from infinite_render.models import Model
from infinite_render.nn.floors import Floors
from infinite_render.nn.generator import build_generator
from infinite_render.training.lessons import draw_inside, frames_recipe
from infinite_render.training.painting import light_of, paint

BATCH = 12
GROUND = 0.7  # of a frame's height, from which on it is ground
DARKEST, SMOOTHEST = 0.02, 0.002  # light, and its change from px to px, that nothing is below
SHARE = 0.3  # of styles that are below a floor
RIDGE = 0.125  # of a style's variance


class Seen(NamedTuple):
    """Styles [N,D] and measures of what they paint [N,K]."""

    w: Tensor
    measures: Tensor


def ground_of(rgb: Tensor) -> Tensor:
    """Logarithms of light and detail of the ground of frames [N,3,h,w], about -1 .. 1; [N,2]."""
    ground = light_of(rgb)[:, :, round(GROUND * rgb.shape[2]) :].clamp(0, 1)
    light, detail = ground, ground.diff(dim=3).abs()
    means = torch.stack([x.mean(dim=(1, 2, 3)) for x in (light, detail)], dim=1)
    return (means + torch.tensor([DARKEST, SMOOTHEST])).log()


def look_at_frames(model: Model, frames: int, seed: int, dtype: torch.dtype) -> Iterator[Seen]:
    """Frames of a model's own, truncated, a batch at a time; no water lies there.

    Raises ModelError for a model that truncates nothing: floors are for truncated styles.
    """
    if model.recipe.render.truncation == 1:
        raise ModelError(
            f"model {model.name} is not truncated, and floors are for truncated styles; "
            "set truncation in its model.toml below 1"
        )
    recipe = frames_recipe(model, seed)
    one_style = dataclasses.replace(recipe.loss, style_mixing=0.0)
    recipe = dataclasses.replace(recipe, truncated=1.0, loss=one_style)
    for done in range(0, frames, BATCH):
        scene = draw_inside(recipe, done, BATCH)
        with torch.inference_mode():
            painted = paint(model.generator, scene, dtype, torch.channels_last)
            yield Seen(painted.w[:, 0], ground_of(painted.rgb))


def with_floors(model: Model, seen: Seen) -> Model:
    """The model with floors below which its styles were seen to read too low.

    Raises ModelError for a model that has floors already.
    """
    if model.generator.floors is not None:
        raise ModelError(
            f"model {model.name} has floors already; give one without floors in its model.toml"
        )
    config = dataclasses.replace(model.recipe.generator, floors=seen.measures.shape[1])
    generator = build_generator(config)
    generator.load_state_dict(model.generator.state_dict(), strict=False)
    generator.floors = fitted(seen)
    recipe = dataclasses.replace(model.recipe, generator=config)
    return dataclasses.replace(model, recipe=recipe, generator=generator)


def fitted(seen: Seen) -> Floors:
    """Floors by ridge regression of the measures on the styles."""
    w, measures = seen.w.double(), seen.measures.double()
    away = w - w.mean(dim=0)
    covariance = away.T @ away / len(w)
    ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    joint = away.T @ (measures - measures.mean(dim=0)) / len(w)
    reads = torch.linalg.solve(covariance + ridge, joint)  # [D,K]
    along = covariance @ reads
    moves = along @ torch.linalg.inv(reads.T @ along)
    floors = Floors(measures.shape[1], w.shape[1])
    floors.reads.copy_(reads.T)
    floors.moves.copy_(moves.T)
    floors.least.copy_((w @ reads).quantile(SHARE, dim=0))
    return floors
