"""`infrender import-model`: a checkpoint of the reference implementation, as a model folder."""

from __future__ import annotations

from pathlib import Path

import click

from infinite_render.cli import console
from infinite_render.cli.options import FILE, example, quiet_option


@click.command(
    epilog=example("infrender import-model infinitygan.pth.tar models/paper"),
)
@click.argument("checkpoint", type=FILE)
@click.argument("folder", metavar="DIR", type=FILE)
@quiet_option
def import_model(checkpoint: Path, folder: Path, quiet: bool) -> None:
    """Import a checkpoint of InfinityGAN's reference implementation as the model folder DIR."""
    from infinite_render import reference

    recipe = reference.import_model(checkpoint, folder)
    config = recipe.generator
    console.summary(
        f"{folder}: a generator of {config.patch_px} px patches, {config.blocks} blocks; "
        f"paint with it by --model {folder}",
        quiet=quiet,
    )
