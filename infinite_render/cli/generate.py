"""`infrender generate`: a window of the plane, painted to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infinite_render.cli.fields import FIELD_OPTIONS, field_options, fields_of
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
    truncation_option,
)
from infinite_render.cli.painting import check_painting, paint, painting_options, tell_plan
from infinite_render.errors import UsageError

if TYPE_CHECKING:
    from infinite_render.rendering.canvas import Canvas

# What a recipe says already; `device` and `model` may be given to say where they are.
_IN_RECIPE = (
    "width",
    "height",
    "seed",
    "origin",
    "depth",
    "truncation",
    "precision",
    *FIELD_OPTIONS,
)


@click.command(
    epilog=example(
        "infrender generate --width 4096 --height 1024 --seed 7 wall.tif",
        "infrender generate --width 4096 --height 1024 --anchors 1024 --wrap x around.tif",
        "infrender generate --recipe wall.tif again.png",
    )
)
@click.argument("out", type=FILE)
@option("--width", type=SIZE, default=None, help="Of the picture, px.")
@option("--height", type=SIZE, default=None, help="Of the picture, px.")
@seed_option
@model_option
@option(
    "--origin",
    type=Pair(),
    default="0,0",
    show_default=True,
    help="Where on the plane its first pixel lies; a multiple of the model's cell.",
)
@option(
    "--depth",
    type=Whole(0, such_as=0),
    default=None,
    help="How often the plane is made twice as fine.  [default: by the height]",
)
@truncation_option
@field_options
@painting_options
@option("--dry-run", is_flag=True, help="Tell the plan, with times and sizes; write nothing.")
@option("--recipe", type=FILE, default=None, help="Paint again what a picture or store describes.")
@option(
    "--other-machine", is_flag=True, help="With --recipe: though this machine rounds otherwise."
)
@overwrite_option
@quiet_option
@click.pass_context
def generate(ctx: click.Context, /, out: Path, **given: Any) -> None:
    """Paint a picture of any size; the ending of OUT is its form.

    .tif (pyramidal BigTIFF) and .dzi hold any size, .png, .jpg and .webp what they can, .zarr is
    the store itself. Whatever ends a run, the same command goes on where it stopped.
    """
    _check_given(ctx, given)
    from infinite_render.rendering.exports import check_form

    canvas = _canvas(ctx, given)
    check_form(out, canvas.window.height, canvas.window.width)
    by_height = given["depth"] is None and given["recipe"] is None
    if given["dry_run"]:
        tell_plan(canvas, out, given, by_height=by_height)
    else:
        paint(canvas, out, given, by_height=by_height)


def _check_given(ctx: click.Context, given: dict[str, Any]) -> None:
    """UsageError where options contradict each other or one is missing."""
    explicit = {name for name in given if _is_explicit(ctx, name)}
    if given["recipe"] is not None:
        if said := [f"--{name.replace('_', '-')}" for name in _IN_RECIPE if name in explicit]:
            raise UsageError(f"--recipe says what {', '.join(said)} would; leave it out")
    elif given["other_machine"]:
        raise UsageError("--other-machine is of no use without --recipe; leave it out")
    else:
        for name in ("width", "height"):
            if given[name] is None:
                raise UsageError(f"--{name} is missing; give pixels, such as --{name} 1024")
    check_painting(given)


def _is_explicit(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE


def _canvas(ctx: click.Context, given: dict[str, Any]) -> Canvas:
    """The canvas that the options, or the recipe, describe."""
    from infinite_render.fields.drifting_styles import StyleLaw
    from infinite_render.geometry import Window
    from infinite_render.models import load_model
    from infinite_render.rendering.canvas import Canvas
    from infinite_render.rendering.plan import check_depth, default_depth
    from infinite_render.rendering.recipe import read_recipe
    from infinite_render.rendering.repaint import canvas_of
    from infinite_render.rendering.scene import Scene
    from infinite_render.rendering.workers import choose_device

    if given["recipe"] is not None:
        return canvas_of(
            read_recipe(given["recipe"]),
            given["recipe"],
            model=given["model"] if _is_explicit(ctx, "model") else None,
            device=given["device"] if _is_explicit(ctx, "device") else None,
            other_machine=given["other_machine"],
        )
    choose_device(given["device"])  # before the model is read: its error is the nearer one
    model = load_model(given["model"])
    recipe = model.recipe
    depth = given["depth"]
    if depth is None:
        depth = default_depth(recipe.generator, recipe.render, recipe.detail, given["height"])
    check_depth(recipe.generator, recipe.render, recipe.detail, depth)
    y, x = given["origin"]
    window = Window(y, x, given["height"], given["width"])
    fields = fields_of(given, window, recipe.generator.stride << depth, StyleLaw.of(recipe))
    scene = Scene(
        model,
        precision=given["precision"],
        device=given["device"],
        truncation=given["truncation"],
        **fields,
    )
    return Canvas(scene, window, depth)
