"""`infrender generate`: a window of the plane, painted to a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infinite_render.cli import console
from infinite_render.cli.fields import FIELD_OPTIONS, field_options, fields_of
from infinite_render.cli.options import (
    FILE,
    SIZE,
    Pair,
    Whole,
    compression_option,
    cores,
    device_option,
    example,
    kept_on_stop,
    model_option,
    option,
    overwrite_option,
    precision_option,
    quality_option,
    quiet_option,
    seed_option,
    truncation_option,
    workers_option,
)
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
@workers_option
@device_option
@precision_option
@option("--store", type=FILE, default=None, help="Keep the OME-Zarr store, here.")
@quality_option
@compression_option
@option(
    "--pixel-size", type=float, default=None, metavar="UM", help="Size of a pixel, micrometres."
)
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
    from infinite_render.rendering.canvas import paint_canvas, prepare, store_of
    from infinite_render.rendering.exports import check_form

    quiet: bool = given["quiet"]
    canvas = _canvas(ctx, given)
    check_form(out, canvas.window.height, canvas.window.width)
    _warn_of_slowness(canvas, quiet)
    workers = given["workers"] or cores()
    if given["dry_run"]:
        _tell_plan(canvas, out, workers, given)
        return
    where = {"store_path": given["store"], "compression": given["compression"]}
    if not prepare(canvas, out, overwrite=given["overwrite"], **where):
        line = f"{out} is this picture already; --overwrite paints it again"
        console.summary(line, quiet=quiet)
        return
    began = time.monotonic()
    with kept_on_stop(
        f"stopped; what is painted is kept in {store_of(out, given['store'])}, "
        "and the same command goes on with it"
    ):
        last = console.follow(
            paint_canvas(
                canvas,
                out,
                workers=workers,
                quality=given["quality"],
                pixel_size_um=given["pixel_size"],
                **where,
            ),
            quiet=quiet,
        )
    seconds = time.monotonic() - began
    kept_px = last.kept_px if last is not None else 0
    console.summary(_summary(canvas, out, seconds, kept_px, _by_height(given)), quiet=quiet)


def _check_given(ctx: click.Context, given: dict[str, Any]) -> None:
    """UsageError where options contradict each other or one is missing."""
    explicit = {name for name in given if _is_explicit(ctx, name)}
    if given["recipe"] is not None:
        if said := [f"--{name}" for name in _IN_RECIPE if name in explicit]:
            raise UsageError(f"--recipe says what {', '.join(said)} would; leave it out")
    elif given["other_machine"]:
        raise UsageError("--other-machine is of no use without --recipe; leave it out")
    else:
        for name in ("width", "height"):
            if given[name] is None:
                raise UsageError(f"--{name} is missing; give pixels, such as --{name} 1024")
    if given["pixel_size"] is not None and not 0 < given["pixel_size"] < float("inf"):
        raise UsageError(f"--pixel-size {given['pixel_size']} is no size; give micrometres, as 0.5")


def _is_explicit(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE


def _canvas(ctx: click.Context, given: dict[str, Any]) -> Canvas:
    """The canvas that the options, or the recipe, describe."""
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
    fields = fields_of(given, window, recipe.generator.stride << depth)
    scene = Scene(
        model,
        precision=given["precision"],
        device=given["device"],
        truncation=given["truncation"],
        **fields,
    )
    return Canvas(scene, window, depth)


def _warn_of_slowness(canvas: Canvas, quiet: bool) -> None:
    from infinite_render.rendering.workers import has_native_bfloat16

    scene = canvas.scene
    if scene.precision == "bfloat16" and not has_native_bfloat16(scene.device):
        line = "bfloat16 is not native to this machine: it will be slow; float32 is faster here"
        console.notice(line, quiet=quiet)


def _tell_plan(canvas: Canvas, out: Path, workers: int, given: dict[str, Any]) -> None:
    """Print what painting would take."""
    from infinite_render.rendering.estimate import estimate_canvas
    from infinite_render.rendering.exports import FORMS
    from infinite_render.rendering.targets import check_target, free_bytes, human_bytes

    check_target(out, 0, overwrite=True)
    with kept_on_stop("stopped; a plan writes nothing"):
        plan = estimate_canvas(
            canvas,
            out,
            store_path=given["store"],
            workers=workers,
            compression=given["compression"],
        )
    _, _, height, width = canvas.window
    size, recipe = canvas.scene.block_px, canvas.scene.model.recipe
    rows: list[tuple[str, object]] = [
        ("picture", f"{width} x {height} px (width x height), {FORMS[out.suffix.lower()].name}"),
        ("model", f"{recipe.name}, {canvas.scene.precision} on {canvas.scene.device}"),
        ("depth", _depth(canvas, _by_height(given))),
        ("blocks", f"{plan.blocks} of {size} px, {plan.blocks_left} left to paint"),
        ("cells", f"{plan.cells} a block, about {recipe.render.cell_px} px"),
        ("arithmetic", f"{plan.macs_per_px / 1e3:.1f} kMAC a pixel, times {plan.waste:.3f}"),
        ("store", f"up to {human_bytes(plan.store_bytes)}"),
        ("file", f"up to {human_bytes(plan.file_bytes)}" if plan.file_bytes else "is the store"),
        ("disk", f"{human_bytes(free_bytes(out))} free"),
        ("memory", f"about {human_bytes(plan.memory_bytes)} with {workers} workers"),
        ("time", f"about {_duration(plan.seconds or 0)}"),
    ]
    console.table(rows, title=f"The plan of {out}; nothing is written")


def _by_height(given: dict[str, Any]) -> bool:
    """Whether the depth was neither given nor read from a recipe."""
    return given["depth"] is None and given["recipe"] is None


def _depth(canvas: Canvas, is_default: bool) -> str:
    return f"{canvas.depth} (the default for this height)" if is_default else str(canvas.depth)


def _duration(seconds: float) -> str:
    """Seconds for the eye.

    >>> _duration(8.21), _duration(131), _duration(7260)
    ('8.2 s', '2 min 11 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _summary(canvas: Canvas, out: Path, seconds: float, kept_px: int, is_default: bool) -> str:
    """The line a picture ends with."""
    from infinite_render.rendering.exports import size_on_disk
    from infinite_render.rendering.targets import human_bytes

    _, _, height, width = canvas.window
    painted_px = height * width - kept_px
    if not painted_px:
        return f"{out}: {width} x {height} px were there, and every byte of them was checked"
    kept = f" ({kept_px / 1e6:.1f} Mpx were there)" if kept_px else ""
    return (
        f"{out}: {width} x {height} px in {_duration(seconds)}, "
        f"{painted_px / 1e6 / seconds:.2f} Mpx/s{kept}, {canvas.scene.precision}, "
        f"depth {_depth(canvas, is_default)}, {human_bytes(size_on_disk(out))}"
    )
