"""The options that change the fields of a picture: styles, boxes drawn again, and the cylinder.

All places are X,Y in pixels of the picture, from its upper left corner; where a number has a
decimal point it is a fraction of the picture's width or height.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from infinite_render.cli.options import FILE, SIZE, Command, Whole, option
from infinite_render.errors import UsageError

if TYPE_CHECKING:
    from infinite_render.fields.drifting_styles import StyleLaw
    from infinite_render.fields.shapes import Shape
    from infinite_render.fields.styles import StyledPoint, StyleField
    from infinite_render.geometry import Window

FIELD_OPTIONS = ("style_drift", "style", "styles", "anchors", "fade", "reseed", "wrap")
_FADE_CELLS = 16.0  # between a shape and its ground, where --fade does not say


class At(NamedTuple):
    """`SEED@X,Y` or `X,Y,W,H@SEED` as it was written."""

    text: str
    seed: int
    numbers: tuple[str, ...]


class SeedAt(click.ParamType):  # type: ignore[type-arg]
    """A seed and `count` numbers, on the side of the @ that `form` shows."""

    def __init__(self, form: str, such_as: str) -> None:
        self.name = form
        self.form, self.such_as = form, such_as

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> At:
        if isinstance(value, At):
            return value
        sides = str(value).split("@")
        seed_first = self.form.startswith("SEED")
        seed, numbers = (sides if seed_first else sides[::-1]) if len(sides) == 2 else ("", "")
        parts = tuple(part.strip() for part in numbers.split(","))
        try:
            at = At(str(value), int(seed), parts)
            for part in parts:
                float(part)
        except ValueError:
            parts = ()
        name = "value" if param is None else param.opts[-1]
        if len(parts) != self.form.count(",") + 1 or not 0 <= at.seed < 2**64:
            raise UsageError(f"{name} {value} is not {self.form}; try {self.such_as}")
        return at


def field_options(command: Command) -> Command:
    """All options of `FIELD_OPTIONS`."""
    for add in reversed(
        [
            option(
                "--style-drift",
                type=float,
                default=None,
                metavar="SHARE",
                help="How much the seed's style changes along the picture, from 0, not at all, to "
                "1, to any other; light and colours no more than the model's own do.  [default: "
                "the model's own]",
            ),
            option(
                "--style",
                type=SeedAt("SEED@X,Y", "7@0.25,0.5"),
                multiple=True,
                help="A place with the style of that seed; several divide the picture. Pixels, or "
                "fractions where there is a decimal point.",
            ),
            option("--styles", type=FILE, default=None, help="GeoJSON: points, polygons, a seed."),
            option(
                "--anchors",
                type=SIZE,
                default=None,
                metavar="PX",
                help="A row of random styles without end, one every so many pixels.",
            ),
            option(
                "--fade",
                type=Whole(1, such_as=256, unit="pixels"),
                default=None,
                metavar="PX",
                help="How wide the change from one style to another is.",
            ),
            option(
                "--reseed",
                type=SeedAt("X,Y,W,H@SEED", "512,0,256,256@7"),
                multiple=True,
                help="Draw the latents of a box again; in a kept store only what it reaches.",
            ),
            option(
                "--wrap",
                type=click.Choice(["x"]),
                default=None,
                help="x: a cylinder as long as the width; the left edge continues the right one.",
            ),
        ]
    ):
        command = add(command)
    return command


def fields_of(given: dict[str, Any], window: Window, cell_px: int, law: StyleLaw) -> dict[str, Any]:
    """What `Scene` takes: latents, styles and wrap_cells, for a picture of `window` on its plane.

    `cell_px` are the pixels to a cell of latents; `law` says how the style drifts.
    Raises UsageError for what cannot be.
    """
    from infinite_render.fields.latents import LatentField, SeededLatents
    from infinite_render.fields.reseeded import ReseededLatents, reseed_box

    wrap_cells = _wrap_cells(window.width, cell_px) if given["wrap"] else None
    latents: LatentField = SeededLatents(given["seed"])
    boxes = [_box(at, window) for at in given["reseed"]]
    reseeds = [r for box, seed in boxes for r in reseed_box(box, seed, cell_px, wrap_cells)]
    if reseeds:
        latents = ReseededLatents(latents, tuple(reseeds))
    return {
        "latents": latents,
        "styles": _styles(given, window, cell_px, law),
        "wrap_cells": wrap_cells,
    }


def _wrap_cells(width: int, cell_px: int) -> int:
    if width % cell_px:
        near = max(1, round(width / cell_px)) * cell_px
        raise UsageError(
            f"--wrap x: a width of {width} px is not a multiple of the cell of latents "
            f"({cell_px} px at this depth); try --width {near}"
        )
    return width // cell_px


def _styles(
    given: dict[str, Any], window: Window, cell_px: int, law: StyleLaw
) -> StyleField | None:
    """The styles that options ask for; None: the model's own."""
    from infinite_render.config import check_style_drift
    from infinite_render.fields.drifting_styles import styles_of
    from infinite_render.fields.geojson import read_styles
    from infinite_render.fields.shapes import Shapes
    from infinite_render.fields.styles import Anchors, Points

    points = [_point(at, window, cell_px) for at in given["style"]]
    shapes: list[Shape] = []
    if given["styles"] is not None:
        size = (window.height, window.width)
        found = read_styles(
            given["styles"], origin_px=(window.y, window.x), size_px=size, cell_px=cell_px
        )
        points, shapes = points + found[0], found[1]
    anchors, fade = given["anchors"], given["fade"]
    if anchors is not None and points:
        raise UsageError("--anchors and points of style both divide the plane; leave out one")
    if anchors is not None and anchors < cell_px:
        raise UsageError(
            f"--anchors {anchors} is below the cell of latents, {cell_px} px at this depth; "
            f"give {cell_px} or more"
        )
    if fade is not None and not points and not shapes:
        raise UsageError("--fade is of no use without --style or --styles; leave it out")
    drift = given["style_drift"]
    if drift is not None and (points or anchors is not None):
        other = "points of style" if points else "--anchors"
        raise UsageError(
            f"--style-drift is of no use with {other}, which say the styles; leave it out"
        )
    if drift is None and anchors is None and not points and not shapes:
        return None
    if drift is not None:
        law = law._replace(drift=check_style_drift(drift))
    ground: StyleField = styles_of(given["seed"], law)
    if points:
        ground = Points(tuple(points), fade / cell_px if fade else _mean_gap(points) / 2)
    elif anchors is not None:
        ground = Anchors(given["seed"], anchors / cell_px)
    if not shapes:
        return ground
    return Shapes(ground, tuple(shapes), fade / cell_px if fade else _FADE_CELLS)


def _mean_gap(points: list[StyledPoint]) -> float:
    """Mean distance from a point to the nearest other, in cells; a few cells for lonely ones."""
    import numpy as np

    places = np.array([point[:2] for point in points])
    gaps = []
    for i in range(len(places)):
        away = np.sqrt(((np.delete(places, i, axis=0) - places[i]) ** 2).sum(axis=1))
        gaps.append(away.min() if len(away) else _FADE_CELLS)
    return max(1.0, float(np.mean(gaps)))


def _point(at: At, window: Window, cell_px: int) -> StyledPoint:
    from infinite_render.fields.styles import Style, StyledPoint

    x, y = (
        float(number) * (size if "." in number else 1)
        for number, size in zip(at.numbers, (window.width, window.height), strict=True)
    )
    if not (0 <= x <= window.width and 0 <= y <= window.height):
        raise UsageError(
            f"--style {at.text} is outside the picture of {window.width} x {window.height} px; "
            "give pixels within it, or fractions from 0.0 to 1.0"
        )
    return StyledPoint((y + window.y) / cell_px, (x + window.x) / cell_px, Style(at.seed))


def _box(at: At, window: Window) -> tuple[Window, int]:
    """The box on the plane, cut to the picture, and its seed."""
    try:
        x, y, width, height = map(int, at.numbers)
    except ValueError:
        raise UsageError(f"--reseed {at.text}: a box is four whole numbers of pixels") from None
    box = type(window)(window.y + y, window.x + x, max(0, height), max(0, width)).meet(window)
    if not (box.height and box.width):
        raise UsageError(
            f"--reseed {at.text} is empty or outside the picture of {window.width} x "
            f"{window.height} px; give X,Y,W,H within it"
        )
    return box, at.seed
