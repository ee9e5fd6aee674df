"""`infrender info`: what a model, a store, a picture or a training run is."""

from __future__ import annotations

from pathlib import Path

import click

from infinite_render.cli import console
from infinite_render.cli.options import example, option


@click.command(
    epilog=example(
        "infrender info landscape", "infrender info wall.tif", "infrender info --recipe wall.tif"
    )
)
@click.argument("what", metavar="MODEL|PATH")
@option("--recipe", is_flag=True, help="Print the recipe of a store or a picture alone, as JSON.")
def info(what: str, recipe: bool) -> None:
    """Describe a model, a store, a picture that infrender painted, or a training run."""
    if recipe:
        from infinite_render.rendering.recipe import read_recipe

        click.echo(read_recipe(Path(what)).to_json())
        return
    from infinite_render.describe import describe

    title, rows = describe(what)
    console.table(rows, title=title)
