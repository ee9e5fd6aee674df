"""From the plain values in a picture's identity back to the style field they describe."""

from __future__ import annotations

from typing import Any

from infinite_render.config import FINE_CELLS, check_style_drift
from infinite_render.errors import RecipeError
from infinite_render.fields.drifting_styles import Drifting, StyleLaw
from infinite_render.fields.shapes import Disc, Polygon, Shape, Shapes
from infinite_render.fields.styles import (
    Anchors,
    OneStyle,
    Points,
    Style,
    StyledPoint,
    StyleField,
)


def styles_from_plain(values: Any) -> StyleField:
    """What `describe` of a style field gave, read back; RecipeError for anything else."""
    try:
        return _field(values)
    except (KeyError, TypeError, ValueError, IndexError):
        raise RecipeError(f"styles = {str(values)[:60]} ... describe no style field") from None


def _field(values: Any) -> StyleField:
    kind = values["kind"]
    if kind == "one":
        return OneStyle(Style(int(values["seed"])))
    if kind == "anchors":
        return Anchors(int(values["seed"]), float(values["spacing"]))
    if kind == "drifting":
        return Drifting(int(values["seed"]), _law(values))
    if kind == "points":
        rows = values["points"]
        points = tuple(StyledPoint(float(y), float(x), Style(int(seed))) for y, x, seed in rows)
        return Points(points, float(values["fade"]))
    if kind == "shapes":
        shapes = tuple(_shape(shape) for shape in values["shapes"])
        return Shapes(_field(values["ground"]), shapes, float(values["fade"]))
    raise ValueError(kind)


def _law(values: Any) -> StyleLaw:
    cells, fine_cells = int(values["spacing_cells"]), int(values.get("fine_cells", FINE_CELLS))
    if min(cells, fine_cells) < 1:
        raise ValueError(cells, fine_cells)
    fine = values.get("fine_drift")  # neither is in recipes of before there were fine styles
    return StyleLaw(
        check_style_drift(float(values["drift"])),
        cells,
        int(values["band_cells"]),
        None if fine is None else check_style_drift(float(fine), "fine_drift"),
        fine_cells,
    )


def _shape(values: Any) -> Shape:
    style = Style(int(values["seed"]))
    if "disc" in values:
        y, x, radius = map(float, values["disc"])
        return Disc(y, x, radius, style)
    rings = [[(float(y), float(x)) for y, x in ring] for ring in values["rings"]]
    return Polygon(tuple(tuple(ring) for ring in rings), style)
