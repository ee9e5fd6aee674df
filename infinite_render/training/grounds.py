"""A model whose ground is no void, neither black nor blank.

    styles, truncated -> whole frames -> light and detail of the ground

Both are logarithms, for the eye sees ratios.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from infinite_render.models import Model
from infinite_render.training.floors import Seen, check_new, with_more_floors
from infinite_render.training.looking import look_at
from infinite_render.training.painting import light_of

GROUND = 0.7  # of a frame's height, from which on it is ground
DARKEST, SMOOTHEST = 0.02, 0.002  # light, and its change from px to px, that nothing is below
SHARE = 0.3  # of styles that are below a floor
NAMES = "light", "detail"


def ground_of(rgb: Tensor) -> Tensor:
    """Logarithms of light and detail of the ground of frames [N,3,h,w], about -1 .. 1; [N,2]."""
    ground = light_of(rgb)[:, :, round(GROUND * rgb.shape[2]) :].clamp(0, 1)
    light, detail = ground, ground.diff(dim=3).abs()
    means = torch.stack([x.mean(dim=(1, 2, 3)) for x in (light, detail)], dim=1)
    return (means + torch.tensor([DARKEST, SMOOTHEST])).log()


def look_at_grounds(model: Model, frames: int, seed: int, dtype: torch.dtype) -> Iterator[Seen]:
    """Styles [N,D], and the ground of frames of a model's own that they paint, a batch at a time.

    Raises ModelError for a model that truncates nothing, or has these floors already.
    """
    check_new(model, "floors", NAMES)
    for _, painted in look_at(model, frames, seed, dtype):
        yield Seen(painted.w[:, 0], ground_of(painted.rgb))


def with_grounds(model: Model, seen: Seen) -> Model:
    """The model with floors of light and detail; errors as of `with_more_floors`."""
    return with_more_floors(model, NAMES, seen, [SHARE])
