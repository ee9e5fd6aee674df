"""The style of a seed as it drifts along a canvas, so that no form is painted again and again.

Anchors stand `spacing_cells` apart, and each has a style near the seed's own: of its standard
deviation `drift` is the anchor's, the rest the seed's (`Style`). One style paints one form of
ridge or dune wherever the local latents ask for one; between anchors forms, light and colours go
over smoothly. Forms may drift sooner than light and colours do: then an anchor's style is mixed,
its coarse entries its own, its fine ones of calmer anchors, farther apart (`MixedStyle`): in a sky
nothing hides where one light turns into another. Far above and below the rows that training showed
nothing but style tells two places apart, and where two styles met they did so in an upright edge:
there the seed's own holds alone, nearer to the mean, for what rare styles painted there was no
ground.

Spaces: cells of the plane, as in `fields.styles`. In training styles do not drift along a
patch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from infinite_render.config import FINE_CELLS, ModelRecipe
from infinite_render.fields.styles import (
    Anchors,
    AnyStyle,
    Blend,
    Floats,
    MixedStyle,
    OneStyle,
    Style,
    gather,
    nodes,
    smooth,
)
from infinite_render.geometry import Window

DRIFTING_VERSION = 3  # in a picture's identity: this file, how styles mix, what `latents` keeps
BEYOND_CELLS = 8  # above and below the band, where styles still drift as within
FADE_CELLS = 48  # from there on, until the seed's own holds alone
KEPT_FAR = 0.5  # of that one's distance from the mean


class StyleLaw(NamedTuple):
    """How the style of a seed drifts.

    drift          the share of z_g's standard deviation that does, 0 .. 1; at 0 nothing drifts
    spacing_cells  from one anchor to the next
    band_cells     rows 0 .. band_cells - 1 are those that training showed
    fine_drift     the share that does in fine entries, or drift where that is less; None: alike
    fine_cells     from one anchor of fine entries to the next
    """

    drift: float
    spacing_cells: int
    band_cells: int
    fine_drift: float | None = None
    fine_cells: int = FINE_CELLS

    @classmethod
    def of(cls, recipe: ModelRecipe) -> Self:
        """The law that a model is rendered by."""
        render = recipe.render
        return cls(
            render.style_drift,
            render.style_cells,
            recipe.generator.span_cells,
            render.fine_drift,
            render.fine_cells,
        )


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
        anchors = self._anchors(self.law.spacing_cells)
        parts: list[tuple[AnyStyle, Floats]] = [
            (self._at(anchor), share * drifts) for anchor, share in anchors.shares(window_cell)
        ]
        own = 1 - drifts + np.zeros(window_cell[2:])
        return gather([*parts, (Style(self.seed, kept=KEPT_FAR), own)])

    def wrapped(self, period_cells: int) -> Self:
        return replace(self, period_cells=period_cells)

    def describe(self) -> dict[str, Any]:
        plain = {"kind": "drifting", "version": DRIFTING_VERSION, "seed": self.seed}
        return plain | self.law._asdict()

    def _anchors(self, spacing_cells: int) -> Anchors:
        return Anchors(self.seed, float(spacing_cells), self.period_cells)

    def _at(self, anchor: int) -> AnyStyle:
        """The style of an anchor; fine ones are named by the coarse ones nearest to them."""
        law = self.law
        coarse = Style(self.seed, anchor, law.drift)
        if law.fine_drift is None:
            return coarse
        drift = min(law.fine_drift, law.drift)
        anchors, calmer = self._anchors(law.spacing_cells), self._anchors(law.fine_cells)
        fine = [
            (Style(self.seed, anchors.nearest(calmer.column(number)), drift), share.item())
            for number, share in calmer.along(np.array([anchors.column(anchor)]))
            if share.any()
        ]
        return MixedStyle(coarse, tuple(fine))


def styles_of(seed: int, law: StyleLaw) -> OneStyle | Drifting:
    """The styles of a seed along a canvas; `seed` counts modulo 2^64.

    Without drift its own holds everywhere, and far from the band whole.
    """
    seed %= 2**64
    return Drifting(seed, law) if law.drift else OneStyle(Style(seed))
