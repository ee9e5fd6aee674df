"""`infrender info`: what a model, a store, a picture or a training run is."""

from __future__ import annotations

import click

from infinite_render.cli import console
from infinite_render.cli.options import example


@click.command(epilog=example("infrender info landscape", "infrender info wall.tif"))
@click.argument("what", metavar="MODEL|PATH")
def info(what: str) -> None:
    """Describe a model, a store, a picture that infrender painted, or a training run."""
    from infinite_render.describe import describe

    title, rows = describe(what)
    console.table(rows, title=title)
