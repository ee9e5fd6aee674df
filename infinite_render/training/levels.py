"""A model whose far land is not smeared into level streaks.

    z_g of the structure, truncated -> whole frames, under other styles -> how little is level

The structure's z_g lays a frame out. Where it asks for low and flat far land, what a small
generator paints there is level bands, ruled or blurred, which the sky shows through. One direction
of z_g tells much of how little of a frame they take (the style as much, and there marks by eye tell
more, `training.marks`). Layouts are taken up to LEAST along it: more than eight in ten move.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.errors import ModelError
from infinite_render.models import Model
from infinite_render.nn.floors import Floors
from infinite_render.training.floors import Seen, check_new, regressed, with_floors
from infinite_render.training.looking import look_at
from infinite_render.training.painting import light_of

FAR = 0.31, 0.95  # of a frame's height: where far land may be
ALONG_PX = 16  # that a level line goes on for
LEAST_CHANGE, LEVEL = 0.01, 2.0  # of light, that is seen; how much more of it down than along
LEAST = 1.0  # deviations above the mean that a layout reads before it is taken nearer
NAMES = ("unlevel",)


def unlevel_of(rgb: Tensor) -> Tensor:
    """How little of the far land of frames [N,3,h,w], about -1 .. 1, is level lines, [N,1]."""
    first, stop = (round(share * rgb.shape[2]) for share in FAR)
    light = light_of(rgb).clamp(0, 1).mean(dim=1, keepdim=True)[:, :, first:stop]
    down, along = light.diff(dim=2)[..., :-1], light.diff(dim=3).abs()
    lines = F.avg_pool2d(down, (1, ALONG_PX), 1).abs()
    detail = F.avg_pool2d(along, (2, ALONG_PX), 1)
    level = (lines > LEAST_CHANGE) & (lines > LEVEL * detail)
    return 1 - level.float().mean(dim=(2, 3))


def look_at_levels(model: Model, frames: int, seed: int, dtype: torch.dtype) -> Iterator[Seen]:
    """Layouts z_g [N,D], and how little is level in frames that they lay out, a batch at a time.

    Each is painted in the style of another z_g.
    Raises ModelError for a model that truncates nothing, or has floors of layouts already.
    """
    _check_first(model)
    for scene, painted in look_at(model, frames, seed, dtype, apart=True):
        yield Seen(scene.z_global, unlevel_of(painted.rgb))


def with_levels(model: Model, seen: Seen) -> Model:
    """The model with a first floor of layouts.

    Raises ModelError as `look_at_levels` and `regressed` do.
    """
    _check_first(model)
    return with_floors(model, "layout_floors", NAMES, layouts_fitted(seen))


def _check_first(model: Model) -> None:
    check_new(model, "layout_floors", NAMES)
    if had := model.recipe.generator.layout_floors:
        raise ModelError(
            f"model {model.name} has layout_floors of {', '.join(had)}, which that against level "
            "streaks comes before; give one without them"
        )


def layouts_fitted(seen: Seen) -> Floors:
    """A floor of z_g by ridge regression, in deviations: z_g is N(0, 1) in every direction."""
    reads, _ = regressed(seen)
    direction = (reads / reads.norm(dim=0)).T
    return Floors.of(direction, direction, torch.full((len(direction),), LEAST))
