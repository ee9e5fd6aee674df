"""`infrender outpaint`: a photograph, kept to the bit, and the plane around it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infinite_render.cli.options import (
    FILE,
    SIZE,
    Pair,
    Whole,
    example,
    model_option,
    option,
    overwrite_option,
    quiet_option,
    seed_option,
)
from infinite_render.cli.painting import paint, painting_options
from infinite_render.cli.photographs import (
    Aim,
    check_names,
    check_targets,
    inversion_options,
    pin_of,
)
from infinite_render.errors import UsageError

if TYPE_CHECKING:
    from infinite_render.fields.pins import Pin

SIDES = ("left", "right", "top", "bottom")
_MARGIN = Whole(0, such_as=512, unit="pixels")


@click.command(
    epilog=example(
        "infrender outpaint photograph.jpg wall.tif",
        "infrender outpaint photograph.jpg --left 800 --right 400 --seed 7 wall.png",
    )
)
@click.argument("photograph", metavar="IN", type=FILE)
@click.argument("out", required=False, type=FILE)
@option("--width", type=SIZE, default=None, help="Of the canvas, px.  [default: twice that of IN]")
@option("--height", type=SIZE, default=None, help="Of the canvas, px.  [default: that of IN]")
@option(
    "--at",
    type=Pair("X,Y"),
    default=None,
    help="Where IN's upper left corner lies on the canvas.  [default: in the middle, about]",
)
@option("--left", type=_MARGIN, default=None, metavar="PX", help="Paint so much on the left of IN.")
@option("--right", type=_MARGIN, default=None, metavar="PX", help="On its right.")
@option("--top", type=_MARGIN, default=None, metavar="PX", help="Above it.")
@option("--bottom", type=_MARGIN, default=None, metavar="PX", help="Below it.")
@option(
    "--horizon",
    type=int,
    default=None,
    metavar="Y",
    help="The row of IN its horizon is in.  [default: the model's guess]",
)
@seed_option
@model_option
@option(
    "--pin",
    type=FILE,
    default=None,
    help="What repaints IN: read, or else written.  [default: beside OUT, under its name]",
)
@inversion_options
@painting_options
@overwrite_option
@quiet_option
def outpaint(photograph: Path, out: Path | None, **given: Any) -> None:
    """Paint on around a photograph, whose own pixels are kept.

    First the model looks for what repaints IN; this takes minutes, goes on by the same command if
    it is stopped, and is kept as a .pin, with which other seeds, sizes and places are painted at
    once. Forms are those of generate; lossless ones (.tif with --compression deflate or none, .png,
    .zarr) hold IN's pixels bit for bit.
    """
    from infinite_render.fields.pins import load_pin
    from infinite_render.geometry import Window
    from infinite_render.inversion.base import check_photograph, choose_depth
    from infinite_render.models import load_model
    from infinite_render.rendering.around import Pinned, scene_around
    from infinite_render.rendering.canvas import Canvas
    from infinite_render.rendering.photographs import read_photograph

    _check_sides(given)
    pixels = read_photograph(photograph)
    own_px = (pixels.shape[0], pixels.shape[1])
    out = photograph.with_name(f"{photograph.stem}-outpainted.png") if out is None else out
    pin_path = given["pin"] or out.with_suffix(".pin")
    check_names([photograph], out, [pin_path], given)

    model = load_model(given["model"])
    anew = given["overwrite"] and given["pin"] is None
    kept = load_pin(pin_path) if pin_path.is_file() and not anew else None
    depth = choose_depth(model.recipe, own_px[0])
    check_photograph(pixels, depth)
    if given["horizon"] is not None and not 0 <= given["horizon"] < own_px[0]:
        raise UsageError(
            f"--horizon {given['horizon']} is no row of {photograph}; give 0..{own_px[0] - 1}"
        )
    size_px, place_px = layout(given, own_px, model.recipe.generator.stride << depth, kept)
    check_targets(out, size_px, [pin_path], given)

    like = {"horizon_px": given["horizon"]}
    aim = Aim(photograph.name, pixels, place_px, depth, pin_path, like)
    pin = pin_of(model, aim, out, given, anew=anew)
    scene = scene_around(
        model,
        [Pinned(pin, pixels)],
        seed=given["seed"],
        precision=given["precision"],
        device=given["device"],
    )
    paint(Canvas(scene, Window(0, 0, *size_px), depth), out, given)


def _check_sides(given: dict[str, Any]) -> None:
    sides = [f"--{name}" for name in SIDES if given[name] is not None]
    others = [f"--{name}" for name in ("width", "height", "at") if given[name] is not None]
    if sides and others:
        raise UsageError(f"{sides[0]} and {others[0]} both say how large the canvas is; leave one")


def layout(
    given: dict[str, Any], own_px: tuple[int, int], cell_px: int, kept: Pin | None
) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of the canvas, and (y, x) of the photograph of `own_px` on it.

    Where nothing says more, the photograph lies in the middle, but on the lattice of `cell_px`, or
    on that of the pin that is kept, so that one pin does for many canvases.
    Raises UsageError for a photograph that does not lie on its canvas.
    """
    height, width = own_px
    if any(given[name] is not None for name in SIDES):
        left, right, top, bottom = (given[name] or 0 for name in SIDES)
        return (top + height + bottom, left + width + right), (top, left)
    size = given["height"] or height, given["width"] or 2 * width
    if size[0] < height or size[1] < width:
        raise UsageError(
            f"a canvas of {size[1]} x {size[0]} px is smaller than the photograph of {width} x "
            f"{height} px; give --width and --height of at least that"
        )
    if given["at"] is not None:
        x, y = given["at"]
        if not (0 <= x <= size[1] - width and 0 <= y <= size[0] - height):
            raise UsageError(
                f"--at {x},{y}: the photograph of {width} x {height} px leaves the canvas of "
                f"{size[1]} x {size[0]} px; try --at {(size[1] - width) // 2},0"
            )
        return size, (y, x)
    start = (0, 0) if kept is None else kept.place_px
    free = size[0] - height, size[1] - width
    y, x = (_middle(room, own, cell_px) for room, own in zip(free, start, strict=True))
    if y > free[0] or x > free[1]:
        raise UsageError(
            f"the pin can lie at {x},{y} and whole cells of latents ({cell_px} px) from there, "
            f"which is nowhere on a canvas of {size[1]} x {size[0]} px; give a larger one, or "
            "--pin another name"
        )
    return size, (y, x)


def _middle(free_px: int, phase_px: int, cell_px: int) -> int:
    """The place in 0 .. free nearest to its middle that is `phase_px` modulo the cell.

    >>> _middle(1000, 0, 64), _middle(0, 0, 64), _middle(1000, 3, 64), _middle(63, 0, 64)
    (512, 0, 515, 0)
    """
    first = phase_px % cell_px
    steps = max(0, (free_px - first) // cell_px)
    return first + min(steps, round(max(0.0, (free_px / 2 - first) / cell_px))) * cell_px
