"""What every command that paints a picture shares: its options, the painting and the last line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infinite_render.cli import console
from infinite_render.cli.options import (
    FILE,
    Command,
    compression_option,
    cores,
    device_option,
    kept_on_stop,
    option,
    precision_option,
    quality_option,
    workers_option,
)
from infinite_render.errors import UsageError

if TYPE_CHECKING:
    from infinite_render.rendering.canvas import Canvas


def painting_options(command: Command) -> Command:
    """How a picture is painted and kept; none of them changes what it shows."""
    for add in reversed(
        [
            workers_option,
            device_option,
            precision_option,
            option("--store", type=FILE, default=None, help="Keep the OME-Zarr store, here."),
            quality_option,
            compression_option,
            option(
                "--pixel-size",
                type=float,
                default=None,
                metavar="UM",
                help="Size of a pixel, micrometres.",
            ),
        ]
    ):
        command = add(command)
    return command


def check_painting(given: dict[str, Any]) -> None:
    """UsageError for a size of a pixel that is none."""
    if given["pixel_size"] is not None and not 0 < given["pixel_size"] < float("inf"):
        raise UsageError(f"--pixel-size {given['pixel_size']} is no size; give micrometres, as 0.5")


def paint(canvas: Canvas, out: Path, given: dict[str, Any], *, by_height: bool = False) -> None:
    """Paint a canvas to `out`, or go on with it, and end with a line.

    by_height says that the depth was chosen by the height of the canvas.
    """
    from infinite_render.rendering.canvas import paint_canvas, store_of
    from infinite_render.rendering.preparation import check

    quiet: bool = given["quiet"]
    _warn_of_slowness(canvas, quiet)
    asked = _asked(given)
    ready = check(canvas, out, overwrite=given["overwrite"], **asked)
    if ready.is_painted:
        line = (
            f"{out} is this picture already, and keeps its compression and quality; "
            "--overwrite paints it again"
        )
        console.summary(line, quiet=quiet)
        return
    ready.make_room()
    began = time.monotonic()
    with kept_on_stop(
        f"stopped; what is painted is kept in {store_of(out, given['store'])}, "
        "and the same command goes on with it"
    ):
        last = console.follow(
            paint_canvas(
                canvas,
                out,
                quality=given["quality"],
                pixel_size_um=given["pixel_size"],
                **asked,
            ),
            quiet=quiet,
        )
    seconds = time.monotonic() - began
    kept_px = last.kept_px if last is not None else 0
    console.summary(_summary(canvas, out, seconds, kept_px, by_height), quiet=quiet)


def _asked(given: dict[str, Any]) -> dict[str, Any]:
    """The options that a plan, its checks and the painting share."""
    return {
        "store_path": given["store"],
        "compression": given["compression"],
        "workers": given["workers"] or cores(),
    }


def _warn_of_slowness(canvas: Canvas, quiet: bool) -> None:
    from infinite_render.precision import has_native_bfloat16

    scene = canvas.scene
    if scene.precision == "bfloat16" and not has_native_bfloat16(scene.device):
        line = "bfloat16 is not native to this machine: it will be slow; float32 is faster here"
        console.notice(line, quiet=quiet)


def tell_plan(canvas: Canvas, out: Path, given: dict[str, Any], *, by_height: bool) -> None:
    """Print what painting would take."""
    from infinite_render.rendering.estimate import estimate_canvas
    from infinite_render.rendering.exports import FORMS
    from infinite_render.rendering.preparation import check
    from infinite_render.rendering.targets import free_bytes, human_bytes

    _warn_of_slowness(canvas, given["quiet"])
    asked = _asked(given)
    ready = check(canvas, out, overwrite=given["overwrite"], **asked)
    with kept_on_stop("stopped; a plan writes nothing"):
        plan = estimate_canvas(canvas, out, anew=ready.stale_store is not None, **asked)
    _, _, height, width = canvas.window
    size, recipe = canvas.scene.block_px, canvas.scene.model.recipe
    rows: list[tuple[str, object]] = [
        ("picture", f"{width} x {height} px (width x height), {FORMS[out.suffix.lower()].name}"),
        ("model", f"{recipe.name}, {canvas.scene.precision} on {canvas.scene.device}"),
        ("depth", _depth(canvas, by_height)),
        ("blocks", f"{plan.blocks} of {size} px, {plan.blocks_left} left to paint"),
        ("cells", f"{plan.cells} a block, about {recipe.render.cell_px} px"),
        ("arithmetic", f"{plan.macs_per_px / 1e3:.1f} kMAC a pixel, times {plan.waste:.3f}"),
        ("store", f"up to {human_bytes(plan.store_bytes)}"),
        ("file", f"up to {human_bytes(plan.file_bytes)}" if plan.file_bytes else "is the store"),
        ("disk", f"{human_bytes(free_bytes(out))} free"),
        ("memory", f"about {human_bytes(plan.memory_bytes)} with {asked['workers']} workers"),
        ("time", f"about {_duration(plan.seconds or 0)}"),
    ]
    console.table(rows, title=f"The plan of {out}; nothing is written")


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
