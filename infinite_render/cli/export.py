"""`infrender export`: a finished store to a file, without painting."""

from __future__ import annotations

import time
from pathlib import Path

import click

from infinite_render.cli import console
from infinite_render.cli.options import (
    FILE,
    compression_option,
    example,
    kept_on_stop,
    overwrite_option,
    quality_option,
    quiet_option,
)


@click.command(epilog=example("infrender export wall.zarr wall.png"))
@click.argument("store", type=FILE)
@click.argument("out", type=FILE)
@quality_option
@compression_option
@overwrite_option
@quiet_option
def export(
    store: Path, out: Path, quality: int, compression: str, overwrite: bool, quiet: bool
) -> None:
    """Write a finished store to a file, in the form that the ending of OUT asks for."""
    from infinite_render.rendering.exports import (
        check_form,
        export_store,
        plan_bytes,
        size_on_disk,
    )
    from infinite_render.rendering.recipe import read_recipe
    from infinite_render.rendering.store import open_store
    from infinite_render.rendering.targets import check_target, human_bytes

    with open_store(store) as opened:
        form = check_form(out, opened.height, opened.width)
        need = plan_bytes(form, opened.height, opened.width, compression)
        check_target(out, need, overwrite=overwrite)
        writing = export_store(
            opened,
            out,
            description=read_recipe(store).to_json(),
            compression=compression,
            quality=quality,
        )
        began = time.monotonic()
        with kept_on_stop(f"stopped; {out} was not written, and {store} is as it was"):
            console.follow(writing, "writing", quiet=quiet)
        mpx = opened.height * opened.width / 1e6
    seconds = time.monotonic() - began
    size = f"{opened.width} x {opened.height} px"
    console.summary(
        f"{out}: {size} in {seconds:.1f} s, {mpx / seconds:.1f} Mpx/s, "
        f"{human_bytes(size_on_disk(out))}",
        quiet=quiet,
    )
