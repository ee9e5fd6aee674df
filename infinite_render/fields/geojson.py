"""Styles from GeoJSON: points and polygons in pixels, with a seed each.

A Feature is a Point, a Polygon or a MultiPolygon, its coordinates [x, y] in pixels of the picture;
its properties hold "seed", and for a point perhaps "radius" in pixels. Points without a radius
divide the plane between them; discs and polygons lie on top.

Spaces: px of the picture in the file; cells of the plane in the field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infinite_render.errors import UsageError
from infinite_render.fields.shapes import Disc, Polygon, Shape
from infinite_render.fields.styles import Style, StyledPoint

Place = Callable[[Any], tuple[float, float]]


def read_styles(
    path: Path, *, origin_px: tuple[int, int], size_px: tuple[int, int], cell_px: int
) -> tuple[list[StyledPoint], list[Shape]]:
    """The points without a radius, and the shapes, of a GeoJSON file, in its order.

    origin_px, size_px   (y, x) of the picture's first pixel on the plane, (height, width)
    cell_px              pixels of the picture to a cell

    Raises UsageError for a file that is none, or a place outside the picture.
    """
    try:
        features = _features(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"--styles {path} is no GeoJSON that can be read: {error}") from None
    points: list[StyledPoint] = []
    shapes: list[Shape] = []

    def place(x_y: Any) -> tuple[float, float]:
        x, y = _number(x_y[0]), _number(x_y[1])
        if not (0 <= x <= size_px[1] and 0 <= y <= size_px[0]):
            raise UsageError(
                f"--styles {path}: a style at {x:g},{y:g} is outside the picture; "
                f"give places within {size_px[1]} x {size_px[0]} px"
            )
        return (y + origin_px[0]) / cell_px, (x + origin_px[1]) / cell_px

    for number, feature in enumerate(features):
        try:
            _sort_in(feature, place, cell_px, points, shapes)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise UsageError(
                f"--styles {path}: feature {number} is no Point, Polygon or MultiPolygon with a "
                f'seed ({error!r}); give "properties": {{"seed": 7}}'
            ) from None
    if not points and not shapes:
        raise UsageError(f"--styles {path} holds no features; give one at least")
    return points, shapes


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _features(values: Any) -> list[Any]:
    if not isinstance(values, dict):
        raise ValueError("it is no object")
    if values.get("type") == "Feature":
        return [values]
    if values.get("type") != "FeatureCollection" or not isinstance(values.get("features"), list):
        raise ValueError("it is no FeatureCollection")
    return list(values["features"])


def _sort_in(
    feature: Any, place: Place, cell_px: int, points: list[StyledPoint], shapes: list[Shape]
) -> None:
    """Add a feature to the points or the shapes."""
    properties, geometry = feature["properties"], feature["geometry"]
    kind, coordinates = geometry["type"], geometry["coordinates"]
    seed = properties["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise ValueError(f"seed {seed!r}")
    style = Style(seed)
    if kind == "Point":
        y, x = place(coordinates)
        radius = properties.get("radius")
        if radius is None:
            points.append(StyledPoint(y, x, style))
        elif 0 < _number(radius) < math.inf:
            shapes.append(Disc(y, x, radius / cell_px, style))
        else:
            raise ValueError(f"radius {radius!r}")
    elif kind in ("Polygon", "MultiPolygon"):
        for polygon in [coordinates] if kind == "Polygon" else coordinates:
            rings = tuple(tuple(place(corner) for corner in ring) for ring in polygon)
            if not rings or min(map(len, rings)) < 4:  # a ring ends where it began
                raise ValueError("a ring of fewer than 4 places")
            shapes.append(Polygon(rings, style))
    else:
        raise ValueError(f"a {kind}")
