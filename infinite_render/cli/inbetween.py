"""`infrender inbetween`: photographs side by side on one canvas, and what lies between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from infinite_render.cli.options import (
    FILE,
    SIZE,
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
    check_kept,
    check_names,
    check_targets,
    inversion_options,
    on_kept_pins,
    pin_of,
)
from infinite_render.errors import UsageError


@click.command(epilog=example("infrender inbetween morning.jpg evening.jpg --width 6000 wall.tif"))
@click.argument("photographs", metavar="A B [C ...]", nargs=-1, required=True, type=FILE)
@click.argument("out", type=FILE)
@option("--width", type=SIZE, required=True, help="Of the canvas, px.")
@option("--height", type=SIZE, default=None, help="Of the canvas, px.  [default: the highest's]")
@option(
    "--margin",
    type=Whole(0, such_as=512, unit="pixels"),
    default=0,
    show_default=True,
    metavar="PX",
    help="Painted left of the first photograph and right of the last.",
)
@option(
    "--horizon",
    type=int,
    default=None,
    metavar="Y",
    help="The row of the canvas its horizon is in.  [default: the model's guess]",
)
@seed_option
@model_option
@inversion_options
@painting_options
@overwrite_option
@quiet_option
def inbetween(photographs: tuple[Path, ...], out: Path, **given: Any) -> None:
    """Place photographs side by side, each kept, and paint what lies between.

    They stand at equal distances, each as high as its horizon asks and the canvas allows, and one's
    style becomes the next one's. What repaints each is found first and kept beside OUT; with it,
    another width, height or margin is painted at once, the places then rounded to whole cells.
    """
    from infinite_render.fields.pins import load_pin
    from infinite_render.geometry import Window
    from infinite_render.inversion.base import choose_depth
    from infinite_render.inversion.row import horizon_of, lay_out
    from infinite_render.models import load_model
    from infinite_render.rendering.around import Pinned, scene_around
    from infinite_render.rendering.canvas import Canvas
    from infinite_render.rendering.photographs import read_photograph

    if len(photographs) < 2:
        raise UsageError(
            f"{photographs[0]} alone has nothing to lie between; give two photographs or more, "
            "or outpaint it"
        )
    all_pixels = [read_photograph(path) for path in photographs]
    paths = [out.with_suffix(f".{number}.pin") for number in range(1, len(photographs) + 1)]
    check_names(photographs, out, paths, given)
    model = load_model(given["model"])
    tallest = max(pixels.shape[0] for pixels in all_pixels)
    size_px = given["height"] or tallest, given["width"]
    depth = choose_depth(model.recipe, tallest)
    if given["horizon"] is not None and not 0 <= given["horizon"] < size_px[0]:
        raise UsageError(
            f"--horizon {given['horizon']} is no row of the canvas; give 0..{size_px[0] - 1}"
        )
    row = lay_out(
        model,
        all_pixels,
        size_px,
        depth,
        margin_px=given["margin"],
        horizon_px=given["horizon"],
        precision=given["precision"],
    )
    check_targets(out, size_px, paths, given)
    if not given["overwrite"]:
        row = on_kept_pins(row, all_pixels, size_px, paths)
    aims = [
        Aim(
            path.name,
            all_pixels[number],
            row.places_px[number],
            depth,
            paths[number],
            {"horizon_px": horizon_of(model, row, number, depth)},
        )
        for number, path in enumerate(photographs)
    ]
    for aim in aims:  # all of them before the first is inverted
        if aim.pin_path.is_file() and not given["overwrite"]:
            check_kept(model, aim, load_pin(aim.pin_path), given)

    pinned: list[Pinned] = []
    for aim in aims:
        if pinned:  # the first is free to choose its column of the plane; the others keep to it
            aim = replace(aim, like={"shift_cell": pinned[0].pin.shift_cell})
        pin = pin_of(model, aim, out, given, anew=given["overwrite"])
        pinned.append(Pinned(pin, aim.pixels))
    scene = scene_around(
        model,
        pinned,
        seed=given["seed"],
        precision=given["precision"],
        device=given["device"],
    )
    paint(Canvas(scene, Window(0, 0, *size_px), depth), out, given)
