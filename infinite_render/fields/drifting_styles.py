"""The style of a seed as it drifts along a canvas, so that no form is painted again and again.

Anchors stand `spacing_cells` apart, and each has a style near the seed's own: of its standard
deviation `drift` is the anchor's, the rest the seed's (`Style`). One style paints one form of
ridge or dune wherever the local latents ask for one; between anchors forms, light and colours go
over smoothly. Far above and below the rows that training showed nothing but style tells two places
apart, and where two styles met they did so in an upright edge: there the seed's own holds alone,
nearer to the mean, for what rare styles painted there was no ground.

Spaces: cells of the plane, as in `fields.styles`. In training a patch is small beside the spacing:
there one style holds, as it always did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from infinite_render.config import ModelRecipe
from infinite_render.fields.styles import (
    Anchors,
    AnyStyle,
    Blend,
    Floats,
    OneStyle,
    Style,
    gather,
    nodes,
    smooth,
)
from infinite_render.geometry import Window

DRIFTING_VERSION = 2  # in a picture's identity: this file, how `Style` mixes, what `latents` keeps
BEYOND_CELLS = 8  # above and below the band, where styles still drift as within
FADE_CELLS = 48  # from there on, until the seed's own holds alone
KEPT_FAR = 0.5  # of that one's distance from the mean


class StyleLaw(NamedTuple):
    """How the style of a seed drifts.

    drift          the share of z_g's standard deviation that does, 0 .. 1; at 0 nothing drifts
    spacing_cells  from one anchor to the next
    band_cells     rows 0 .. band_cells - 1 are those that training showed
    """

    drift: float
    spacing_cells: int
    band_cells: int

    @classmethod
    def of(cls, recipe: ModelRecipe) -> Self:
        """The law that a model is rendered by."""
        render = recipe.render
        return cls(render.style_drift, render.style_cells, recipe.generator.span_cells)


@dataclass(frozen=True)
class Drifting:
    """The styles of `seed` by a law; on a cylinder they close there, as `Anchors` do."""

    seed: int
    law: StyleLaw
    period_cells: int | None = None

    def blend(self, window_cell: Window) -> Blend:
        row, _ = nodes(window_cell)
        beyond = np.maximum(-row, row - (self.law.band_cells - 1)) - BEYOND_CELLS
        drifts = 1 - smooth(beyond / FADE_CELLS)  # [h,1]
        anchors = Anchors(self.seed, float(self.law.spacing_cells), self.period_cells)
        parts: list[tuple[AnyStyle, Floats]] = [
            (Style(self.seed, anchor, self.law.drift), share * drifts)
            for anchor, share in anchors.shares(window_cell)
        ]
        own = 1 - drifts + np.zeros(window_cell[2:])
        return gather([*parts, (Style(self.seed, kept=KEPT_FAR), own)])

    def wrapped(self, period_cells: int) -> Self:
        return replace(self, period_cells=period_cells)

    def describe(self) -> dict[str, Any]:
        plain = {"kind": "drifting", "version": DRIFTING_VERSION, "seed": self.seed}
        return plain | self.law._asdict()


def styles_of(seed: int, law: StyleLaw) -> OneStyle | Drifting:
    """The styles of a seed along a canvas; `seed` counts modulo 2^64.

    Without drift its own holds everywhere, and far from the band whole.
    """
    seed %= 2**64
    return Drifting(seed, law) if law.drift else OneStyle(Style(seed))
